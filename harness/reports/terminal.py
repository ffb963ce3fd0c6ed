"""A scorecard for a terminal of eighty columns: a line a claim; a claim's reasons where they are asked for.

A line holds a claim's number, the sign of its verdict, its sentence, what was measured with its interval, what
was asked, and the paper's own number where that is of the same quantity. A sentence that is longer than its
column goes on below. Claims without runs are counted, and listed with the reasons.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.numbers import number, plus_minus, printable
from harness.reports.languages import Say
from harness.reports.phrases import (
    NOTHING,
    SIGNS,
    Card,
    asked,
    bound,
    by_seed,
    choices,
    claimed,
    flags,
    fronts,
    ours,
    place,
    power,
    said,
    setting,
    stance,
    standing,
    tally,
    theirs,
    troubles,
    why,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

SHORT = {"a control: its sign is known": "control", "a claim against the paper": "against the paper"}
STYLES = {"holds": "bold green", "fails": "bold red", "no difference": "bold cyan", "not tested": "dim"}


def to_terminal(
    cards: Sequence[Card],
    console: Console,
    verbose: bool = False,
    only: int | None = None,
    say: Say = str,
) -> None:
    """Print every scorecard: its claims, then the methods on the claimed metrics.

    `verbose` adds the reasons of every claim; `only` prints those of the claim with this number, and nothing else.
    `say` puts what the harness says into another language.
    """
    if not cards:
        console.print(say(NOTHING))
    for card in cards:
        numbered = list(enumerate(card["claims"], 1))
        if only is not None:
            for number_, claim in numbered[only - 1 : only]:
                _reasons(card, number_, claim, console, say)
            continue
        console.print()
        console.print(plain(f"{card['paper']}  {card['title']}", "bold"))
        console.print(plain(say(setting(card)), "dim"))
        console.print(plain(say(f"{tally(card)}. {card['note']}")))
        tested = [(n, claim) for n, claim in numbered if claim["verdict"] != "not tested"]
        if tested:
            console.print()
            console.print(_claims(tested, say))
            console.print()
        for line in _below(numbered, say):
            console.print(plain(line, "dim"))
        if verbose:
            for number_, claim in numbered:
                _reasons(card, number_, claim, console, say)
        console.print()
        console.print(_methods(card, max(1, min(6, (console.width - 35) // 20)), say))
        if fronts(card):
            console.print(plain(say(f"Pareto front {fronts(card)}"), "dim"))
        for line in choices(card) if verbose else ():
            console.print(plain(say(line), "dim"))
        for line in troubles(card):
            console.print(plain(say(line), "yellow"))


def _claims(numbered: Sequence[tuple[int, Card]], say: Say) -> Table:
    """Return the claims that runs speak of, a line each."""
    table = _table(padding=1)
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column(say("claim"), overflow="fold")
    for title in ("here [95 %]", "asked", "paper"):
        table.add_column(say(title), no_wrap=True)
    for number_, claim in numbered:
        value = (claim["reported"] or {}).get("value")
        whose = f" ({say(SHORT[stance(claim)])})" if stance(claim) else ""
        table.add_row(
            str(number_),
            plain(SIGNS[claim["verdict"]], STYLES.get(claim["verdict"], "bold yellow")),
            plain(claim["text"] + whose),
            plain(ours(claim)),
            plain(bound(claim)),
            plain(number(value) if value is not None else ""),
        )
    return table


def _below(numbered: Sequence[tuple[int, Card]], say: Say) -> Iterator[str]:
    """Yield what the signs mean, which claims bear which mark, and how many were not tested."""
    verdicts = dict.fromkeys(claim["verdict"] for _, claim in numbered)
    yield "   ".join(
        f"{SIGNS[word]} {say(word)}" for word in SIGNS if word in verdicts and word != "not tested"
    )
    marked: dict[str, list[int]] = {}
    for number_, claim in numbered:
        for flag in flags(claim) if claim["verdict"] != "not tested" else ():
            marked.setdefault(flag, []).append(number_)
    for flag, numbers in marked.items():
        yield f"{say(flag)}: {_ranges(numbers)}"
    without = [number_ for number_, claim in numbered if claim["verdict"] == "not tested"]
    if without:
        yield f"{SIGNS['not tested']} {say('not tested')}: {_ranges(without)}"
    yield say("Why: --claim N for one of them, -v for all.")


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as `1, 3–5`."""
    runs: list[list[int]] = []
    for one in numbers:
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _reasons(card: Card, number_: int, claim: Card, console: Console, say: Say) -> None:
    """Print all that is known of one claim."""
    whose = f" ({say(stance(claim))})" if stance(claim) else ""
    verdict = f"{SIGNS[claim['verdict']]} {say(said(card, claim))}"
    console.print()
    console.print(plain(f"{number_}. {claim['text']}{whose}", "bold"))
    console.print(
        plain(", ".join([verdict, *map(say, flags(claim))]), STYLES.get(claim["verdict"], "bold yellow"))
    )
    lines = [
        "; ".join(say(words) for words in (f"here {ours(claim)}", by_seed(claim)) if words),
        say(f"asked {asked(claim)}"),
        say(f"the paper: {theirs(claim)}"),
        say(f"{why(claim)} {power(claim) if claim['verdict'] == 'open' else ''}".strip()),
    ]
    for line in lines:
        console.print(plain(line))


def _methods(card: Card, columns: int, say: Say) -> Table:
    """Return the methods' means on the first of the claimed metrics."""
    metrics = list(claimed(card))[:columns]
    table = _table(padding=2)
    table.caption = say(
        "mean over seeds ± half the 95 % interval; #1–3: 1st to 3rd, not separable by the verdict rule"
    )
    table.caption_justify = "left"
    table.add_column(say("method"), overflow="fold")
    table.add_column(say("seeds"), justify="right")
    for name in metrics:
        arrow = "↑" if card["metrics"][name]["better"] == "higher" else "↓"
        table.add_column(plain(f"{name} {arrow}"), justify="right", overflow="fold")
    for method in card["methods"]:
        cells = []
        for name in metrics:
            places = re.sub("[a-z]", "", place(card, name, method["method"]))
            best = standing(card, name, method["method"]) == "best"
            shown = f"{plus_minus(method['metrics'].get(name))} {f'#{places}' if places else ''}".rstrip()
            cells.append(plain(shown, "bold" if best else ""))
        seeds = say("fixed") if method["deterministic"] else str(len(method["seeds"]))
        label = method["method"] + (f" ({say('baseline')})" if method["baseline"] else "")
        table.add_row(plain(label), seeds, *cells)
    return table


def _table(padding: int) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, padding, 0, 0), header_style="dim"
    )


def plain(text: str, style: str = "") -> Text:
    """Return text for a terminal, where data can hold neither markup nor control codes."""
    from rich.text import Text

    return Text("\n".join(map(printable, text.split("\n"))), style=style)
