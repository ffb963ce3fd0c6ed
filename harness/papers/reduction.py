"""Metrics under resampled items: an item drawn k times is an item of weight k.

So a block of resamples is a table of counts, (items, draws), and a mean, a correlation or a rank
correlation under all of them is a few array operations, without sorting any of them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import nan
from typing import Any

import numpy as np

from harness.errors import HarnessError, nearest
from harness.papers.statement import Items, Metric

REDUCTIONS = ("mean", "exp_mean", "spearman", "pearson", "kendall")
BLOCK = 150_000  # counts in a block of draws: what a processor's cache holds

Columns = Mapping[str, np.ndarray]
Total = int | np.ndarray  # items in a draw: as many as there are; of whole groups, (draws,) numbers


def bootstrap(
    metric: Metric, runs: Sequence[Columns], draws: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Return the metric of every run under resampled items, (draws, runs).

    With `groups`, each item's group as a whole number from 0 on, whole groups are drawn. Draw b takes the
    same items from every run, and from any other runs with as many items or groups.
    """
    n = len(next(iter(runs[0].values())))
    units = n if groups is None else int(groups.max()) + 1
    size = max(1, BLOCK // n)
    blocks = []
    for start in range(0, draws, size):
        weights = _weights(units, start, min(size, draws - start))
        total: Total = n  # items in a draw
        if groups is not None:
            weights = weights[groups]
            total = weights.sum(axis=0)
        drawn = [statistic(metric.reduce, columns, weights, total) for columns in runs]
        blocks.append(np.stack(drawn, axis=-1))
    return np.concatenate(blocks)


@lru_cache(maxsize=64)
def _weights(n: int, start: int, draws: int) -> np.ndarray:
    """Return how often each of n items is drawn in the resamples from `start` on, (n, draws)."""
    picks = np.random.default_rng([n, start]).integers(n, size=(draws, n))
    flat = (picks + n * np.arange(draws)[:, None]).ravel()
    return np.bincount(flat, minlength=draws * n).reshape(draws, n).T.astype(float, order="C")


def statistic(
    reduce: str | Callable[..., float], columns: Columns, weights: np.ndarray, total: Total
) -> np.ndarray:
    """Return the statistic under each draw's counts: (items, draws) weights that sum to `total` -> (draws,)."""
    if callable(reduce):
        items = np.arange(len(weights))
        picks = (np.repeat(items, counts) for counts in weights.T.astype(int))
        return np.array([float(reduce({k: v[pick] for k, v in columns.items()})) for pick in picks])
    x, *others = columns.values()
    if reduce in ("mean", "exp_mean"):
        mean = x @ weights / total
        return np.exp(mean) if reduce == "exp_mean" else mean
    y = others[0]
    if reduce == "kendall":
        return _kendall(x, y, weights, total)
    if reduce == "spearman":
        return _correlation(_ranks(x, weights, total), _ranks(y, weights, total), weights)
    x, y = (column - column[0] for column in (x, y))  # so that a constant column is exactly zero
    return _correlation(x[:, None] - x @ weights / total, y[:, None] - y @ weights / total, weights)


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted correlation of centred columns, (items, draws) each; NaN where one is constant."""
    weighted = weights * x
    xy, xx = (np.einsum("nb,nb->b", weighted, other) for other in (y, x))
    yy = np.einsum("nb,nb,nb->b", weights, y, y)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(xy / np.sqrt(xx * yy), -1, 1)


def _ranks(column: np.ndarray, weights: np.ndarray, total: Total) -> np.ndarray:
    """Return each item's rank among the items drawn, (items, draws): ties at their mean, centred on 0."""
    counts, group = _groups(column, weights)
    ranks = np.cumsum(counts, axis=0) - (counts + total) / 2
    return ranks[group]


def _kendall(x: np.ndarray, y: np.ndarray, weights: np.ndarray, total: Total) -> np.ndarray:
    """Return Kendall's tau-b: w'Sw over pairs of items, S = sign(dx) sign(dy), in blocks of items."""
    agreement = np.zeros(weights.shape[1])
    for start in range(0, len(x), 512):
        part = slice(start, start + 512)
        signs = np.sign(x[part, None] - x) * np.sign(y[part, None] - y)  # (512, items)
        agreement += np.einsum("ib,ib->b", weights[part], signs @ weights)

    def untied(column: np.ndarray) -> np.ndarray:
        counts, _ = _groups(column, weights)
        return total**2 - (counts**2).sum(axis=0)

    with np.errstate(invalid="ignore", divide="ignore"):
        return agreement / np.sqrt(untied(x) * untied(y))


def _groups(column: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many items each distinct value has, ascending (values, draws), and each item's value."""
    if not np.isfinite(column).all():
        return np.full((1, weights.shape[1]), nan), np.zeros(len(column), dtype=int)
    values, group = np.unique(column, return_inverse=True)
    order = np.argsort(group, kind="stable")
    counts = weights[order]
    if len(values) < len(column):
        starts = np.flatnonzero(np.diff(group[order], prepend=-1))
        counts = np.add.reduceat(counts, starts, axis=0)
    return counts, group


def check_groups(items: Items) -> None:
    """Raise HarnessError, with one sentence, for groups of items that cannot be used."""
    n = len(items.ids)
    for name in items.fixed:
        if name not in items.groups:
            raise HarnessError(
                f"fixed names {name!r}, which is no group: {nearest(name, list(items.groups))}"
            )
    for name, group in items.groups.items():
        if name in items.columns:
            raise HarnessError(f"the group {name!r} has the name of a column: call one of them otherwise")
        if len(group) != n:
            raise HarnessError(f"the group {name!r} has {len(group)} entries for {n} items: give one each")
        if any(value is None or value != value for value in group):
            raise HarnessError(f"the group {name!r} is NaN or None for some items: name a group for each")
    if items.contiguous and set(items.groups) - set(items.fixed):
        raise HarnessError(
            "items are either contiguous pieces of one text or in groups: leave one of them out"
        )


def by_item(column: Any) -> np.ndarray:
    """Return a column as one number an item, (n,): of several draws an item, (n, draws), their mean.

    Raises HarnessError where items have different numbers of draws.
    """
    try:
        values = np.asarray(column, dtype=float)
    except ValueError as error:
        raise HarnessError(
            "a column of items is no table of numbers: give every item as many draws"
        ) from error
    if values.ndim > 2 or (values.ndim == 2 and not values.shape[1]):
        raise HarnessError(f"a column of items has the shape {values.shape}: give (items,) or (items, draws)")
    return values.mean(axis=1) if values.ndim == 2 else values


def of_draws(column: Any) -> float:
    """Return how much of an item's variance is from its draws, on average; NaN of one number an item."""
    values = np.asarray(column, dtype=float)
    if values.ndim < 2 or values.shape[1] < 2:
        return nan
    return float(values.var(axis=1, ddof=1).mean() / values.shape[1])


def reduce(metric: Metric, columns: Mapping[str, Any]) -> float:
    """Compute a metric from its item columns; the only place where this happens.

    Raises HarnessError for columns of unequal length, no items, or too few columns.
    """
    arrays = {name: by_item(column) for name, column in columns.items()}
    lengths = {name: len(column) for name, column in arrays.items()}
    if not lengths or min(lengths.values()) == 0 or len(set(lengths.values())) > 1:
        raise HarnessError(
            f"items need columns of one length and at least one item, got {lengths or 'none'}: return such columns"
        )
    if callable(metric.reduce):
        return float(metric.reduce(arrays))
    if metric.reduce not in REDUCTIONS:
        raise HarnessError(f"unknown reduction {metric.reduce!r}: {nearest(metric.reduce, REDUCTIONS)}")
    if "mean" not in metric.reduce and len(arrays) < 2:
        raise HarnessError(f"{metric.reduce} is of two item columns: give two, not {', '.join(arrays)}")
    n = next(iter(lengths.values()))
    return float(statistic(metric.reduce, arrays, np.ones((n, 1)), n)[0])
