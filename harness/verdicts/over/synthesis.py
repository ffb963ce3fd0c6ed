"""Random effects over data sets: the mean, its interval with k - 1 degrees of freedom, and the next set's interval.

Of k sets with estimates y and variances v, s² being the variance of the y: between sets there is max(0, s² - mean v)
(Hedges and Olkin's unweighted estimator), so that one set varies by T = max(s², mean v). The mean lies within
t(k - 1) √(T / k), and what the next set would show, measured as well as these, within t(k - 1) √(T + T / k). Where
the sets' errors are alike and s² is no smaller, the first is Hartung's and Knapp's interval (Sidik and Jonkman's).
Why no weights: with errors that three seeds tell, weights 1 / (v + τ²) are noise, and the weighted interval of four
alike sets misses 12 of 100 where 5 were promised; `docs/over.md` has the coverage of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

from harness.errors import HarnessError
from harness.verdicts.stats import LEVEL

SETS = 3  # fewer data sets are not pooled


@dataclass(frozen=True)
class Synthesis:
    """The mean over `sets` data sets with its interval and two-sided p, and the interval of the next set.

    `between` is the standard deviation between sets beyond their own errors, `within` the root mean square of those.
    """

    sets: int
    value: float
    low: float
    high: float
    p: float
    between: float
    within: float
    next_low: float
    next_high: float


def pooled(
    values: Sequence[float], errors: Sequence[float], by: float = 0.0, level: float = LEVEL
) -> Synthesis:
    """Return what estimates of data sets and their standard errors have together; `by` is what p is against.

    Raises HarnessError for fewer than three sets, and for numbers that are not finite.
    """
    from scipy.special import stdtr

    estimates, own = np.asarray(values, dtype=float), np.asarray(errors, dtype=float)
    k = len(estimates)
    if k < SETS:
        raise HarnessError(f"{k} data sets are not pooled: give {SETS} or more")
    if not (np.isfinite(estimates).all() and np.isfinite(own).all()):
        raise HarnessError("a data set's estimate or error is not finite: leave that set out")
    mean, within = float(estimates.mean()), float((own**2).mean())
    one = max(float(estimates.var(ddof=1)), within)  # the variance of one set as it was measured
    error, t = sqrt(one / k), _t(k, level)
    p = 2 * float(stdtr(k - 1, -abs(mean - by) / error)) if error and isfinite(by) else float(mean == by)
    wide = t * sqrt(one + one / k)
    return Synthesis(
        *(k, mean, mean - t * error, mean + t * error, p),
        *(sqrt(one - within), sqrt(within), mean - wide, mean + wide),
    )


def beside(found: Synthesis, error: float, level: float = LEVEL) -> tuple[float, float]:
    """Return where a further set that was measured with this standard error would lie.

    It is the next set's interval, wider by what this set's variance is larger than that of the others.
    """
    own = max(error, found.within) ** 2
    one = found.between**2 + found.within**2
    wide = _t(found.sets, level) * sqrt(found.between**2 + own + one / found.sets)
    return found.value - wide, found.value + wide


def _t(sets: int, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(sets - 1, (1 + level) / 2))
