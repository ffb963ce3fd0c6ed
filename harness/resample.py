"""Metrics under resampled items: an item drawn k times is an item of weight k.

So a resample is a row of counts, and a mean, a correlation or a rank correlation of a thousand
resamples is a few array operations, without sorting one of them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import nan

import numpy as np

from harness.paper import Metric

REDUCTIONS = ("mean", "exp_mean", "spearman", "pearson", "kendall")

Columns = Mapping[str, np.ndarray]


def bootstrap(metric: Metric, runs: Sequence[Columns], draws: int) -> np.ndarray:
    """Return the metric of every run under resampled items, (draws, runs).

    Draw b takes the same items from every run, and from any other runs with as many items.
    """
    n = len(next(iter(runs[0].values())))
    rows = max(1, 1_000_000 // n)  # keeps one block of weights at 8 MB
    blocks = []
    for start in range(0, draws, rows):
        weights = _weights(n, start, min(rows, draws - start))
        blocks.append(np.stack([statistic(metric.reduce, columns, weights) for columns in runs], axis=-1))
    return np.concatenate(blocks)


@lru_cache(maxsize=16)
def _weights(n: int, start: int, rows: int) -> np.ndarray:
    """Return how often each of n items is drawn in resamples `start`.., (rows, n)."""
    picks = np.random.default_rng([n, start]).integers(n, size=(rows, n))
    flat = (picks + n * np.arange(rows)[:, None]).ravel()
    return np.bincount(flat, minlength=rows * n).reshape(rows, n).astype(float)


def statistic(reduce: str | Callable[..., float], columns: Columns, weights: np.ndarray) -> np.ndarray:
    """Return the statistic under each row of item counts: (draws, n) weights -> (draws,)."""
    if callable(reduce):
        n = weights.shape[1]
        picks = (np.repeat(np.arange(n), counts) for counts in weights.astype(int))
        return np.array([float(reduce({k: v[pick] for k, v in columns.items()})) for pick in picks])
    x, *others = columns.values()
    if reduce in ("mean", "exp_mean"):
        mean = weights @ x / weights.sum(axis=1)
        return np.exp(mean) if reduce == "exp_mean" else mean
    y = others[0]
    if reduce == "kendall":
        return _kendall(x, y, weights)
    if reduce == "spearman":
        return _pearson(_ranks(x, weights), _ranks(y, weights), weights)
    return _pearson((x - x[0])[None], (y - y[0])[None], weights)  # shifted: a constant column is exactly 0


def _pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted correlation of each row; NaN where a row of x or y is constant."""
    total = weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True) / total
    y = y - (weights * y).sum(axis=1, keepdims=True) / total
    xy, xx, yy = (np.einsum("bn,bn,bn->b", weights, a, b) for a, b in ((x, y), (x, x), (y, y)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(xy / np.sqrt(xx * yy), -1, 1)


def _ranks(column: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return each item's rank among the items drawn, ties at their mean rank, (draws, n)."""
    counts, group = _groups(column, weights)
    return (np.cumsum(counts, axis=1) - (counts - 1) / 2)[:, group]


def _kendall(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return Kendall's tau-b of each row: w'Sw over pairs, S = sign(dx) sign(dy), in blocks of items."""
    agreement = np.zeros(len(weights))
    for start in range(0, len(x), 512):
        part = slice(start, start + 512)
        signs = np.sign(x[part, None] - x) * np.sign(y[part, None] - y)  # (512, n)
        agreement += np.einsum("bi,bi->b", weights[:, part], weights @ signs.T)

    def untied(column: np.ndarray) -> np.ndarray:
        counts, _ = _groups(column, weights)
        return weights.sum(axis=1) ** 2 - (counts**2).sum(axis=1)

    with np.errstate(invalid="ignore", divide="ignore"):
        return agreement / np.sqrt(untied(x) * untied(y))


def _groups(column: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many items each distinct value has, ascending (draws, values), and each item's value."""
    if not np.isfinite(column).all():
        return np.full((len(weights), 1), nan), np.zeros(len(column), dtype=int)
    _, group = np.unique(column, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return np.add.reduceat(weights[:, order], starts, axis=1), group
