"""A scorecard as Markdown and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from harness.numbers import plus_minus, printable
from harness.reports.phrases import (
    NOTHING,
    SIGNS,
    Card,
    asked,
    by_seed,
    choices,
    claimed,
    flags,
    fronts,
    ours,
    place,
    said,
    setting,
    stance,
    strength,
    tally,
    theirs,
    told,
    troubles,
    why,
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
        f"## {escaped(card['paper'])}: {escaped(card['title'])}\n",
        f"{escaped(setting(card))}\n",
        f"{tally(card)}. {escaped(card['note'])}\n",
        *table([("claim", "the paper", "here, 95 % interval", "asked", "verdict", "why"), *claims], escaped),
        "",
        *table([("method", "seeds", *metrics), *methods], escaped),
        "",
        *([f"Pareto front {escaped(fronts(card))}.\n"] if fronts(card) else []),
        *(f"- {escaped(line)}" for line in (*choices(card), *troubles(card))),
        f"\n    {printable(card['command'])}\n",
    ]


def table(rows: Sequence[Sequence[Any]], shown: Callable[[str], str]) -> list[str]:
    """Return the lines of a Markdown table whose first row is its head; a cell stands there as `shown` makes it."""
    lines = [[shown(str(cell)) for cell in row] for row in rows]
    lines.insert(1, ["---"] * len(rows[0]))
    return [f"| {' | '.join(line)} |" for line in lines]


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is: no cell, link, picture or tag can come from data."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", printable(text)).replace("<", "&lt;")


def to_json(cards: Sequence[Card]) -> str:
    """Return the scorecards as a JSON list; a number that does not exist is null."""
    return json.dumps(cards, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
