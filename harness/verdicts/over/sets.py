"""Scorecards of one setting on several data sets -> a row a claim: each set, all of them, the next one, one's own.

A data set is what differs in the digests of what was read, all else alike: task, model, budget, device, precision.
Its effect is the claim's own number by the house's rule, a ratio as its logarithm, with the standard error of its
seeds and items. A set without an interval is told with its reason and not pooled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import exp, isfinite, log
from typing import Any

from harness.errors import UsageError, nearest
from harness.numbers import printable
from harness.papers.families import members
from harness.papers.statement import Metric, Paper
from harness.runs.files import digest
from harness.verdicts.over.synthesis import SETS, Synthesis, beside, pooled
from harness.verdicts.stats import Interval, holm, verdict

Card = Mapping[str, Any]
Z = 1.959964  # half the width of a normal's 95 %, in standard errors
SAME = ("budget", "device", "precision", "model")
STATED = ("kind", "metric", "method", "than", "over", "of", "by", "side")
TOLD = ("value", "low", "high", "verdict", "reason", "seeds", "items")


def over_data(paper: Paper, cards: Sequence[Card], mine: str = "") -> list[dict[str, Any]]:
    """Return for each setting its data sets and, claim by claim, what they show together.

    `mine` names the user's own set, by its label or as `data.corpus=mine.txt`: it is not pooled but placed.
    Raises UsageError where no set, or more than one, is called so.
    """
    groups: dict[str, list[Card]] = {}
    for card in cards:
        read = {name: found for name, found in card["digests"].items() if name == "model"}
        groups.setdefault(digest([*(card[key] for key in SAME), card["task"], read]), []).append(card)
    named = [_sorted(group) for group in groups.values()]
    own = [_mine(mine, *one) for one in named] if mine else [None] * len(named)
    if mine and not any(place is not None for place in own):
        known = dict.fromkeys(label for _, found in named for label in found)
        raise UsageError(f"no data set here is called {mine!r}: {nearest(mine, list(known))}")
    return [_setting(paper, *one, place) for one, place in zip(named, own, strict=True)]


def _sorted(cards: Sequence[Card]) -> tuple[list[Card], list[str]]:
    known = sorted(zip(labels(cards), cards, strict=True), key=lambda one: one[0])
    return [card for _, card in known], [label for label, _ in known]


def labels(cards: Sequence[Card]) -> list[str]:
    """Return what to call each card's data set: the sources in which they differ, as short as tells them apart."""
    fields = list(dict.fromkeys(name for card in cards for name, source in card["data"].items() if source))
    differ = [name for name in fields if len({_read(card, name) for card in cards}) > 1] or fields[:1]

    def called(short: Callable[[str], str], marked: bool = False) -> list[str]:
        found = []
        for card in cards:
            parts = [f"{name}: {short(str(card['data'].get(name) or 'none'))}" for name in differ]
            whole = ", ".join(parts) if len(parts) > 1 else parts[0].partition(": ")[2] if parts else "none"
            found.append(printable(f"{whole} ({card['task_digest'][:8]})" if marked else whole))
        return found

    for made in (called(_short), called(str)):
        if len(set(made)) == len(made):
            return made
    return called(_short, marked=True)


def _read(card: Card, name: str) -> str:
    return str(card["digests"].get(name) or card["data"].get(name) or "")


def _short(source: str) -> str:
    return re.split(r"[/:]", source.rstrip("/"))[-1] or source


def _mine(word: str, cards: Sequence[Card], called: Sequence[str]) -> int | None:
    """Return the place of the set that `word` names; None where none does."""
    field, equals, value = word.removeprefix("data.").partition("=")

    def fits(card: Card, label: str) -> bool:
        if equals and field in card["data"]:
            source = str(card["data"][field])
            return value in (source, _short(source))
        return word == label or (len(word) >= 8 and card["task_digest"].startswith(word))

    found = [place for place, one in enumerate(zip(cards, called, strict=True)) if fits(*one)]
    if len(found) > 1:
        raise UsageError(f"{word!r} names {len(found)} data sets: say which, by its label")
    return found[0] if found else None


def _setting(paper: Paper, cards: Sequence[Card], called: Sequence[str], mine: int | None) -> dict[str, Any]:
    first = cards[0]
    single = {name: metric for name, metric in paper.metrics.items() if not metric.over}
    metrics = {**single, **members(paper.metrics, first["task"])}
    sets = [
        {
            "label": label,
            **{key: card[key] for key in ("data", "digests", "task_digest", "date", "machine", "command")},
            "mine": place == mine,
        }
        for place, (card, label) in enumerate(zip(cards, called, strict=True))
    ]
    rows = [_row(metrics, cards, called, mine, n) for n in range(len(first["claims"]))]
    tested = [row for row in rows if row["p"] is not None and not row["is_control"]]
    for row, mark in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["holm"] = mark and row["verdict"] in ("holds", "fails")
    return {
        **{key: first[key] for key in ("paper", "title", "url", *SAME, "task", "note")},
        "sets": sets,
        "mine": called[mine] if mine is not None else None,
        "claims": rows,
    }


def _row(
    metrics: Mapping[str, Metric],
    cards: Sequence[Card],
    called: Sequence[str],
    mine: int | None,
    n: int,
) -> dict[str, Any]:
    claim = cards[0]["claims"][n]
    to, back = _scale(claim)
    sets = []
    for place, (card, label) in enumerate(zip(cards, called, strict=True)):
        one = card["claims"][n]
        error, lacks = _error(one, to)
        told = {key: one[key] for key in TOLD}
        told["reason"] = lacks or one["reason"]
        sets.append({"label": label, **told, "error": error, "mine": place == mine})
    known = [one for one in sets if one["error"] is not None and not one["mine"]]
    row: dict[str, Any] = {
        **{key: claim[key] for key in ("text", "source", "counter", "is_control", *STATED, "bound")},
        "scale": "log" if claim["kind"] == "ratio" else "",
        "sets": sets,
        "pooled": len(known),
        **dict.fromkeys(("value", "low", "high", "p", "between", "within", "next", "placed")),
        "holm": False,
    }
    if len(known) < SETS:
        return {**row, **_few(sets, known)}
    by = to(claim["by"])
    found = pooled([to(one["value"]) for one in known], [one["error"] for one in known], by)
    inside = _limits(claim, metrics)
    low, high = (inside(back(end)) for end in (found.low, found.high))
    after = inside(back(found.next_low)), inside(back(found.next_high))
    said = verdict(Interval(found.value, found.low, found.high), by, claim["side"])
    smoke = cards[0]["budget"] == "smoke"
    return {
        **row,
        "value": back(found.value),
        "low": low,
        "high": high,
        "p": found.p,
        "between": found.between,
        "within": found.within,
        "next": {
            "low": after[0],
            "high": after[1],
            "verdict": "open"
            if smoke
            else verdict(Interval(found.value, found.next_low, found.next_high), by, claim["side"]),
        },
        "placed": _placed(next((one for one in sets if one["mine"]), None), found, to, back, inside),
        "verdict": "open" if smoke else said,
        "reason": "smoke runs only show that the code works: they are no evidence" if smoke else "",
    }


def _few(sets: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the word and the reason of a claim that too few sets judge."""
    if not known:
        lacks = next((one["reason"] for one in sets if not one["mine"]), "")
        return {"verdict": "not tested", "reason": f"no data set has an interval: {lacks}".rstrip(": ")}
    if len(known) == 1:
        return {"verdict": "open", "reason": f"one data set, {known[0]['label']}: there is nothing to pool"}
    words = " and ".join(f"{one['verdict']} on {one['label']}" for one in known)
    return {"verdict": "open", "reason": f"two data sets are told apart, not pooled: {words}"}


def _scale(claim: Mapping[str, Any]) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Return how a claim's number goes to the scale it is pooled on, and back."""
    if claim["kind"] == "ratio":
        return (lambda x: log(x) if x > 0 else float("-inf")), exp
    return float, float


def _error(claim: Mapping[str, Any], to: Callable[[float], float]) -> tuple[float | None, str]:
    """Return the standard error of a set's number on its scale, or None and why it has none.

    Items alone are judged by counts or by percentiles, whose interval may say more than an error: 30 of 30 right
    have none. So theirs is no less than a normal interval of that width has.
    """
    if claim["verdict"] in ("not tested", "cannot be shown here"):
        return None, str(claim["reason"] or claim["verdict"])
    value, low, high, error = (claim.get(key) for key in ("value", "low", "high", "error"))
    if value is None or low is None or high is None or error is None:
        lacks = "its interval has no end" if (low is None) != (high is None) else "it has no interval"
        return None, str(claim["reason"] or lacks)
    if not isfinite(to(value)):
        return None, "a ratio of zero or less has no logarithm"
    if claim["rule"] == "items":
        ends = to(low), to(high)
        error = max(error, (ends[1] - ends[0]) / (2 * Z)) if all(map(isfinite, ends)) else error
    return error, ""


def _limits(claim: Mapping[str, Any], metrics: Mapping[str, Metric]) -> Callable[[float], float]:
    """Return what keeps an end where the metric's range lets the number be."""
    metric = metrics.get(claim["metric"])
    if metric is None or metric.range is None or claim["kind"] not in ("level", "wins", "difference"):
        return float
    low, high = metric.range
    if claim["kind"] == "difference":
        low, high = low - high, high - low
    return lambda end: min(max(end, low), high)


def _placed(
    own: Mapping[str, Any] | None,
    found: Synthesis,
    to: Callable[[float], float],
    back: Callable[[float], float],
    inside: Callable[[float], float],
) -> dict[str, Any] | None:
    """Return whether one's own set lies where the others let expect it; None without one, or without its number."""
    if own is None or own["error"] is None:
        return None
    low, high = beside(found, own["error"])
    return {
        "label": own["label"],
        "inside": low <= to(own["value"]) <= high,
        "low": inside(back(low)),
        "high": inside(back(high)),
    }
