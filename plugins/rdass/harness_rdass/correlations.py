"""Williams' test: do two metrics correlate differently with the same people's scores?

Two metrics judged on one set of summaries are dependent: they correlate with each other as well as with the human
scores. Treating the two correlations as independent throws that away. (Williams 1959; Graham and Baldwin 2014.)
"""

from __future__ import annotations

from math import nan, sqrt

import numpy as np
from scipy import stats


def williams(human: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return Williams' t, positive where `first` correlates higher, and its two-sided p; n - 3 degrees.

    NaN, NaN where the two metrics are the same up to scale, or a column is constant.
    """
    n = len(human)
    r12, r13, r23 = (
        _pearson(*pair) for pair in ((human, first), (human, second), (first, second))
    )  # 1: human, 2: first, 3: second
    if n < 4 or not np.isfinite([r12, r13, r23]).all() or 1 - r23 < 1e-12:
        return nan, nan
    k = 1 - r12**2 - r13**2 - r23**2 + 2 * r12 * r13 * r23
    below = 2 * k * (n - 1) / (n - 3) + (r12 + r13) ** 2 / 4 * (1 - r23) ** 3
    t = (r12 - r13) * sqrt((n - 1) * (1 + r23) / below)
    return t, 2 * float(stats.t.sf(abs(t), n - 3))


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return nan
    return float(np.corrcoef(x, y)[0, 1])
