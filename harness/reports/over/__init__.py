"""What `harness report --over data` says: each data set, all of them together, the next one, and one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.numbers import number, span
from harness.reports import phrases
from harness.reports.html import page
from harness.reports.languages import Say, language
from harness.reports.phrases import SIGNS, asked, quantity, stance
from harness.reports.terminal import plain
from harness.reports.text import escaped, table

if TYPE_CHECKING:
    from rich.console import Console

Part = Mapping[str, Any]
Row = Mapping[str, Any]
HEAD = ("claim", "asked", "each data set [95 %]", "over data [95 %]", "the next one", "verdict")


def setting(part: Part) -> str:
    """Say in one line at what setting the data sets were judged, and which they are."""
    known = [part[key] for key in ("device", "precision", "model")]
    count, labels = len(part["sets"]), ", ".join(one["label"] for one in part["sets"])
    return " · ".join(
        str(word)
        for word in (
            f"budget {part['budget']}",
            *known,
            f"{count} data {'set' if count == 1 else 'sets'}: {labels}",
        )
        if word
    )


def each(row: Row) -> list[tuple[str, str, str]]:
    """Return of each data set its label, its number with its interval, and its verdict or what it lacks."""
    found = []
    for one in row["sets"]:
        lacks = f" ({one['reason']})" if one["error"] is None and one["reason"] else ""
        own = " (yours)" if one["mine"] else ""
        shown = span(one["value"], one["low"], one["high"])
        found.append((one["label"] + own, shown, f"{one['verdict']}{lacks}"))
    return found


def together(row: Row) -> str:
    """Return the mean over the data sets with its interval, an en dash where there is none."""
    return span(row["value"], row["low"], row["high"])


def after(row: Row) -> str:
    """Return where the next data set would lie, an en dash where that is not known."""
    if row["next"] is None:
        return "–"
    return _ends(row["value"], row["next"])


def _ends(value: float, found: Mapping[str, Any]) -> str:
    """Return the ends of an interval around a value, to as many digits as its width has."""
    return span(value, found["low"], found["high"]).partition(" ")[2] or number(found["low"])


def why(row: Row) -> str:
    """Say what the verdict rests on, how far the sets are apart, and where one's own lies."""
    sentences = [row["reason"][:1].upper() + row["reason"][1:]]
    if row["next"] is not None:
        factor = " of the logarithm" if row["scale"] else ""
        sentences.append(
            f"{row['pooled']} data sets, each counting alike, t with {row['pooled'] - 1} degrees of freedom; "
            f"between sets {number(row['between'])}, within them {number(row['within'])}{factor}"
        )
    placed = row["placed"]
    if placed is not None:
        where = "inside" if placed["inside"] else "outside"
        sentences.append(
            f"Yours, {placed['label']}, lies {where} what the others let expect of it, {_ends(row['value'], placed)}"
        )
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _word(row: Row) -> str:
    return f"{row['verdict']}{', survives Holm' if row['holm'] else ''}"


def _claim(row: Row) -> str:
    return row["text"] + (f" ({stance(row)})" if stance(row) else "")


def tested(part: Part) -> list[Row]:
    """Return the claims that some data set judges."""
    return [row for row in part["claims"] if row["verdict"] != "not tested"]


def to_terminal(parts: Sequence[Part], console: Console, say: Say = str) -> None:
    """Print, claim by claim, what data sets show alone and together; claims without runs by their number.

    `say` puts what the harness says into another language.
    """
    from rich.table import Table

    for part in parts:
        console.print()
        console.print(plain(f"{say(part['paper'] + ' over data')}  {part['title']}", "bold"))
        console.print(plain(say(setting(part)), "dim"))
        console.print(plain(say(part["note"])))
        for row in tested(part):
            console.print()
            whose = f" ({say(stance(row))})" if stance(row) else ""
            console.print(plain(f"{SIGNS[row['verdict']]} {row['text']}{whose}", "bold"))
            console.print(plain(f"  {say(f'asked {asked(row)}')}", "dim"))
            lines = Table.grid(padding=(0, 2, 0, 0))
            for _ in range(3):
                lines.add_column(overflow="fold")
            for label, value, said in each(row):
                lines.add_row(plain(f"  {say(label)}"), plain(value), plain(say(said)))
            if row["next"] is not None:
                lines.add_row(plain(f"  {say('over data')}"), plain(together(row)), plain(say(_word(row))))
                after_ = plain(after(row)), plain(say(row["next"]["verdict"]))
                lines.add_row(plain(f"  {say('the next one')}"), *after_)
            console.print(lines)
            console.print(plain(f"  {say(why(row))}"))
        if left := len(part["claims"]) - len(tested(part)):
            words = "claim is" if left == 1 else "claims are"
            console.print()
            console.print(plain(say(f"{left} {words} tested on no data set."), "dim"))


def to_markdown(parts: Sequence[Part]) -> str:
    """Return the same as Markdown tables."""
    lines: list[str] = []
    for part in parts:
        rows = [
            (
                _claim(row),
                asked(row),
                "; ".join(" ".join((f"{label}:", *cells)) for label, *cells in each(row)),
                together(row),
                f"{after(row)}: {row['next']['verdict']}" if row["next"] else after(row),
                f"{SIGNS[row['verdict']]} {_word(row)}",
                why(row),
            )
            for row in part["claims"]
        ]
        lines += [
            f"## {escaped(part['paper'])} over data: {escaped(part['title'])}\n",
            f"{escaped(setting(part))}\n",
            f"{escaped(part['note'])}\n",
            *table([(*HEAD, "why"), *rows], escaped),
            "",
        ]
    return "\n".join(lines)


def forest(row: Row) -> list[dict[str, Any]]:
    """Return the lines of a claim's drawing, in percent of its width: the sets, all of them, the next one."""
    named = [(one["label"], "own" if one["mine"] else "set", one) for one in row["sets"]]
    if row["next"] is not None:
        named += [("over data", "all", row), ("the next one", "next", {**row["next"], "value": None})]
    known = [
        (label, kind, one["value"], one["low"], one["high"])
        for label, kind, one in named
        if one["low"] is not None and one["high"] is not None
    ]
    if not known:
        return []
    least = min(row["by"], *(low for *_, low, _ in known))
    wide = (max(row["by"], *(high for *_, high in known)) - least) or 1.0

    def place(x: float | None) -> float | None:
        return None if x is None else round(4 + 92 * (x - least) / wide, 2)

    return [
        {
            "label": label,
            "kind": kind,
            "by": place(row["by"]),
            "value": place(value),
            "low": place(low),
            "high": place(high),
        }
        for label, kind, value, low, high in known
    ]


def to_html(parts: Sequence[Part], lang: str = "en") -> str:
    """Return the same as one page that opens offline and escapes whatever came from data."""
    told = (setting, tested, each, together, after, why, forest, quantity, asked, stance)
    words: dict[str, Any] = {word.__name__: word for word in told}
    return page("over.html.jinja", language(lang), parts=parts, SIGNS=phrases.SIGNS, lang=lang, **words)
