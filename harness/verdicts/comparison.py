"""`harness compare A B`: two sets of runs, method by method and metric by metric, by the verdict rule.

Runs are paired by seed, and their test items by id. What was measured on another task or on other items is
refused with the reason. With a margin, the smallest difference worth having, it also says whether there is no
such difference, and whether A is not worse by more than it, at which cost. The outcome is plain data, which
`reports` prints and draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.papers.families import members
from harness.papers.statement import Contrast, Items, Paper
from harness.runs.results import Record
from harness.verdicts.claims import by_seed, equivalence
from harness.verdicts.costs import SECOND
from harness.verdicts.looks import Memory
from harness.verdicts.pairs import paired
from harness.verdicts.power import answer, values
from harness.verdicts.rows import ABOUT, Row, flat, rows_of
from harness.verdicts.stats import Cell, Interval, estimate, holm, seeds_interval, verdict


def compare(
    a: Sequence[Record],
    b: Sequence[Record],
    papers: Mapping[str, Paper],
    metrics: Sequence[str] = (),
    detect: float = float("nan"),
    margin: float = float("nan"),
    looks: Memory | None = None,
) -> dict[str, Any]:
    """Return every pair of methods with its metrics and what differs in their settings.

    One method on a side is compared with each of the other's; otherwise methods of one name are.
    `metrics` limits the table; `detect` is a difference to say the needed seeds for, `margin` the smallest one
    worth having, of one metric; `looks` are the settings' plans and former looks. Raises UsageError where nothing
    can be paired, or a margin has no metric.
    """
    if isfinite(margin) and (len(metrics) != 1 or margin <= 0):
        raise UsageError(
            "a margin is above 0 and in the unit of one metric: name it, as in --metric accuracy"
        )
    rows_a, rows_b = (_ordered(rows_of(records, side), papers) for records, side in ((a, "A"), (b, "B")))
    pairs = _pairs(rows_a, rows_b)
    paired_a, paired_b = {one for one, _ in pairs}, {other for _, other in pairs}
    return {
        "pairs": [
            _pair(rows_a[one], rows_b[other], papers[one[0]], metrics, detect, margin, looks or Memory())
            if one[0] == other[0]
            else _refused(rows_a[one], rows_b[other], f"{one[0]} and {other[0]} are different papers")
            for one, other in pairs
        ],
        "only_a": [f"{paper}/{label}" for paper, label in rows_a if (paper, label) not in paired_a],
        "only_b": [f"{paper}/{label}" for paper, label in rows_b if (paper, label) not in paired_b],
    }


Key = tuple[str, str]


def _ordered(rows: Mapping[Key, Row], papers: Mapping[str, Paper]) -> dict[Key, Row]:
    """Return rows in the order in which each paper names its methods."""

    def order(key: Key) -> tuple[Any, ...]:
        names, name = list(papers[key[0]].methods), rows[key].config["name"]
        return key[0], names.index(name) if name in names else len(names), key[1]

    return {key: rows[key] for key in sorted(rows, key=order)}


def _pairs(rows_a: Mapping[Key, Row], rows_b: Mapping[Key, Row]) -> list[tuple[Key, Key]]:
    def same(one: Key, other: Key) -> bool:
        keys = (
            {r.result.run_key for r in rows[k].runs.values()} for rows, k in ((rows_a, one), (rows_b, other))
        )
        return next(keys) == next(keys)

    if len(rows_a) == 1 or len(rows_b) == 1:
        pairs = [(one, other) for one in rows_a for other in rows_b]
    else:
        pairs = [(key, key) for key in rows_a if key in rows_b]
        if not pairs:
            raise UsageError(
                "A and B hold several methods each and none in common: name one method on one side, as in alibi/rotary"
            )
    different = [pair for pair in pairs if not same(*pair)]
    if not different:
        raise UsageError("A and B are the same runs: there is nothing to compare")
    return different


def _refused(a: Row, b: Row, reason: str) -> dict[str, Any]:
    return {
        "paper": a.config["paper"],
        "a": {"method": a.label, "seeds": list(a.runs), "run_keys": _keys(a)},
        "b": {"method": b.label, "seeds": list(b.runs), "run_keys": _keys(b)},
        "refused": reason,
        "config": differences(a, b),
        "metrics": {},
        "cost": None,
    }


def _keys(row: Row) -> list[str]:
    return [record.result.run_key for record in row.runs.values()]


def _pair(
    a: Row,
    b: Row,
    paper: Paper,
    metrics: Sequence[str],
    detect: float,
    margin: float,
    looks: Memory,
) -> dict[str, Any]:
    reason = other_task(a, b)
    if reason:
        return _refused(a, b, reason)
    cells = [_cells(row, name) for row, name in ((a, "A"), (b, "B"))]
    paper = replace(paper, metrics={**paper.metrics, **members(paper.metrics, a.config["task"])})
    wanted = [m for m in paper.metrics if not metrics or m in metrics or m.rpartition("@")[0] in metrics]
    shared = [m for m in wanted if all(m in side for side in cells)]
    level = partial(looks.level, a.config)
    found = {m: _metric(paper, m, cells[0][m], cells[1][m], detect, margin, level) for m in shared}
    marks = holm([one.pop("p") for one in found.values()])
    for one, mark in zip(found.values(), marks, strict=True):
        one["holm"] = mark and one["verdict"] != "open"
    return {**_refused(a, b, ""), "metrics": found, "cost": _cost(a, b)}


def _cost(a: Row, b: Row) -> dict[str, Any] | None:
    """Return the mean seconds of training of both sides, or of evaluation where neither was trained.

    None where neither took a second: such times say nothing.
    """
    for name in ("train", "evaluate"):
        known = [[r.result.timings.get(name) for r in row.runs.values()] for row in (a, b)]
        times = [[t for t in side if t is not None] for side in known]
        if all(times):
            one, other = (sum(side) / len(side) for side in times)
            if max(one, other) >= SECOND:
                return {"cost": name, "a": one, "b": other}
    return None


def other_task(a: Row, b: Row) -> str:
    """Say why two methods' runs are of different tasks; empty where they are of one."""
    tasks = [{r.result.config["task_digest"] for r in row.runs.values()} for row in (a, b)]
    if len(tasks[0] | tasks[1]) == 1:
        return ""
    one, other = (_task(row) for row in (a, b))
    differ = [key for key in one | other if one.get(key) != other.get(key)]
    said = "; ".join(f"{key}: {_short(one.get(key))} and {_short(other.get(key))}" for key in differ[:4])
    return f"they were measured on different tasks ({said or 'by digest'}): numbers of different tasks do not compare"


def _task(row: Row) -> dict[str, Any]:
    """Return what decides a task: its settings, its model, and the digests of its data."""
    record = next(iter(row.runs.values()))
    data = {f"data.{name}": source.get("digest", "")[:12] for name, source in record.result.data.items()}
    return {**flat(record.result.config["task"], "task."), "model": record.result.config["model"], **data}


def _short(value: Any) -> str:
    return "nothing" if value in (None, "") else str(value)


def _cells(row: Row, name: str) -> dict[str, Cell]:
    """Return a method's cells by metric; items are read once a run, when first needed."""
    read: dict[int, Mapping[str, Items]] = {}

    def items_of(metric: str) -> dict[int, Items]:
        if not read:
            read.update({seed: record.items for seed, record in row.runs.items()})
        return {seed: items[metric] for seed, items in read.items() if metric in items}

    numbers = {seed: record.result.numbers for seed, record in row.runs.items()}
    return {
        metric: Cell(
            name,
            metric,
            {seed: known[metric] for seed, known in numbers.items() if metric in known},
            lambda metric=metric: items_of(metric),  # type: ignore[misc]
            row.deterministic,
        )
        for metric in dict.fromkeys(m for known in numbers.values() for m in known)
    }


def _metric(
    paper: Paper,
    metric: str,
    a: Cell,
    b: Cell,
    detect: float,
    margin: float,
    level: Callable[[int], float],
) -> dict[str, Any]:
    """Return both means, how far A is ahead, and who is better by the verdict rule."""
    contrast = Contrast("difference", metric, "A", than="B")
    refused = ""
    try:
        interval = estimate(contrast, paper.metrics, [a, b], level(len(paired([a, b]))))
    except HarnessError as error:
        interval, refused = Interval(float("nan"), reason=str(error)), str(error)
    said = "open" if refused else verdict(interval)
    strength: dict[str, Any] = {"effect": None, "power": None}
    if isfinite(interval.low):
        strength = answer(contrast, interval, values(contrast, paper.metrics, [a, b]), detect, "asked")
    declared = paper.metrics[metric]
    equal = None
    if isfinite(margin) and isfinite(interval.low):
        equal = equivalence(contrast, paper.metrics, [a, b], margin, interval.level)
    return {
        "text": declared.text,
        "unit": declared.unit,
        "better": declared.better,
        "a": _summary(a),
        "b": _summary(b),
        "value": _finite(interval.value),
        "low": _finite(interval.low),
        "high": _finite(interval.high),
        "rule": interval.rule,
        "seeds": interval.seeds,
        "items": interval.items,
        "verdict": {"holds": "a", "fails": "b", "open": "open"}[said],
        "reason": interval.reason,
        "refused": refused,
        "p": interval.p,
        "equivalence": equal,
        **strength,
        **by_seed(paper.metrics, contrast, lambda method, _: {"A": a, "B": b}[method]),
    }


def _summary(cell: Cell) -> dict[str, Any]:
    known = [v for v in cell.values.values() if v is not None]
    found = seeds_interval(known) if len(known) == len(cell.values) else Interval(float("nan"))
    return {
        "mean": _finite(found.value),
        "low": _finite(found.low),
        "high": _finite(found.high),
        "values": known,
    }


def differences(a: Row, b: Row) -> list[dict[str, str]]:
    """Return the settings, code and machine in which two methods' runs differ, with what each has."""
    one, other = (_settings(row) for row in (a, b))
    keys = [key for key in one | other if one.get(key) != other.get(key)]
    return [{"key": key, "a": _said(one.get(key)), "b": _said(other.get(key))} for key in keys]


def _settings(row: Row) -> dict[str, set[str]]:
    """Return every value that a setting has in a method's runs."""
    found: dict[str, set[str]] = {}
    for record in row.runs.values():
        result = record.result
        environment = {f"packages.{k}": v for k, v in result.environment.get("packages", {}).items()}
        environment |= {
            k: result.environment.get(k) for k in ("python", "machine", "cores") if k in result.environment
        }
        known = {
            k: v
            for k, v in flat(result.config).items()
            if k.split(".")[0] not in ABOUT and k != "task_digest"
        }
        known |= {**environment, "code.git": str(result.code.get("git", ""))[:12]}
        known |= {
            f"code.{name}": digest
            for kind in ("definitions", "modules")
            for name, digest in result.code.get(kind, {}).items()
        }
        for key, value in known.items():
            found.setdefault(key, set()).add(str(value))
    return found


def _said(values: set[str] | None) -> str:
    if not values:
        return ""
    return ", ".join(sorted(values)) if len(values) <= 3 else f"{len(values)} values"


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None
