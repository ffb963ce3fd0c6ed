"""Which places of a ranking the runs can tell apart: "1st", or "1st to 3rd, not separable".

A method's best place is one behind all that the verdict rule calls better, its worst one before all that
it calls worse. Each pair is judged as a claim would be, at 5 %: among many equal methods some pair will be
told apart by chance (docs/verdict.md says how often).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from math import isfinite

import numpy as np

from harness.papers.reduction import Columns, bootstrap
from harness.papers.statement import Metric
from harness.verdicts.stats import (
    DRAWS,
    DRAWS_WITH_SEEDS,
    ITEMS,
    SEEDS,
    Cell,
    Interval,
    _align,
    items_interval,
    seeds_interval,
    verdict,
)


def ranks(metric: Metric, cells: Mapping[str, Cell]) -> dict[str, tuple[int, int]]:
    """Return the first and last place that each method may have, the best mean first.

    Methods with too few seeds to be told from any other take no part. Raises HarnessError where methods
    were measured on different items.
    """
    sign = 1.0 if metric.better == "higher" else -1.0
    known = {m: c for m, c in cells.items() if len(c.values) >= (1 if c.deterministic else SEEDS)}
    means = {m: float(np.mean([cell.at(seed) for seed in cell.values])) for m, cell in known.items()}
    ordered = sorted((m for m in means if isfinite(means[m])), key=lambda m: -sign * means[m])
    items = _Draws(metric)
    better = dict.fromkeys(ordered, 0)  # how many are told to be better, and worse, than a method
    worse = dict(better)
    for one, other in itertools.combinations(ordered, 2):
        said = verdict(_difference(sign, known[one], known[other], items))
        if said != "open":
            ahead, behind = (one, other) if said == "holds" else (other, one)
            worse[ahead] += 1
            better[behind] += 1
    return {m: (1 + better[m], len(ordered) - worse[m]) for m in ordered}


class _Draws:
    """Each cell under resampled items, drawn once for all the pairs it is in."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.known: dict[str, tuple[int, dict[int, np.ndarray]]] = {}
        self.ids: list[str] | None = None

    def of(self, cell: Cell) -> tuple[int, dict[int, np.ndarray]]:
        """Return the number of items, 0 where too few, and the metric's draws by seed, (draws,) each."""
        if cell.method not in self.known:
            self.known[cell.method] = self._draw(cell)
        return self.known[cell.method]

    def _draw(self, cell: Cell) -> tuple[int, dict[int, np.ndarray]]:
        behind = dict(cell.items())
        wanted = list(behind)[:1] if cell.deterministic else list(cell.values)
        if not behind or not set(wanted) <= set(behind):
            return 0, {}
        if self.ids is None:
            self.ids = list(behind[wanted[0]].ids)
        runs: list[Columns] = [
            _align(behind[seed], self.ids, f"{cell.metric} of {cell.method}") for seed in wanted
        ]
        if len(self.ids) < ITEMS:
            return 0, {}
        table = bootstrap(
            self.metric, runs, DRAWS if cell.deterministic else DRAWS_WITH_SEEDS
        )  # (draws, seeds)
        return len(self.ids), dict(zip(wanted, table.T, strict=True))


def _difference(sign: float, one: Cell, other: Cell, draws: _Draws) -> Interval:
    """Return the interval of how far `one` is ahead of `other`, by the rule of `stats.estimate`."""
    fixed = one.deterministic and other.deterministic
    seeds = (
        [0]
        if fixed
        else sorted(set.intersection(*(set(c.values) for c in (one, other) if not c.deterministic)))
    )
    per_seed = np.array([sign * (one.at(seed) - other.at(seed)) for seed in seeds])
    if not fixed:
        by_seeds = seeds_interval(per_seed)
        if verdict(by_seeds) == "open":  # items only widen it
            return by_seeds
    (items, mine), (theirs_too, theirs) = draws.of(one), draws.of(other)
    if not items or not theirs_too:
        return items_interval(float(per_seed[0]), None, items) if fixed else by_seeds

    def drawn(cell: Cell, by_seed: dict[int, np.ndarray]) -> np.ndarray:
        columns = (
            [next(iter(by_seed.values()))] * len(seeds) if cell.deterministic else [by_seed[s] for s in seeds]
        )
        return np.stack(columns, axis=1)[: DRAWS if fixed else DRAWS_WITH_SEEDS]  # (draws, seeds)

    gap = sign * (drawn(one, mine) - drawn(other, theirs)).mean(axis=1)
    gap = gap[np.isfinite(gap)]
    if len(gap) < 0.9 * (DRAWS if fixed else DRAWS_WITH_SEEDS):
        return Interval(
            float(per_seed.mean()), reason="the metric does not exist on most resamples of its items"
        )
    return items_interval(float(per_seed[0]), gap, items) if fixed else seeds_interval(per_seed, 0.0, gap)
