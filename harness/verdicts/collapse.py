"""What a mean over few seeds can hide: a seed far from the others, and who is better in how many of them.

A method that loses everything in one seed of five looks well in the runs that did not show it, and no interval
over those runs knows. So a seed is named that lies further from the median than normal seeds do once in 100
sweeps; how far that is depends on their number, the spread being told from so few.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from harness.verdicts.ceilings import clopper_pearson

NORMAL = 0.01  # of sets of normal seeds have one that lies so far
SETS = 100_000
MIDDLE = 10  # seeds: from here on there is a middle half worth a mean


def far(values: Sequence[float], grain: float = 0.0) -> list[int]:
    """Return which values lie too far from their median, by their place in `values`.

    Distances are in median absolute deviations, or in `grain`, the step of a value (one item of all), if that
    is larger. None without three values or without a spread.
    """
    known = np.asarray(values, dtype=float)
    if len(known) < 3:
        return []
    distances = np.abs(known - np.median(known))
    unit = max(float(np.median(distances)), grain)
    return [] if unit == 0 else np.flatnonzero(distances > threshold(len(known)) * unit).tolist()


@lru_cache(maxsize=64)
def threshold(number: int) -> float:
    """Return how many median absolute deviations the farthest of so many normal seeds exceeds in 1 % of sets."""
    rng, farthest = np.random.default_rng(number), np.empty(SETS)
    some = max(1, 1_000_000 // number)  # sets at a time: hundreds of seeds would fill the memory
    for first in range(0, SETS, some):
        drawn = rng.normal(size=(min(some, SETS - first), number))
        distances = np.abs(drawn - np.median(drawn, axis=1, keepdims=True))
        farthest[first : first + some] = distances.max(axis=1) / np.median(distances, axis=1)
    return float(np.quantile(farthest, 1 - NORMAL))


def better(differences: Sequence[float], level: float = 0.95) -> tuple[int, int, float, float]:
    """Return in how many seeds the method is ahead, of how many, and the exact interval of that chance.

    A tie is half a seed to either; the number ahead is told without ties.
    """
    signs = np.sign(np.asarray(differences, dtype=float))
    ahead, number = int((signs > 0).sum()), len(signs)
    low, high = clopper_pearson(ahead + float((signs == 0).sum()) / 2, number, 1 - level)
    return ahead, number, low, high


def interquartile_mean(values: Sequence[float]) -> float | None:
    """Return the mean of the middle half, from ten seeds on; the seeds at its edges count in part."""
    number = len(values)
    if number < MIDDLE:
        return None
    start = np.arange(number)  # value i covers i to i + 1 of what is cut at a quarter and three
    part = np.clip(np.minimum(start + 1, 0.75 * number) - np.maximum(start, 0.25 * number), 0, None)
    return float(np.sort(values) @ part / part.sum())
