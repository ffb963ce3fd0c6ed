"""Which places of a ranking the runs can tell apart: "1st", or "1st to 3rd, not separable".

A method's best place is one behind all that the verdict rule calls better, its worst one before all that
it calls worse. Each pair is judged as a claim would be, at 5 %: among many equal methods some pair will be
told apart by chance (docs/verdict.md says how often).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from math import isfinite

import numpy as np

from harness.papers.statement import Metric, difference
from harness.verdicts.pairs import paired
from harness.verdicts.stats import LEVEL, SEEDS, Cell, Resamples, estimate, verdict


def places_of(
    metric: Metric, cells: Mapping[str, Cell], level: Callable[[int], float] = lambda seeds: LEVEL
) -> dict[str, tuple[int, int]]:
    """Return the first and last place that each method may have, the best mean first.

    `level` is the intervals', by the number of paired seeds: after several looks it is higher.
    Methods with too few seeds to be told from any other take no part. Raises HarnessError where methods
    were measured on different items.
    """
    sign = 1.0 if metric.better == "higher" else -1.0
    known = {m: c for m, c in cells.items() if len(c.values) >= (1 if c.deterministic else SEEDS)}
    means = {m: float(np.mean([cell.at(seed) for seed in cell.values])) for m, cell in known.items()}
    ordered = sorted((m for m in means if isfinite(means[m])), key=lambda m: -sign * means[m])
    draws = Resamples()  # the pairs share them
    better = dict.fromkeys(ordered, 0)  # how many are told to be better, and worse, than a method
    worse = dict(better)
    for one, other in itertools.combinations(ordered, 2):
        pair = difference(cells[one].metric, one, other)
        both = [known[one], known[other]]
        found = estimate(pair, {pair.metric: metric}, both, level(len(paired(both))), draws)
        said = verdict(found)
        if said != "open":
            ahead, behind = (one, other) if said == "holds" else (other, one)
            worse[ahead] += 1
            better[behind] += 1
    return {m: (1 + better[m], len(ordered) - worse[m]) for m in ordered}
