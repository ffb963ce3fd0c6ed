"""What looks may ask: the null distribution of t statistics at several looks, and what follows from it.

No variance enters it. Declared looks share out the 5 %: each gets the nominal level at which all of them together
err as promised. Looks without an end are judged by the e-process of the t statistic, a mixture over effects of
normal size in units of a seed's deviation (invariant in scale: Perez-Ortiz et al. 2024), which reaches 20 with a
chance of at most 5 %.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import inf, sqrt
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.verdicts.stats import LEVEL, SEEDS

LOOKS = (3, 5, 8, 12, 20)
ALPHA = 1 - LEVEL
SPENDING = ("even", "late")
PATHS = 2**20  # of the null distribution: a look's share of 1 % has a standard error of .01 %
MIXTURE = 1.0  # variance of the effect, in seeds' variances, over which the e-process mixes


def checked(looks: Sequence[int], spending: str = "even") -> tuple[int, ...]:
    """Return looks as a plan takes them. Raises UsageError for looks that fall or see too few seeds."""
    said = ", ".join(map(str, looks))
    if not looks or min(looks) < SEEDS:
        raise UsageError(
            f"looks at {said or 'no'} seeds: each needs {SEEDS} seeds or more, as in 3,5,8,12,20"
        )
    if any(later <= earlier for earlier, later in itertools.pairwise(looks)):
        raise UsageError(f"looks at {said} seeds do not rise: each needs more seeds than the one before")
    if spending not in SPENDING:
        raise UsageError(f"spending {spending!r} is none: choose {' or '.join(SPENDING)}")
    return tuple(looks)


def shares(looks: tuple[int, ...], spending: str = "even", alpha: float = ALPHA) -> np.ndarray:
    """Return what each look may err: alike ("even"), or little at first, as O'Brien and Fleming do ("late").

    Late spending has spent `alpha` times the squared part of the seeds (Kim and DeMets 1987, power family).
    """
    if spending == "even":
        return np.full(len(looks), alpha / len(looks))
    return np.diff(alpha * (np.array(looks) / looks[-1]) ** 2, prepend=0.0)


def statistics(looks: Sequence[int], paths: int = PATHS) -> Iterator[np.ndarray]:
    """Yield the t statistic of each look on the same made-up seeds without any effect, (paths,) a look."""
    rng = np.random.default_rng(20)
    total, squares, before = np.zeros(paths), np.zeros(paths), 0
    for seeds in looks:
        new = seeds - before
        added = rng.standard_normal(paths) * sqrt(new)
        total += added
        squares += added**2 / new
        if new > 1:
            squares += rng.chisquare(new - 1, paths)
        yield total / np.sqrt(seeds * (squares - total**2 / seeds) / (seeds - 1))
        before = seeds


@lru_cache(maxsize=32)
def levels(looks: tuple[int, ...], spending: str = "even", alpha: float = ALPHA) -> tuple[float, ...]:
    """Return each look's nominal level: what its own t interval may miss, so that all looks miss `alpha`."""
    from scipy.special import stdtr

    spent = shares(looks, spending, alpha)
    found = [float(spent[0])]
    if len(looks) == 1:
        return tuple(found)
    inside = np.ones(PATHS, dtype=bool)
    for look, t in enumerate(statistics(looks)):
        size = np.abs(t)
        if look:
            still = size[inside]
            out = round(float(spent[look]) * PATHS)
            found.append(2 * float(stdtr(looks[look] - 1, -np.partition(still, -out)[-out])))
        inside &= size <= critical(looks[look], found[look])
    return tuple(found)


def critical(seeds: int, level: float) -> float:
    """Return the t beyond which a look at a nominal level decides; infinite at level 0."""
    from scipy.special import stdtrit

    return -float(stdtrit(seeds - 1, level / 2)) if level else inf


def sequential(
    nominal: Sequence[float] | np.ndarray,
    looks: tuple[int, ...] = LOOKS,
    spending: str = "even",
    sides: int = 2,
) -> Any:
    """Return the p value over all looks taken so far from their nominal ones, (looks taken, ...) -> (...).

    It is the null probability of a smallest p, each in units of its look's level, as small as the smallest seen;
    it is at most 5 % exactly when some look has decided. `sides` is 1 where only a gain counts.
    """
    units = np.array(levels(looks, spending)) / ALPHA
    seen = np.asarray(nominal, dtype=float)
    scale = units[: len(seen)].reshape(-1, *[1] * (seen.ndim - 1))
    with np.errstate(invalid="ignore"):
        smallest = np.nanmin(np.where(np.isnan(seen), inf, seen) / scale, axis=0)
    return calibrated(smallest, looks, spending, sides)


def calibrated(smallest: Any, looks: tuple[int, ...], spending: str = "even", sides: int = 2) -> Any:
    """Return the null probability that the smallest p over all looks, in units of their levels, is so small."""
    null = _smallest(looks, spending, sides)
    few = 400  # below as many paths their number tells little: there p is proportional to the smallest
    counted = np.searchsorted(null, smallest, side="right") / PATHS
    p = np.where(np.asarray(smallest) < null[few - 1], smallest * (few / PATHS / null[few - 1]), counted)
    if sides == 2:  # the levels were made so: what the simulation leaves over goes
        p = np.minimum(p * (ALPHA * PATHS / np.searchsorted(null, ALPHA * (1 + 1e-9), side="right")), 1.0)
    return float(p) if np.ndim(p) == 0 else p


@lru_cache(maxsize=32)
def _smallest(looks: tuple[int, ...], spending: str, sides: int) -> np.ndarray:
    """Return the sorted null distribution of the smallest nominal p, each in units of its look's level."""
    from scipy.special import stdtr

    least = np.full(PATHS, inf)
    for seeds, t, level in zip(looks, statistics(looks), levels(looks, spending), strict=True):
        p = 2 * stdtr(seeds - 1, -np.abs(t)) if sides == 2 else stdtr(seeds - 1, -t)
        np.minimum(least, p / (level / ALPHA), out=least)
    return np.sort(least)


def evidence(t: Any, seeds: int, mixture: float = MIXTURE) -> Any:
    """Return the e-process of a t statistic: how much likelier an effect of normal size makes it than none.

    It reaches 20 with a probability of at most 5 % at any number of looks.
    """
    freedom, spread = seeds - 1, 1 + seeds * mixture
    square = np.asarray(t, dtype=float) ** 2 / freedom
    with np.errstate(over="ignore", invalid="ignore"):
        odds = ((1 + square) / (1 + square / spread)) ** (seeds / 2) / sqrt(spread)
    odds = np.where(np.isinf(square), spread ** ((seeds - 1) / 2), odds)
    return float(odds) if np.ndim(odds) == 0 else odds


def anytime(seeds: int, alpha: float = ALPHA, mixture: float = MIXTURE) -> float:
    """Return the nominal level at which the e-process reaches 1 / alpha; 0 where no t reaches it (below 5 seeds)."""
    from scipy.special import stdtr

    spread = 1 + seeds * mixture
    asked = (sqrt(spread) / alpha) ** (2 / seeds)
    if asked >= spread:
        return 0.0
    square = (asked - 1) / (1 - asked / spread)
    return 2 * float(stdtr(seeds - 1, -sqrt(square * (seeds - 1))))
