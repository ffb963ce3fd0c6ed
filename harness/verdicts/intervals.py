"""A contrast as a linear form of its cells, what blurs it, and the bounds that it is not told from.

A difference or a level is one number. A share or a ratio is two, a numerator and a denominator; it is told
from a bound by the one number `numerator - bound x denominator`, so that no seed has to have a positive
denominator of its own, and its interval is every bound it is not told from (Fieller 1954).
Blur is either errors whose squared half-widths add (each with its own t: seeds are few, items are many), or
the contrast under resampled items, whose percentiles count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, log, nan, sqrt

import numpy as np

from harness.papers.statement import Contrast

Part = tuple[np.ndarray, int, int]  # covariance of the form's means (parts, parts), degrees of freedom, sign


def forms(contrast: Contrast, better: str) -> np.ndarray:
    """Return a contrast's (parts, cells) weights: one part, or numerator and denominator; up is better.

    Of an order the parts are its steps.
    """
    sign = 1.0 if better == "higher" else -1.0
    if contrast.kind == "order":
        steps = len(contrast.of)
        return sign * (np.eye(steps, steps + 1) - np.eye(steps, steps + 1, k=1))
    weights = {
        "difference": [[sign, -sign]],
        "level": [[1.0]],
        "wins": [[1.0]],
        "ratio": [[1.0, 0.0], [0.0, 1.0]],
        "share": [[sign, -sign, 0.0], [0.0, -sign, sign]],
    }
    return np.array(weights[contrast.kind])


def against(bound: float, parts: int) -> tuple[np.ndarray, float]:
    """Return weights of the parts and a number, equal exactly when the contrast is the bound."""
    return (np.array([1.0]), bound) if parts == 1 else (np.array([1.0, -bound]), 0.0)


@lru_cache(maxsize=4096)
def quantile(alpha: float, freedom: int) -> float:
    """Return what t exceeds in absolute value with probability alpha."""
    from scipy.special import stdtrit

    return -float(stdtrit(freedom, alpha / 2))


@dataclass(frozen=True)
class Errors:
    """Means with errors: squared half-widths add within a way, and the widest way counts."""

    means: np.ndarray  # (parts,)
    ways: Sequence[Sequence[Part]]

    def half(self, weights: np.ndarray, alpha: float) -> float:
        """Return the half-width of a weighted sum of the means."""
        return sqrt(self._widest(weights, lambda freedom: quantile(alpha, freedom) ** 2))

    def variance(self, weights: np.ndarray) -> float:
        """Return the variance of a weighted sum of the means."""
        return self._widest(weights, lambda _: 1.0)

    def _widest(self, weights: np.ndarray, times: Callable[[int], float]) -> float:
        sums = [
            sum(
                sign * times(freedom) * float(weights @ covariance @ weights)
                for covariance, freedom, sign in way
            )
            for way in self.ways
        ]
        return nan if np.isnan(sums).any() else max(0.0, *sums)

    def bounds(self, weights: np.ndarray, alpha: float) -> tuple[float, float]:
        """Return the interval of a weighted sum of the means."""
        middle, half = float(weights @ self.means), self.half(weights, alpha)
        return middle - half, middle + half

    def ratio(self, alpha: float) -> tuple[float, float]:
        """Return Fieller's interval of the first mean over the second, which is told to be above zero."""
        top, below = self.means
        ends = []
        for way in self.ways:
            squares = sum(sign * quantile(alpha, freedom) ** 2 * c for c, freedom, sign in way)
            (a, b), (_, c) = np.outer(self.means, self.means) - squares
            if b * b >= a * c:  # the roots of a - 2 b r + c r^2
                ends += [(b - sqrt(b * b - a * c)) / c, (b + sqrt(b * b - a * c)) / c]
        return min(ends, default=top / below), max(ends, default=top / below)

    def p(self, weights: np.ndarray, by: float) -> float:
        """Return the alpha at which the interval would end at `by`."""
        from scipy.optimize import brentq
        from scipy.special import stdtr

        distance = abs(float(weights @ self.means) - by)
        if len(self.ways) == 1 and len(self.ways[0]) == 1:
            _, freedom, _ = self.ways[0][0]
            error = sqrt(self.variance(weights))
            return 2 * float(stdtr(freedom, -distance / error)) if error else float(distance == 0)
        least = log(1e-100)
        if self.half(weights, np.exp(least)) <= distance:
            return 1e-100
        return float(np.exp(brentq(lambda a: self.half(weights, np.exp(a)) - distance, least, 0.0)))


@dataclass(frozen=True)
class Draws:
    """The parts under resampled items, (parts, draws)."""

    values: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """The mean of each part over the draws, (parts,)."""
        return self.values.mean(axis=1)

    def variance(self, weights: np.ndarray) -> float:
        """Return the variance of a weighted sum of the parts; NaN where there are no draws."""
        return float((weights @ self.values).var()) if self.values.size else nan

    def bounds(self, weights: np.ndarray, alpha: float) -> tuple[float, float]:
        """Return the percentile interval of a weighted sum of the parts."""
        low, high = np.quantile(weights @ self.values, [alpha / 2, 1 - alpha / 2])
        return float(low), float(high)

    def ratio(self, alpha: float) -> tuple[float, float]:
        """Return the interval of the first part over the second, which is told to be above zero."""
        top, below = self.values
        if (below > 0).all():
            return Draws((top / below)[None]).bounds(np.array([1.0]), alpha)
        value = float(top.mean() / below.mean())

        def told(bound: float) -> int:
            low, high = self.bounds(np.array([1.0, -bound]), alpha)
            return int(low > 0) - int(high < 0)

        ends = []
        for direction in (-1, 1):
            step = direction * max(abs(value), 1e-6)
            while not told(value + step):
                step *= 2
            ends.append(bisect(told, value, value + step))
        return ends[0], ends[1]

    def p(self, weights: np.ndarray, by: float) -> float:
        """Return twice the smaller share of draws beyond `by`; never 0, since more draws might reach it."""
        drawn = weights @ self.values
        tail = min((drawn <= by).sum(), (drawn >= by).sum())
        return min(1.0, 2 * float(tail + 1) / (len(drawn) + 1))


def fieller(spread: Errors | Draws, value: float, by: float, alpha: float) -> tuple[float, float]:
    """Return the bounds that numerator / denominator is not told from, `value` being the estimate.

    Where the denominator is not told from zero there is no end to them on one side; all that is known then is
    on which side of `by` the numerator lies, given that the denominator is positive.
    """

    def told(bound: float) -> int:
        low, high = spread.bounds(np.array([1.0, -bound]), alpha)
        return int(low > 0) - int(high < 0)

    if spread.bounds(np.array([0.0, 1.0]), alpha)[0] > 0:
        return spread.ratio(alpha)
    side = told(by)
    if not side:
        return -inf, inf
    edge = bisect(told, value, by)
    return (edge, inf) if side > 0 else (-inf, edge)


def bisect(told: Callable[[float], int], inside: float, outside: float) -> float:
    """Return where bounds begin to be told from, between one that is not and one that is."""
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if told(middle) else (middle, outside)
    return inside
