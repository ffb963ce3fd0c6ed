"""From measured numbers to verdicts: metrics from items, intervals, and the rule that decides.

A contrast is a function of a few cells, a cell being one metric of one method. Over seeds it gets the
t interval of its paired per-seed values; over test items the paired bootstrap; with both, the two
variances add and t keeps seeds - 1 degrees of freedom. Why t: a percentile bootstrap over three seeds
calls 27 of 100 equal pairs different where 5 were promised (tests/verdicts/test_stats_simulation.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log, nan, sqrt

import numpy as np

from harness.errors import HarnessError
from harness.papers.reduction import Columns, bootstrap
from harness.papers.statement import Contrast, Items, Metric

SEEDS = 3  # fewer paired seeds leave a claim open
ITEMS = 200  # fewer paired items say nothing about the population of items
LEVEL = 0.95
DRAWS, DRAWS_WITH_SEEDS = 2000, 300  # a percentile needs more resamples than a variance


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval, or the reason why there is none (then `low` is NaN).

    `p` is two-sided, for the true value being the bound `by` that the estimate was made against.
    """

    value: float
    low: float = nan
    high: float = nan
    p: float = nan
    rule: str = ""
    seeds: int = 0
    items: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Cell:
    """One metric of one method: its value by seed, and the items behind it, read when needed.

    A deterministic method has one run, which pairs with every seed. `absent` says why the metric
    does not exist for the method.
    """

    method: str
    metric: str
    values: Mapping[int, float | None]
    items: Callable[[], Mapping[int, Items]] = dict
    deterministic: bool = False
    absent: str = ""

    def at(self, seed: int) -> float:
        """Return the value that pairs with this seed; NaN where the run wrote null."""
        value = next(iter(self.values.values())) if self.deterministic else self.values[seed]
        return nan if value is None else float(value)


def seeds_interval(
    differences: Sequence[float] | np.ndarray, by: float = 0.0, draws: np.ndarray | None = None
) -> Interval:
    """Return the t interval of paired per-seed differences, (seeds,) numbers; three seeds at least.

    With `draws`, the mean difference under resampled items, their variance is added to that of the
    mean over seeds ("seeds+items").
    """
    from scipy.special import stdtr, stdtrit

    per_seed = np.asarray(differences, dtype=float)
    seeds = len(per_seed)
    mean = float(per_seed.mean()) if seeds else nan
    start = Interval(mean, rule="seeds" if draws is None else "seeds+items", seeds=seeds)
    if seeds < SEEDS:
        return replace(start, reason=f"{SEEDS} paired seeds are needed and there {_are(seeds)}")
    if not np.isfinite(per_seed).all():
        return replace(start, value=nan, reason="a seed's value is not finite")
    error = sqrt(per_seed.var(ddof=1) / seeds + (0.0 if draws is None else draws.var(ddof=1)))
    if error <= 1e-12 * np.abs(per_seed).max():
        return replace(start, reason=f"all {seeds} seeds gave the same value: there is no spread to judge by")
    half = error * float(stdtrit(seeds - 1, (1 + LEVEL) / 2))
    p = 2 * float(stdtr(seeds - 1, -abs(mean - by) / error))
    return replace(start, low=mean - half, high=mean + half, p=p)


def items_interval(value: float, draws: np.ndarray | None, items: int, by: float = 0.0) -> Interval:
    """Return the percentile interval of a paired bootstrap over items; 200 items at least.

    `draws` are the value under resampled items, (draws,), None where there are too few items.
    """
    start = Interval(value, rule="items", seeds=1, items=items)
    if draws is None or items < ITEMS:
        return replace(start, reason=f"{ITEMS} paired items are needed and there {_are(items)}")
    if np.ptp(draws) <= 1e-12 * np.abs(draws).max():
        return replace(start, reason=f"all {items} items agree: there is no spread to judge by")
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    tail = min((draws <= by).sum(), (draws >= by).sum())
    return replace(start, low=float(low), high=float(high), p=min(1.0, 2 * (tail + 1) / (len(draws) + 1)))


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count or 'none'}"


def cells_of(contrast: Contrast) -> list[tuple[str, str]]:
    """Return the (method, metric) pairs a contrast reads, in the order `combine` takes them."""
    methods = [m for m in (contrast.method, contrast.than, *contrast.of) if m]
    pairs = [(method, contrast.metric) for method in methods]
    return [*pairs, (contrast.method, contrast.over)] if contrast.over else pairs


def combine(contrast: Contrast, better: str, cells: np.ndarray) -> np.ndarray:
    """Return the contrast of its cells, (cells, ...) -> (...): up is better; a ratio as its logarithm."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if contrast.kind == "difference":
            return cells[0] - cells[1] if better == "higher" else cells[1] - cells[0]
        if contrast.kind == "ratio":
            return np.log(cells[0] / cells[1])
        if contrast.kind == "share":
            return (cells[0] - cells[1]) / (cells[2] - cells[1])
        return cells[0]


def estimate(contrast: Contrast, metrics: Mapping[str, Metric], cells: Sequence[Cell]) -> Interval:
    """Return a contrast's interval by the rule its cells allow; `cells` as `cells_of` lists them.

    "exact" of counts that no seed changes, "items" if every method is deterministic, "seeds+items" if at least
    200 items pair, else "seeds".
    Raises HarnessError where methods were measured on different items.
    """
    for cell in cells:
        if not cell.values:
            reason = cell.absent or "no finished run measured it"
            return Interval(nan, reason=f"{cell.method} has no {cell.metric}: {reason}")
    seeded = [set(cell.values) for cell in cells if not cell.deterministic]
    seeds = sorted(set.intersection(*seeded)) if seeded else [0]
    values = np.array([[cell.at(seed) for seed in seeds] for cell in cells])  # (cells, seeds)
    better = metrics[contrast.metric].better
    reason = _unusable(contrast, better, cells, seeds, values)
    if reason:
        return Interval(nan, seeds=len(seeds), reason=reason)
    per_seed = combine(contrast, better, values)  # (seeds,)
    ratio = contrast.kind == "ratio"
    if all(metrics[cell.metric].exact for cell in cells) and np.ptp(per_seed) == 0:
        value = exp(per_seed[0]) if ratio else float(per_seed[0])
        return Interval(value, value, value, rule="exact", seeds=len(seeds))
    by = (log(contrast.by) if contrast.by > 0 else -inf) if ratio else contrast.by

    paired = _paired(cells, seeds) if not seeded or len(seeds) >= SEEDS else []
    items = len(next(iter(paired[0][0].values()))) if paired else 0
    draws = None
    if items >= ITEMS:
        number = DRAWS_WITH_SEEDS if seeded else DRAWS
        by_cell = [bootstrap(metrics[c.metric], runs, number) for c, runs in zip(cells, paired, strict=True)]
        draws = combine(contrast, better, np.stack(np.broadcast_arrays(*by_cell))).mean(axis=1)  # (draws,)
        draws = draws[np.isfinite(draws)]  # a correlation of a constant resample does not exist
        if len(draws) < 0.9 * number:
            return Interval(nan, reason="the metric does not exist on most resamples of its items")
    one = float(per_seed[0])
    found = seeds_interval(per_seed, by, draws) if seeded else items_interval(one, draws, items, by)
    found = replace(found, items=items if "items" in found.rule else 0)
    if ratio:
        found = replace(found, value=exp(found.value), low=_exp(found.low), high=_exp(found.high))
    return found


def verdict(interval: Interval, by: float = 0.0, side: str = "above") -> str:
    """Return "holds" if the interval lies on the claimed side of `by`, "fails" if beyond it, else "open"."""
    if interval.low > by:
        return "holds" if side == "above" else "fails"
    if interval.high < by:
        return "fails" if side == "above" else "holds"
    return "open"


def holm(p_values: Sequence[float], alpha: float = 0.05) -> list[bool]:
    """Return which hypotheses survive Holm's correction over them all; NaN counts as one that does not."""
    marks = [False] * len(p_values)
    ordered = sorted(range(len(p_values)), key=lambda i: p_values[i] if isfinite(p_values[i]) else inf)
    for rank, i in enumerate(ordered):
        if not p_values[i] <= alpha / (len(p_values) - rank):
            break
        marks[i] = True
    return marks


def _exp(value: float) -> float:
    return inf if value > 700 else exp(value)  # NaN stays NaN: no interval


def _unusable(
    contrast: Contrast, better: str, cells: Sequence[Cell], seeds: Sequence[int], values: np.ndarray
) -> str:
    """Say in words why no contrast can be made of these values, (cells, seeds); empty if one can."""
    if not seeds:
        had = "; ".join(f"{c.method}: {', '.join(map(str, sorted(c.values)))}" for c in cells)
        return f"the methods have no seed in common ({had})"
    for cell, row in zip(cells, values, strict=True):
        for seed, value in zip(seeds, row, strict=True):
            where = cell.method if cell.deterministic else f"{cell.method} with seed {seed}"
            if not isfinite(value):
                return f"{cell.metric} of {where} is not finite"
            if contrast.kind == "ratio" and value <= 0:
                return f"a ratio needs positive numbers and {cell.metric} of {where} is {value:g}"
    if contrast.kind == "share":
        gain = values[2] - values[1] if better == "higher" else values[1] - values[2]
        if (gain <= 0).any():
            start, full = contrast.of
            return f"{full} does not beat {start} on every seed: there is no gain to take a share of"
    return ""


def _paired(cells: Sequence[Cell], seeds: Sequence[int]) -> list[list[Columns]]:
    """Return each cell's item columns by seed (one run if deterministic), in the order of the first's ids.

    Empty where a run has no items, or where two metrics of one method are not measured on the same
    items. Raises HarnessError where two runs of one metric were measured on different items.
    """
    found: list[list[Items]] = []
    for cell in cells:
        by_seed = cell.items()
        wanted = list(by_seed)[:1] if cell.deterministic else seeds
        if not by_seed or not set(wanted) <= set(by_seed):
            return []
        found.append([by_seed[seed] for seed in wanted])
    first = found[0][0].ids
    if any(
        c.metric != cells[0].metric and set(runs[0].ids) != set(first)
        for c, runs in zip(cells, found, strict=True)
    ):
        return []
    return [
        [_align(run, first, f"{cell.metric} of {cell.method}") for run in runs]
        for cell, runs in zip(cells, found, strict=True)
    ]


def _align(items: Items, ids: Sequence[str], where: str) -> Columns:
    """Return the columns of `items` in the order of `ids`; HarnessError if they are not the same ids."""
    columns = {name: np.asarray(column, dtype=float) for name, column in items.columns.items()}
    if list(items.ids) == list(ids):
        return columns
    position = {key: i for i, key in enumerate(items.ids)}
    wrong = next((key for key in ids if key not in position), None)
    if wrong is None:
        known = set(ids)
        wrong = next((key for key in items.ids if key not in known), None)
    if wrong is not None or len(items.ids) != len(ids) or len(position) != len(ids):
        differs = f"the first that differs is {wrong!r}" if wrong is not None else "some ids occur twice"
        raise HarnessError(
            f"{where} was measured on other items ({len(items.ids)} against {len(ids)}, {differs}): "
            "compare runs of one task"
        )
    order = [position[key] for key in ids]
    return {name: column[order] for name, column in columns.items()}
