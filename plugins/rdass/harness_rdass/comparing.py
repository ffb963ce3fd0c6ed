"""Two systems' summaries of the same documents: paired differences, judged as the house judges claims.

Either side is a table of texts, scored here, or one that `harness rdass score --out` wrote. Items pair by `id` where
both sides have one, else by their order. Items of one document hang together: whole documents are what an interval is
made of, and fewer than 200 items or 10 documents leave a verdict open, as everywhere in the house.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import Items, Metric, difference
from harness.errors import UsageError
from harness.verdicts.stats import Cell, estimate, verdict
from harness_rdass.tables import FIELDS, Given, from_table, numbered, rows_of

SCORES = ("rdass", "reference", "document", "rouge_1", "rouge_2", "rouge_l")
Judge = Callable[[Given], tuple[dict[str, list[float]], list[str]]]


@dataclass(frozen=True)
class Side:
    """One system: its items' names (none where they have none), groups, and scores by name."""

    ids: Sequence[str] | None
    groups: Sequence[Any]
    scores: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Paired:
    """Two systems' scores of the same items in the same order, and which items share a document."""

    names: tuple[str, str]
    groups: Sequence[int]
    a: Mapping[str, Sequence[float]]
    b: Mapping[str, Sequence[float]]
    by: str
    notes: Sequence[str] = ()


def paired(a: str, b: str, columns: str, judge: Judge) -> Paired:
    """Return the two sides that were named. Raises UsageError where their items are not the same."""
    if columns:
        names = [name.strip() for name in columns.split(",")]
        if b or len(names) != 2 or not all(names):
            raise UsageError(
                "--columns is of one table: give it as --columns=ours,theirs, the columns of two systems' summaries"
            )
        a, b = (f"{a}{'+' if '?' in a else '?'}summary:{name}" for name in names)
    elif not b:
        raise UsageError(
            "there are not two systems to compare: give two tables, or one and --columns=ours,theirs"
        )
    else:
        names = [Path(name.partition("?")[0]).stem for name in (a, b)]
        names = [a, b] if names[0] == names[1] else names
    rows = [rows_of(name, ()) for name in (a, b)]
    scored = [_scored(one) for one in rows]
    if scored[0] is None and scored[1] is None:
        return _of_texts((names[0], names[1]), from_table(a), from_table(b), judge)
    if scored[0] is None or scored[1] is None:
        which, other = (a, b) if scored[0] is not None else (b, a)
        raise UsageError(f"{which} has scores and {other} texts: give two of one kind")
    return _matched((names[0], names[1]), *(_side(one) for one in scored if one is not None))


def compared(pairs: Paired) -> dict[str, Any]:
    """Return the report: means, differences a - b with their intervals, and the verdict by the house's rule."""
    ids = [str(i) for i in range(len(pairs.groups))]
    documents = len(set(pairs.groups))
    groups = {"document": pairs.groups} if 1 < documents < len(ids) else {}
    a, b = pairs.names
    found = {}
    for name in SCORES:
        if name not in pairs.a or name not in pairs.b:
            continue
        cells = [
            Cell(
                "a" if i == 0 else "b",
                name,
                {0: float(np.mean(side[name]))},
                _items(side[name], ids, groups),
                True,
            )
            for i, side in enumerate((pairs.a, pairs.b))
        ]
        interval = estimate(
            difference(name, "a", "b"), {name: Metric("higher", name, range=(-1.0, 1.0))}, cells
        )
        word = {"holds": f"{a} is better", "fails": f"{b} is better", "open": "open"}[verdict(interval)]
        if documents == 1 and len(ids) > 1:
            word, interval_low = "open: one document speaks for no other", None
        else:
            word = f"{word}: {interval.reason}" if interval.reason else word
            interval_low = None if np.isnan(interval.low) else interval.low
        found[name] = {
            "a": float(np.mean(pairs.a[name])),
            "b": float(np.mean(pairs.b[name])),
            "difference": float(np.mean(pairs.a[name]) - np.mean(pairs.b[name])),
            "low": interval_low,
            "high": None if interval_low is None else interval.high,
            "verdict": word,
        }
    if not found:
        raise UsageError("the two tables have no score in common: score both with the same command")
    return {
        "a": a,
        "b": b,
        "items": len(ids),
        "documents": documents,
        "paired_by": pairs.by,
        "notes": list(pairs.notes),
        "scores": found,
    }


def _items(
    values: Sequence[float], ids: Sequence[str], groups: Mapping[str, Sequence[int]]
) -> Callable[[], Mapping[int, Items]]:
    items = Items({"score": list(values)}, ids, groups)
    return lambda: {0: items}


def _of_texts(names: tuple[str, str], a: Given, b: Given, judge: Judge) -> Paired:
    """Score two systems' texts at once, so that both have the same vectors."""
    n = len(a.groups)
    both = Given({field: [*a.columns[field], *b.columns[field]] for field in FIELDS})
    order, by = _order(a.ids, b.ids, n, len(b.groups))
    for field in ("document", "reference"):
        for i, j in enumerate(order):
            if a.columns[field][i] != b.columns[field][j]:
                raise UsageError(
                    f"item {i + 1} has another {field} in {names[1]}: pair the same items, by an `id`"
                )
    scored, notes = judge(both)
    of_b = {name: [values[n + j] for j in order] for name, values in scored.items()}
    return Paired(names, a.groups, {name: values[:n] for name, values in scored.items()}, of_b, by, notes)


def _matched(names: tuple[str, str], a: Side, b: Side) -> Paired:
    order, by = _order(a.ids, b.ids, len(a.groups), len(b.groups))
    of_b = {name: [values[j] for j in order] for name, values in b.scores.items()}
    if numbered(a.groups) != numbered([b.groups[j] for j in order]):
        raise UsageError("the two tables group their items otherwise: they are not of the same documents")
    return Paired(names, numbered(a.groups), a.scores, of_b, by)


def _order(a: Sequence[str] | None, b: Sequence[str] | None, n: int, m: int) -> tuple[Sequence[int], str]:
    """Return where each item of `a` stands in `b`, and what they pair by."""
    if a is None or b is None:
        if n != m:
            raise UsageError(
                f"there are {n} items against {m}: give both an `id`, or the same items in order"
            )
        return range(n), "order"
    if len(set(a)) < len(a) or len(set(b)) < len(b):
        raise UsageError("an `id` occurs twice in one table: items pair by it, so give each its own")
    place = {name: j for j, name in enumerate(b)}
    lost = [name for name in a if name not in place] + [name for name in b if name not in set(a)]
    if lost:
        raise UsageError(
            f"{len(lost)} items are in one table only, the first is {lost[0]!r}: compare the same items"
        )
    return [place[name] for name in a], "id"


def _scored(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]] | None:
    """Return the rows that `score --out` wrote; None for a table of texts."""
    if len(rows) == 1 and isinstance(rows[0].get("scores"), list):
        rows = rows[0]["scores"]
    return rows if rows and "rdass" in rows[0] else None


def _side(rows: Sequence[Mapping[str, Any]]) -> Side:
    names = [name for name in SCORES if name in rows[0]]
    scores: dict[str, list[float]] = {}
    for name in names:
        try:
            scores[name] = [float(row[name]) for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"a row has no number in {name} ({error}): score the summaries again") from None
    ids = [str(row["id"]) for row in rows] if "id" in rows[0] else None
    groups = [str(row.get("group", i)) for i, row in enumerate(rows)]
    return Side(ids, groups, scores)
