"""What a comparison can see: its effect size, the difference it detects, and what a smaller one would take.

`detects` is the distance from the bound that the verdict rule finds in 80 of 100 repetitions, the seeds' spread
being estimated in each. Items add their variance, which more seeds do not lower, so a difference may be out of
reach of any number of seeds. The spread itself is estimated: told from three seeds,
the answer is between a quarter and 1.75 times the truth in 90 of 100 sweeps (benchmarks/verdict.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, isfinite, log, nan, sqrt

import numpy as np

from harness.papers.statement import Contrast, Metric
from harness.verdicts.intervals import quantile
from harness.verdicts.stats import ITEMS, LEVEL, SEEDS, Cell, Interval, combine

POWER = 0.8
MOST = 1000  # seeds; who needs more needs other means


@dataclass(frozen=True)
class Noise:
    """What blurs a contrast: `seed`, the deviation of one seed's value, and `items`, the items' standard error.

    `freedom` is what the items' error is known by: their number, or their groups', less one.
    """

    seed: float
    items: float
    seeds: int
    number: int = 0  # of items
    freedom: int = 0

    def error(self, seeds: int) -> float:
        """Return the standard error with this many seeds and the same items."""
        return sqrt(self.seed**2 / seeds + self.items**2)


def values(contrast: Contrast, metrics: Mapping[str, Metric], cells: Sequence[Cell]) -> np.ndarray:
    """Return the contrast of each seed that all cells have, (seeds,); a ratio as its logarithm."""
    seeded = [set(cell.values) for cell in cells if not cell.deterministic]
    seeds = sorted(set.intersection(*seeded)) if seeded else [0]
    if not all(cell.values for cell in cells):
        return np.empty(0)
    table = np.array([[cell.at(seed) for seed in seeds] for cell in cells])
    return combine(contrast, metrics[contrast.metric].better, table)


def noise(interval: Interval) -> Noise | None:
    """Return the noise an interval was made of, or None where there is no interval."""
    blur = Noise(
        interval.seed_error * sqrt(interval.seeds),
        interval.item_error,
        interval.seeds,
        interval.items,
        interval.freedom,
    )
    return blur if isfinite(interval.low) and blur.seed + blur.items > 0 else None


def detects(found: Noise, seeds: int | None = None) -> float:
    """Return the distance from the bound that is decided with 80 % power, with as many seeds or `seeds`.

    The estimate must lie a half-width beyond the bound. It is normal; of the half-width the seeds' part, a chi
    squared, is averaged over.
    """
    from scipy.optimize import brentq
    from scipy.special import chdtri, ndtr, ndtri

    items = quantile(1 - LEVEL, found.freedom) * found.items if found.freedom else 1.96 * found.items
    if not found.seed:
        return items + found.items * float(ndtri(POWER))
    seeds = seeds or found.seeds
    error, freedom = found.error(seeds), seeds - 1
    nodes, weights = _nodes()
    squares = (quantile(1 - LEVEL, freedom) * found.seed) ** 2 / seeds * chdtri(freedom, nodes) / freedom
    halves = np.sqrt(squares + items**2)

    def missing(distance: float) -> float:
        return POWER - float(weights @ ndtr((distance - halves) / error))

    return float(brentq(missing, 0.0, float(halves.max()) + 5 * error))


@lru_cache(maxsize=1)
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Return points of (0, 1) and weights to average over them."""
    points, weights = np.polynomial.legendre.leggauss(64)
    return (points + 1) / 2, weights / 2


def seeds_for(distance: float, found: Noise) -> int | None:
    """Return the fewest seeds that detect a distance; None where no number of them does, items being too few."""
    if not distance > 0 or detects(found, MOST) > distance:
        return None
    low, high = SEEDS, MOST  # detects falls with the seeds
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if detects(found, middle) <= distance else (middle + 1, high)
    return low


def items_for(distance: float, found: Noise) -> int | None:
    """Return how many items of a deterministic pair detect a distance."""
    if not distance > 0:
        return None
    return max(ITEMS, int(np.ceil(found.number * (detects(found) / distance) ** 2)))


def effect(contrast: Contrast, interval: Interval, per_seed: np.ndarray) -> float:
    """Return the difference (or log ratio) in units of its spread, up on the claimed side; NaN where none is defined.

    Over seeds Hedges' g of the paired values, over items Cohen's d. A level or a share has no "no effect".
    """
    found = noise(interval)
    if found is None or contrast.kind not in ("difference", "ratio"):
        return nan
    side = 1.0 if contrast.side == "above" else -1.0
    if interval.rule == "items":
        value = log(interval.value) if contrast.kind == "ratio" else interval.value
        return side * value / (found.items * sqrt(interval.items))
    freedom = len(per_seed) - 1
    return side * float(per_seed.mean() / found.seed * (1 - 3 / (4 * freedom - 1))) if found.seed else nan


def answer(
    contrast: Contrast,
    interval: Interval,
    per_seed: np.ndarray,
    wanted: float = nan,
    whose: str = "reported",
) -> dict[str, object]:
    """Return effect size and power as plain data; both None where there is no interval to tell them from.

    `wanted` is a value of the contrast whose distance from the bound one would like to detect; by default
    half of what is detected now is asked for. `whose` wish it was, "reported" or "asked", is kept.
    Distances of a ratio are factors.
    """
    found = noise(interval)
    if found is None:
        return {"effect": None, "power": None}
    ratio = contrast.kind == "ratio"
    now, half = detects(found), False
    target = (
        abs(log(wanted / contrast.by))
        if ratio and wanted > 0 and contrast.by > 0
        else abs(wanted - contrast.by)
    )
    if not isfinite(target) or target == 0 or (ratio and not contrast.by > 0):
        target, half = now / 2, True
    size = effect(contrast, interval, per_seed)
    ahead = per_seed > 0 if contrast.side == "above" else per_seed < 0
    fixed = interval.rule == "items"
    return {
        "effect": {
            "size": size,
            "spread": "items" if fixed else "seeds",
            "ahead": None if fixed else int(ahead.sum()),
        }
        if isfinite(size)
        else None,
        "power": {
            "power": POWER,
            "detects": exp(now) if ratio else now,
            "target": exp(target) if ratio else target,
            "target_is": "half" if half else whose,
            "needs_seeds": None if fixed else seeds_for(target, found),
            "needs_items": items_for(target, found) if fixed else None,
        },
    }
