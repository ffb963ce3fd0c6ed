"""Items that hang together: whole groups are what a verdict over items counts.

Items of one document share its luck, so their mean is as uncertain as its groups' means are. With two crossed
factors (documents and systems) the squared half-widths over either are `d` and `s`, over their cells as if
independent `c`: neither alone is enough and both count the cells twice, so `max(d, s, d + s - c)` it is.
Consecutive pieces of one text have no groups of their own: it is cut into stretches so long that one tells
next to nothing of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.errors import HarnessError
from harness.papers.statement import Items
from harness.verdicts.intervals import Part

GROUPS = 10  # fewer groups say nothing about others of their kind

Factors = Mapping[str, np.ndarray]  # the group of each item by factor, (n,) whole numbers from 0 on


def factors_of(items: Items) -> dict[str, np.ndarray]:
    """Return the factors that a claim generalises over. Raises HarnessError for more than two, or one lone group."""
    names = [name for name in items.groups if name not in items.fixed]
    if len(names) > 2:
        raise HarnessError(
            f"items are grouped by {', '.join(names)}: two factors may cross, so fix the others"
        )
    found = {name: _codes(items.groups[name]) for name in names}
    for name, codes in found.items():
        if len(codes) and not codes.any():
            raise HarnessError(
                f"all items are in one group of {name!r}: leave it out, or say contiguous=True of one text's pieces"
            )
    return found


def _codes(group: Sequence[object]) -> np.ndarray:
    names = [str(name) for name in group]
    known = {name: code for code, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names])


def ways(factors: Factors, covariance: Callable[[np.ndarray], np.ndarray]) -> list[list[Part]]:
    """Return the errors of grouped items; `covariance` is that of the form's means over whole groups."""

    def part(codes: np.ndarray, sign: int = 1) -> Part:
        return covariance(codes), int(codes.max()), sign

    parts = [part(codes) for codes in factors.values()]
    if len(parts) == 1:
        return [parts]
    one, other = factors.values()
    cells = np.unique(np.stack([one, other]), axis=1, return_inverse=True)[1].ravel()
    return [[parts[0]], [parts[1]], [*parts, part(cells, -1)]]


def clustered(influence: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the covariance of means over whole groups; (parts, n) deviations of items -> (parts, parts)."""
    n, groups = influence.shape[1], int(codes.max()) + 1
    sums = np.stack([np.bincount(codes, row, groups) for row in influence])
    return sums @ sums.T * groups / (groups - 1) / n**2


def stretches(series: np.ndarray) -> np.ndarray:
    """Return the stretch of each of n consecutive items; singletons where neighbours are not alike.

    Four times as long as the lag at which the autocorrelation is lost in its noise, 2 / sqrt(n).
    """
    n = len(series)
    centred = series - series.mean()
    energy = float(centred @ centred)
    lag = 0
    while energy and lag < n // 2 and centred[lag + 1 :] @ centred[: n - lag - 1] / energy > 2 / np.sqrt(n):
        lag += 1
    length = 4 * lag if lag else 1
    return np.minimum(np.arange(n) // length, max(0, n // length - 1))
