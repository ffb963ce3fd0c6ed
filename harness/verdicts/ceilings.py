"""Intervals of numbers that cannot leave a range: right answers counted, and a scale that ends nowhere.

Near 0 or 1 the usual intervals are wrong: 200 of 200 right have no spread, and 199 of 200 far too little.
Counts get the exact interval of Clopper and Pearson (1934), paired counts Tango's score interval (1998,
Statistics in Medicine 17), counts that nothing pairs Newcombe's, any other level the logit scale around its estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, sqrt

from harness.verdicts.intervals import bisect


def clopper_pearson(right: float, n: float, alpha: float) -> tuple[float, float]:
    """Return the interval of a share of which `right` of n were seen; halves and thirds may count."""
    from scipy.special import betaincinv

    low = float(betaincinv(right, n - right + 1, alpha / 2)) if right > 0 else 0.0
    high = float(betaincinv(right + 1, n - right, 1 - alpha / 2)) if right < n else 1.0
    return low, high


def clopper_pearson_p(right: float, n: float, by: float) -> float:
    """Return the alpha at which that interval would end at `by`."""
    from scipy.special import betainc

    by = min(1.0, max(0.0, by))
    above = float(betainc(right, n - right + 1, by)) if right > 0 else 1.0  # chance of as many or more
    below = 1 - float(betainc(right + 1, n - right, by)) if right < n else 1.0
    return min(1.0, 2 * min(above, below))


def tango(ahead: float, behind: float, n: float, alpha: float) -> tuple[float, float]:
    """Return the interval of a difference of paired shares: `ahead` of n pairs for it, `behind` against."""
    from scipy.special import ndtri

    asked, value = -float(ndtri(alpha / 2)), (ahead - behind) / n

    def told(by: float) -> bool:
        return abs(_score(ahead, behind, n, by)) > asked

    low, high = (bisect(told, value, end) if told(end * (1 - 1e-12)) else end for end in (-1.0, 1.0))
    return low, high


def tango_p(ahead: float, behind: float, n: float, by: float) -> float:
    """Return the alpha at which that interval would end at `by`."""
    from scipy.special import ndtr

    by = min(1 - 1e-12, max(1e-12 - 1, by))
    return 2 * float(ndtr(-abs(_score(ahead, behind, n, by))))


def _score(ahead: float, behind: float, n: float, by: float) -> float:
    """Return how many deviations the difference is from `by`, the deviation being that under `by`."""
    linear = -ahead - behind + (2 * n - ahead + behind) * by
    root = sqrt(max(0.0, linear**2 + 8 * n * behind * by * (1 - by)))
    lost = max(
        0.0, (root - linear) / (4 * n)
    )  # the likeliest share of pairs against it, if `by` is the truth
    variance = n * (2 * lost + by * (1 - by))
    return (ahead - behind - n * by) / sqrt(max(variance, 1e-300))


def scale(value: float, limits: tuple[float, float]) -> tuple[Callable[[float], float], ...]:
    """Return the way to the logit scale of a range and back, with slope 1 at `value`."""
    low, high = limits
    slope = (high - low) / ((value - low) * (high - value))
    middle = log((value - low) / (high - value))

    def to(x: float) -> float:
        if not low < x < high:
            return float("inf") if x >= high else -float("inf")
        return value + (log((x - low) / (high - x)) - middle) / slope

    def back(y: float) -> float:
        z = (y - value) * slope + middle
        part = 1 / (1 + exp(-z)) if z > 0 else exp(max(z, -700.0)) / (1 + exp(max(z, -700.0)))
        return low + (high - low) * part

    return to, back


def wilson(right: float, n: float, alpha: float) -> tuple[float, float]:
    """Return the score interval of a share (Wilson 1927): what a difference of two is made of."""
    from scipy.special import ndtri

    z = -float(ndtri(alpha / 2))
    share = right / n
    middle, half = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def newcombe(one: float, other: float, n: float, m: float, alpha: float) -> tuple[float, float]:
    """Return the interval of one/n - other/m where nothing pairs (Newcombe 1998, method 10)."""
    share, less = one / n, other / m
    (low, high), (under, over) = wilson(one, n, alpha), wilson(other, m, alpha)
    value = share - less
    return value - sqrt((share - low) ** 2 + (over - less) ** 2), value + sqrt(
        (high - share) ** 2 + (less - under) ** 2
    )


def newcombe_p(one: float, other: float, n: float, m: float, by: float) -> float:
    """Return the alpha at which that interval would end at `by`."""
    value = one / n - other / m

    def told(logarithm: float) -> bool:
        low, high = newcombe(one, other, n, m, exp(logarithm))
        return low > by or high < by

    least = log(1e-100)
    if value == by:
        return 1.0
    return 1e-100 if told(least) else float(exp(bisect(told, least, 0.0)))
