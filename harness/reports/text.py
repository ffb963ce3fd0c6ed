"""A scorecard for a terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.numbers import plus_minus, printable
from harness.reports.phrases import (
    NOTHING,
    SIGNS,
    Card,
    asked,
    by_seed,
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
    strength,
    tally,
    theirs,
    told,
    troubles,
    why,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def to_terminal(cards: Sequence[Card], console: Console) -> None:
    """Print every scorecard: its claims, then the methods on the claimed metrics."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if not cards:
        console.print(NOTHING)
    for card in cards:
        console.print()
        console.print(plain(f"{card['paper']}  {card['title']}", "bold"))
        console.print(plain(setting(card), "dim"))
        console.print(plain(f"{tally(card)}. {card['note']}"))
        claims = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 1, 0), header_style="dim")
        for title in ("claim", "the paper", "here [95 %]", "verdict", "why"):
            claims.add_column(title, overflow="fold")
        for claim in card["claims"]:
            whose = f"({stance(claim)})" if stance(claim) else ""
            claims.add_row(
                plain(_stacked(claim["text"], whose)),
                plain(theirs(claim)),
                plain(_stacked(ours(claim), f"asked {asked(claim)}", by_seed(claim))),
                plain(
                    _stacked(f"{SIGNS[claim['verdict']]} {said(card, claim)}", *flags(claim)),
                    _style(claim["verdict"]),
                ),
                plain(f"{why(claim)} {power(claim) if claim['verdict'] == 'open' else ''}".strip()),
            )
        console.print(claims)
        console.print(_methods(card, columns=max(1, min(6, (console.width - 35) // 20))))
        if fronts(card):
            console.print(plain(f"Pareto front {fronts(card)}", "dim"))
        for line in troubles(card):
            console.print(plain(line, "yellow"))


def _stacked(*lines: str) -> str:
    return "\n".join(line for line in lines if line)


def _methods(card: Card, columns: int) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    metrics = list(claimed(card))[:columns]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.caption = (
        "mean over seeds ± half the 95 % interval; #1–3: 1st to 3rd, not separable by the verdict rule"
    )
    table.caption_justify = "left"
    table.add_column("method", overflow="fold")
    table.add_column("seeds", justify="right")
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
        seeds = "fixed" if method["deterministic"] else str(len(method["seeds"]))
        label = f"{method['method']}{' (baseline)' if method['baseline'] else ''}"
        table.add_row(plain(label), seeds, *cells)
    return table


def plain(text: str, style: str = "") -> Text:
    """Return text for a terminal, where data can hold neither markup nor control codes."""
    from rich.text import Text

    return Text("\n".join(map(printable, text.split("\n"))), style=style)


def _style(verdict: str) -> str:
    return {"holds": "bold green", "fails": "bold red", "no difference": "bold cyan"}.get(
        verdict, "bold yellow"
    )


def to_markdown(cards: Sequence[Card]) -> str:
    """Return the scorecards as Markdown tables."""
    if not cards:
        return NOTHING + "\n"
    return "\n".join(line for card in cards for line in _markdown(card))


def _markdown(card: Card) -> list[str]:
    claims = [
        (
            claim["text"] + (f" ({stance(claim)})" if stance(claim) else ""),
            "; ".join(words for words in (theirs(claim), told(claim)) if words),
            "; ".join(words for words in (ours(claim), by_seed(claim)) if words),
            asked(claim),
            ", ".join([f"{SIGNS[claim['verdict']]} {said(card, claim)}", *flags(claim)]),
            f"{why(claim)} {strength(claim)}".strip(),
        )
        for claim in card["claims"]
    ]
    metrics = list(claimed(card))
    methods = [
        (
            method["method"] + (" (baseline)" if method["baseline"] else ""),
            "fixed" if method["deterministic"] else str(len(method["seeds"])),
            *(
                plus_minus(method["metrics"].get(name))
                + (f" ({place(card, name, method['method'])})" if place(card, name, method["method"]) else "")
                for name in metrics
            ),
        )
        for method in card["methods"]
    ]
    return [
        f"## {_escaped(card['paper'])}: {_escaped(card['title'])}\n",
        f"{_escaped(setting(card))}\n",
        f"{tally(card)}. {_escaped(card['note'])}\n",
        *table([("claim", "the paper", "here, 95 % interval", "asked", "verdict", "why"), *claims], _escaped),
        "",
        *table([("method", "seeds", *metrics), *methods], _escaped),
        "",
        *([f"Pareto front {_escaped(fronts(card))}.\n"] if fronts(card) else []),
        *(f"- {_escaped(line)}" for line in troubles(card)),
        f"\n    {printable(card['command'])}\n",
    ]


def table(rows: Sequence[Sequence[Any]], shown: Callable[[str], str]) -> list[str]:
    """Return the lines of a Markdown table whose first row is its head; a cell stands there as `shown` makes it."""
    lines = [[shown(str(cell)) for cell in row] for row in rows]
    lines.insert(1, ["---"] * len(rows[0]))
    return [f"| {' | '.join(line)} |" for line in lines]


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is: no cell, link, picture or tag can come from data."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", printable(text)).replace("<", "&lt;")


def to_json(cards: Sequence[Card]) -> str:
    """Return the scorecards as a JSON list; a number that does not exist is null."""
    return json.dumps(cards, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
