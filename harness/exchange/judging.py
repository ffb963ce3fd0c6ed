"""Others' results under the rule of this house: what is told from the best, what is not, and what seeds would cost.

A verdict needs three paired seeds, here as anywhere. Below that it is `open`, and what the test items alone say is
told beside it: paired by item where items are kept, from counts (Newcombe) or standard errors where they are not.
Comparisons with the best are corrected by Holm. The best was itself chosen by its score, which that does not count
in; so the methods that may truly be the best are named too: those that nobody beats at 5 % over k - 1, one-sided
(Hsu 1984, with Bonferroni's inequality), a set that the true best is in with 95 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan, sqrt
from typing import Any

from harness.errors import UsageError, nearest
from harness.exchange.told import Outcome, Told
from harness.papers.statement import Contrast, Items, Metric, difference
from harness.verdicts.ceilings import newcombe, newcombe_p, wilson
from harness.verdicts.costs import front
from harness.verdicts.pairs import Cell
from harness.verdicts.power import Noise, detects, noise, seeds_for
from harness.verdicts.stats import LEVEL, Interval, equivalent, estimate, holm, verdict

AFTER = 5  # seeds that are priced
SPREADS = (0.5, 1.0, 2.0)  # of a seed, in the items' errors: what is assumed where no seeds tell


@dataclass(frozen=True)
class Entry:
    """The runs of one method that are judged, and the metric."""

    method: str
    metric: str
    runs: Sequence[Outcome]

    @property
    def value(self) -> float:
        """The mean of the metric over the runs."""
        return sum(run.values[self.metric] for run in self.runs) / len(self.runs)

    def seeds(self) -> Cell:
        """Return the runs by seed, with their items."""
        runs = {run.seed: run for run in self.runs if run.seed is not None}
        kept = all(self.metric in run.items for run in runs.values())

        def items() -> dict[int, Items]:
            return {seed: _items(run.items[self.metric]) for seed, run in runs.items()} if kept else {}

        values = {seed: run.values[self.metric] for seed, run in runs.items()}
        return Cell(self.method, self.metric, values, items, absent="its seed is not told")

    def fixed(self) -> Cell | None:
        """Return the mean over the runs item by item, as of one run; None where items are not kept."""
        columns = [run.items.get(self.metric) for run in self.runs]
        first = columns[0]
        if first is None or any(column is None or column.keys() != first.keys() for column in columns):
            return None
        mean = {item: sum(c[item] for c in columns if c is not None) / len(columns) for item in first}
        return Cell(self.method, self.metric, {0: self.value}, lambda: {0: _items(mean)}, deterministic=True)

    def number(self) -> int | None:
        """Return of how many items the value is a share, None where it is not told."""
        told = {run.number.get(self.metric) for run in self.runs}
        return told.pop() if len(told) == 1 else None

    def error(self) -> float:
        """Return the standard error that was told, NaN where it was not; runs share their items."""
        told = [run.errors.get(self.metric, nan) for run in self.runs]
        return max(told) if all(isfinite(error) for error in told) else nan

    def cost(self, name: str) -> float | None:
        """Return the mean of a cost over the runs, None where one does not tell it."""
        told = [run.costs[name] for run in self.runs if name in run.costs]
        return sum(told) / len(told) if len(told) == len(self.runs) else None


def _items(column: Mapping[str, float]) -> Items:
    return Items({"value": list(column.values())}, list(column))


def judge(told: Told, metric: str = "", margin: float = nan) -> dict[str, Any]:
    """Return the verdicts on what was told, as plain data: a part a task, and what no task could be told of.

    Raises UsageError for an unknown metric, HarnessError where methods were measured on different items.
    """
    if not (isfinite(margin) and margin > 0) and margin == margin:
        raise UsageError(f"--margin {margin}: give the smallest difference worth having, above 0")
    known = {name for metrics in told.tasks.values() for name in metrics}
    if metric and metric not in known:
        raise UsageError(f"no metric is named {metric!r}: {nearest(metric, known)}")
    parts = [
        _task(task, name, metrics[name], [o for o in told.outcomes if o.task == task], told.costs, margin)
        for task, metrics in told.tasks.items()
        for name in [metric or next(iter(metrics))]
        if name in metrics
    ]
    return {
        "level": LEVEL,
        "margin": margin if isfinite(margin) else None,
        "files": len({outcome.source for outcome in told.outcomes}),
        "tasks": parts,
        "unread": [_trouble(outcome) for outcome in told.outcomes if not outcome.task],
    }


def _trouble(outcome: Outcome) -> dict[str, Any]:
    return {"method": outcome.method, "source": outcome.source, "reason": outcome.trouble}


def _task(
    task: str, name: str, metric: Metric, outcomes: Sequence[Outcome], costs: Mapping[str, str], margin: float
) -> dict[str, Any]:
    entries, troubles = _entries(name, metric, outcomes)
    part: dict[str, Any] = {
        "task": task,
        "metric": name,
        "better": metric.better,
        "text": metric.text,
        "runs": len(outcomes),
        "troubles": troubles,
        "differs": _differs(outcomes),
        "methods": [],
    }
    if not entries:
        return part
    best = entries[0]
    found = [compared(best, entry, metric) for entry in entries[1:]]
    rows = [_row(best, metric, None, margin)]
    rows += [_row(e, metric, both, margin, best) for e, both in zip(entries[1:], found, strict=True)]
    marks = holm([row["ahead"]["p"] for row in rows[1:]])
    for row, told in zip(rows[1:], marks, strict=True):
        p = row["ahead"]["p"]
        row["separable"] = told if isfinite(p) else None
        row["may_be_best"] = not (isfinite(p) and p / 2 <= (1 - LEVEL) / len(found))
    part |= {
        "methods": rows,
        "best": best.method,
        "separable": sum(row["separable"] is True for row in rows[1:]),
        "not_separable": sum(row["separable"] is False for row in rows[1:]),
        "not_tested": sum(row["separable"] is None for row in rows[1:]),
        "may_be_best": sum(row["may_be_best"] for row in rows),
        "seeds": sorted({len(e.seeds().values) for e in entries}),
        "decided": sum(row["verdict"] != "open" for row in rows[1:]),
    }
    part["more"] = _more(entries, rows, found)
    part["front"] = _front(entries, rows, metric, costs)
    return part


def _entries(
    name: str, metric: Metric, outcomes: Sequence[Outcome]
) -> tuple[list[Entry], list[dict[str, Any]]]:
    """Return what can be judged, the best first, and what cannot with its reason."""
    runs: dict[str, list[Outcome]] = {}
    troubles = []
    for outcome in outcomes:
        reason = outcome.trouble
        if not reason and not isfinite(outcome.values.get(name, nan)):
            reason = f"{name} is not finite" if name in outcome.values else f"holds no {name}"
        if not reason and any(o.seed == outcome.seed for o in runs.get(outcome.method, [])):
            again = "without a seed" if outcome.seed is None else f"of seed {outcome.seed}"
            reason = f"is a second run {again}, and the first one is judged"
        if reason:
            troubles.append(_trouble(replace(outcome, trouble=reason)))
        else:
            runs.setdefault(outcome.method, []).append(outcome)
    sign = 1 if metric.better == "higher" else -1
    entries = [Entry(method, name, kept) for method, kept in runs.items()]
    return sorted(entries, key=lambda e: (-sign * e.value, e.method)), troubles


def _differs(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return which settings that a task's runs should share do not, with who stands apart."""
    found = []
    for key in dict.fromkeys(key for outcome in outcomes for key in outcome.setting):
        by_value: dict[str, list[str]] = {}
        for outcome in outcomes:
            if key in outcome.setting:
                by_value.setdefault(str(outcome.setting[key])[:60], []).append(outcome.method)
        usual = max(by_value, key=lambda value: len(by_value[value]))
        found += [
            {"setting": key, "value": value, "methods": methods, "usual": usual}
            for value, methods in by_value.items()
            if value != usual
        ]
    return found


def compared(one: Entry, other: Entry, metric: Metric, level: float = LEVEL) -> tuple[Interval, Interval]:
    """Return how far `one` is ahead of `other`: by the rule, and by the test items alone."""
    contrast = difference(one.metric, one.method, other.method)
    known = {one.metric: metric}
    ruled = estimate(contrast, known, [one.seeds(), other.seeds()], level)
    ours, theirs = one.fixed(), other.fixed()
    if ours and theirs:
        return ruled, replace(estimate(contrast, known, [ours, theirs], level), rule="items alone")
    return ruled, _unpaired(one, other, metric, level)


def _unpaired(one: Entry, other: Entry, metric: Metric, level: float) -> Interval:
    """Return what counts or standard errors say of a difference, oriented so that up is better."""
    from scipy.special import ndtr, ndtri

    sign = 1.0 if metric.better == "higher" else -1.0
    ahead, alpha = sign * (one.value - other.value), 1 - level
    n, m = one.number(), other.number()
    normal = -float(ndtri(alpha / 2))
    if n and m:
        a, b = (one.value * n, n), (other.value * m, m)
        (right, n), (less, m) = (a, b) if sign > 0 else (b, a)
        low, high = newcombe(right, less, n, m, alpha)
        p = newcombe_p(right, less, n, m, 0.0)
        error = (high - low) / 2 / normal
        return Interval(ahead, low, high, p, "counts alone", items=min(n, m), level=level, item_error=error)
    error = sqrt(one.error() ** 2 + other.error() ** 2)
    if isfinite(error) and error > 0:
        p = 2 * float(ndtr(-abs(ahead) / error))
        return Interval(
            ahead,
            ahead - normal * error,
            ahead + normal * error,
            p,
            "errors alone",
            level=level,
            item_error=error,
        )
    return Interval(ahead, level=level, reason="neither items, counts nor standard errors are told")


def _used(both: tuple[Interval, Interval]) -> Interval:
    """Return the rule's interval where there is one, else what items alone say."""
    return both[0] if isfinite(both[0].low) else both[1]


def _row(
    entry: Entry,
    metric: Metric,
    both: tuple[Interval, Interval] | None,
    margin: float,
    best: Entry | None = None,
) -> dict[str, Any]:
    """Return a method as plain data: where it stands, and how far the best is ahead of it."""
    low, high = _own(entry, metric)
    row: dict[str, Any] = {
        "method": entry.method,
        "value": entry.value,
        "low": low,
        "high": high,
        "seeds": sorted(run.seed for run in entry.runs if run.seed is not None),
        "items": entry.number() or (len(entry.runs[0].items.get(entry.metric, ())) or None),
        "sources": [run.source for run in entry.runs],
        "seconds": entry.cost("seconds"),
        "separable": None,
        "may_be_best": True,
        "verdict": "open",
        "reason": "",
        "ahead": None,
        "within": None,
    }
    if not both or not best:
        return row
    used = _used(both)
    row["verdict"], row["reason"] = verdict(both[0]), both[0].reason
    row["ahead"] = {
        "value": used.value,
        "low": used.low,
        "high": used.high,
        "p": used.p,
        "rule": used.rule,
        "reason": used.reason,
    }
    if isfinite(margin):
        near = _used(compared(best, entry, metric, 0.9))
        row["within"] = equivalent(near, margin) if isfinite(near.low) else None
    return row


def _own(entry: Entry, metric: Metric) -> tuple[float, float]:
    """Return the 95 % interval of a method's own value; NaN where nothing tells it."""
    level = Contrast("level", entry.metric, entry.method)
    fixed, number, error = entry.fixed(), entry.number(), entry.error()
    found = estimate(level, {entry.metric: metric}, [entry.seeds()])
    if not isfinite(found.low) and fixed:
        found = estimate(level, {entry.metric: metric}, [fixed])
    if isfinite(found.low):
        return found.low, found.high
    if number:
        return wilson(entry.value * number, number, 1 - LEVEL)
    return entry.value - 1.96 * error, entry.value + 1.96 * error


def _more(
    entries: Sequence[Entry], rows: Sequence[Mapping[str, Any]], found: Sequence[tuple[Interval, Interval]]
) -> dict[str, Any]:
    """Return what five seeds of the methods not told from the best take, and what they could tell.

    How much a seed changes is not told where there is one: three spreads are assumed, in errors of the items. The
    items' error is that of unpaired items, so the truth is better where items are shared.
    """
    near = [(e, row) for e, row in zip(entries, rows, strict=True) if row["separable"] is not True]
    missing = [max(0, AFTER - len(row["seeds"])) for _, row in near]
    seconds = [e.cost("seconds") for e, _ in near]
    priced = all(second is not None for second in seconds)
    measured = [blur for both in found if (blur := noise(both[0])) and blur.seed]
    items = sorted(both[1].item_error for both in found if isfinite(both[1].low))
    error = items[len(items) // 2] if items else 0.0
    gap = rows[1]["ahead"]["value"] if len(rows) > 1 else nan
    blurs = [("measured", measured[0])] if measured else []
    if not measured and error:
        blurs = [("assumed", Noise(spread * error, error, AFTER)) for spread in SPREADS]
    return {
        "seeds": AFTER,
        "methods": len(near),
        "runs": sum(missing),
        "seconds": sum(n * (s or 0.0) for n, s in zip(missing, seconds, strict=True)) if priced else None,
        "item_error": error or None,
        "gap": gap if isfinite(gap) else None,
        "if": [
            {
                "spread": blur.seed,
                "origin": origin,
                "detects": detects(blur, AFTER),
                "needs_seeds": seeds_for(abs(gap), blur) if isfinite(gap) else None,
            }
            for origin, blur in blurs
        ],
    }


def _front(
    entries: Sequence[Entry], rows: Sequence[dict[str, Any]], metric: Metric, costs: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return where each method stands on cost and quality: on the front, maybe on it, or off by the rule.

    A method is off where one that costs no more is told to be better, Holm over all that are asked. Costs are taken
    as they were measured, once.
    """
    cost = next(iter(costs), "")
    known = [(e, value) for e in entries if (value := e.cost(cost)) is not None]
    if len(known) < 2:
        return None
    ahead = front([(value, e.value) for e, value in known], metric.better)
    rivals = [next((r for r, c in known if c <= value and r is not e), None) for e, value in known]
    places = {e.method: place for place, e in enumerate(entries)}
    tests = [
        _used(compared(rival, e, metric)) if rival and places[rival.method] < places[e.method] else None
        for (e, _), rival in zip(known, rivals, strict=True)
    ]
    marks = holm([test.p if test else nan for test in tests])
    points = []
    for (entry, value), on, rival, off in zip(known, ahead, rivals, marks, strict=True):
        row = rows[places[entry.method]]
        points.append(
            {
                "method": entry.method,
                "cost": value,
                "value": entry.value,
                "low": row["low"],
                "high": row["high"],
                "place": "off" if off else "on" if on else "open",
                "beaten_by": rival.method if off and rival else None,
            }
        )
    return {
        "cost": cost,
        "text": costs[cost],
        "points": points,
        "not_placed": len(entries) - len(known),
        **{place: sum(p["place"] == place for p in points) for place in ("on", "open", "off")},
    }
