"""The items behind a contrast: one order for all its cells, and what they say of its uncertainty.

Runs pair by their seed and items by their id. A resample draws the same items from every run; where items hang
together it draws whole groups. Means need no drawing for that: the deviations of their items add up by group.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import nan

import numpy as np

from harness.errors import HarnessError
from harness.papers.reduction import Columns, bootstrap, by_item, check_groups, of_draws
from harness.papers.statement import Contrast, Items, Metric
from harness.verdicts.groups import GROUPS, Factors, clustered, factors_of, stretches, ways
from harness.verdicts.intervals import Errors, Part, forms, quantile

DRAWS, DRAWS_WITH_SEEDS = 2000, 300  # a percentile needs more resamples than a variance


@dataclass(frozen=True)
class Cell:
    """One metric of one method: its value by seed, and the items behind it, read when needed.

    A deterministic method has one run, which pairs with every seed. `absent` says why the metric
    does not exist for the method.
    """

    method: str
    metric: str
    values: Mapping[int, float | None]
    items: Callable[[], Mapping[int, Items]] = dict
    deterministic: bool = False
    absent: str = ""

    def at(self, seed: int) -> float:
        """Return the value that pairs with this seed; NaN where the run wrote null."""
        value = next(iter(self.values.values())) if self.deterministic else self.values[seed]
        return nan if value is None else float(value)


def paired(cells: Sequence[Cell]) -> tuple[int, ...]:
    """Return the seeds that all cells share; none where no method varies with the seed."""
    seeded = [set(cell.values) for cell in cells if not cell.deterministic]
    return tuple(sorted(set.intersection(*seeded))) if seeded else ()


def only(cell: Cell, seeds: Collection[int]) -> Cell:
    """Return a cell as it was with these seeds alone; a deterministic one as it is."""
    if cell.deterministic:
        return cell
    values = {seed: value for seed, value in cell.values.items() if seed in seeds}
    items = cell.items
    return replace(
        cell, values=values, items=lambda: {seed: found for seed, found in items().items() if seed in seeds}
    )


@dataclass(frozen=True)
class Resamples:
    """Draws that several contrasts of the same cells share, so that each is made once."""

    ids: list[str] = field(default_factory=list)  # the order of the items, set by the first contrast
    tables: dict[tuple[object, ...], np.ndarray] = field(default_factory=dict)

    def of(
        self, cell: Cell, metric: Metric, runs: Mapping[int, Columns], draws: int, codes: np.ndarray | None
    ) -> np.ndarray:
        """Return the metric of a cell's runs under resampled items or whole groups, (draws, runs)."""
        group = b"" if codes is None else codes.tobytes()
        keys = {seed: (cell.method, cell.metric, seed, draws, group) for seed in runs}
        missing = [seed for seed, key in keys.items() if key not in self.tables]
        if missing:
            drawn = bootstrap(metric, [runs[seed] for seed in missing], draws, codes)
            self.tables.update({keys[seed]: one for seed, one in zip(missing, drawn.T, strict=True)})
        return np.stack([self.tables[key] for key in keys.values()], axis=1)


@dataclass(frozen=True)
class Pairs:
    """The items of a contrast's cells, `runs` being the columns of each cell's runs by seed."""

    contrast: Contrast
    metrics: Sequence[Metric]  # of each cell
    cells: Sequence[Cell]
    runs: Sequence[Mapping[int, Columns]]
    factors: Factors
    contiguous: bool
    resamples: Resamples
    noise: Sequence[Sequence[float]] = ()  # of each cell's runs: an item's variance that is from its draws

    @cached_property
    def number(self) -> int:
        """How many items there are."""
        return len(next(iter(next(iter(self.runs[0].values())).values())))

    @cached_property
    def form(self) -> np.ndarray:
        """The contrast's (parts, cells) weights."""
        return forms(self.contrast, self.metrics[0].better)

    @cached_property
    def deviations(self) -> np.ndarray | None:
        """How far each item moves the form's means, (parts, n); None where a metric is no mean."""
        by_cell = []
        for metric, runs in zip(self.metrics, self.runs, strict=True):
            if metric.reduce not in ("mean", "exp_mean"):
                return None
            columns = np.stack([next(iter(columns.values())) for columns in runs.values()])
            means = columns.mean(axis=1, keepdims=True)
            times = np.exp(means) if metric.reduce == "exp_mean" else 1.0
            by_cell.append(((columns - means) * times).mean(axis=0))
        return self.form @ np.stack(by_cell)

    @cached_property
    def limits(self) -> tuple[float, float] | None:
        """What the first cell's metric cannot leave: its declared range, or 0 and 1 of answers right or wrong."""
        return self.metrics[0].range or ((0.0, 1.0) if self.counted else None)

    @cached_property
    def counted(self) -> bool:
        """Whether all items of a level or a difference are at either end of the range: right or wrong."""
        if self.contrast.kind not in ("level", "difference") or self.metrics[0].reduce != "mean":
            return False
        ends = self.metrics[0].range or (0.0, 1.0)
        first = [next(iter(columns.values())) for runs in self.runs for columns in runs.values()]
        return all(bool(np.isin(column, ends).all()) for column in first)

    def hanging_together(self, weights: np.ndarray) -> Pairs:
        """Return these pairs with the groups of one text's pieces: stretches, as long as neighbours are alike."""
        if not self.contiguous:
            return self
        by_part = self.deviations
        if by_part is None:
            first = [np.mean([next(iter(c.values())) for c in runs.values()], axis=0) for runs in self.runs]
            by_part = self.form @ np.stack(first)
        codes = stretches(weights @ by_part)
        return replace(self, factors={"stretch": codes} if codes[-1] + 1 < len(codes) else {})

    def draws(self, number: int, codes: np.ndarray | None = None) -> np.ndarray:
        """Return the form's means under resampled items or groups, (parts, draws); fewer where they do not exist."""
        by_cell = [
            self.resamples.of(cell, metric, runs, number, codes)
            for cell, metric, runs in zip(self.cells, self.metrics, self.runs, strict=True)
        ]
        table = np.stack(np.broadcast_arrays(*by_cell))  # (cells, draws, seeds)
        parts = np.tensordot(self.form, table, axes=1).mean(axis=2)
        return parts[:, np.isfinite(parts).all(axis=0)]  # a correlation of a constant resample does not exist

    def covariance(self, codes: np.ndarray | None = None) -> np.ndarray:
        """Return the covariance of the form's means over items or whole groups; NaN where none exists."""
        if codes is not None and self.deviations is not None:
            return clustered(self.deviations, codes)
        drawn = self.draws(DRAWS_WITH_SEEDS, codes)
        if drawn.shape[1] < 0.9 * DRAWS_WITH_SEEDS:
            return np.full((len(self.form),) * 2, nan)
        lost = 1.0 if codes is None else 1 + 1 / int(codes.max())  # a bootstrap of G groups loses 1 / G
        return np.atleast_2d(np.cov(drawn, ddof=1)) * lost

    def ways(self) -> list[list[Part]]:
        """Return the items' part of the error, by the groups they hang together in."""
        if self.factors:
            return ways(self.factors, self.covariance)
        return [[(self.covariance(), self.number - 1, 1)]]

    def independent(self, weights: np.ndarray) -> float:
        """Return the variance that a weighted sum of the means would have if the items were independent."""
        alone = None if self.deviations is None else np.arange(self.number)
        return float(weights @ self.covariance(alone) @ weights)

    def from_draws(self, weights: np.ndarray) -> float:
        """Return the share of the items' variance that is from draws within them; NaN where items are drawn once."""
        noisy = np.array([np.mean(np.nan_to_num(runs)) / len(runs) for runs in self.noise])
        if self.deviations is None or not noisy.any():
            return nan
        means = np.array([
            np.mean([next(iter(columns.values())).mean() for columns in runs.values()]) for runs in self.runs
        ])  # fmt: skip
        times = [
            np.exp(m) if metric.reduce == "exp_mean" else 1.0
            for m, metric in zip(means, self.metrics, strict=True)
        ]
        whole = float((weights @ self.deviations).var(ddof=1))
        within = float(((weights @ self.form) ** 2 * np.square(times)) @ noisy)
        return min(1.0, within / whole) if whole else nan

    def worth(self, alpha: float) -> tuple[float, float]:
        """Return how many independent items right or wrong answers are worth, and their design effect.

        Where the rarer answer is found in fewer than ten groups nothing tells how alike a group's items are:
        each group then counts once.
        """
        if not self.factors or self.deviations is None:
            return float(self.number), nan
        one, items = np.array([1.0]), Errors(np.zeros(1), self.ways())
        alone = self.independent(one)
        design = items.variance(one) / alone if alone else nan
        _, kind, counts = np.unique(self.deviations[0].round(9), return_inverse=True, return_counts=True)
        rare = kind != counts.argmax()
        if min(len(np.unique(codes[rare])) for codes in self.factors.values()) < GROUPS:
            return float(min(codes.max() + 1 for codes in self.factors.values())), design
        ratio = alone * (quantile(alpha, self.number - 1) / items.half(one, alpha)) ** 2
        return self.number * min(1.0, ratio), design

    def shares(self) -> tuple[float, float]:
        """Return the shares of items that are right (a level), or right in one method alone (a difference)."""
        high = (self.metrics[0].range or (0.0, 1.0))[1]
        right = [
            np.stack([next(iter(columns.values())) == high for columns in runs.values()])
            for runs in self.runs
        ]
        if len(right) == 1:
            return float(right[0].mean()), 0.0
        one, other = np.broadcast_arrays(*right)
        ahead, behind = float((one & ~other).mean()), float((other & ~one).mean())
        return (ahead, behind) if self.metrics[0].better == "higher" else (behind, ahead)


def pair(
    contrast: Contrast,
    metrics: Mapping[str, Metric],
    cells: Sequence[Cell],
    seeds: Sequence[int],
    resamples: Resamples,
) -> Pairs | None:
    """Return each cell's items by seed (one run if deterministic), in the order of the first's ids.

    None where a run has no items, or where two metrics of one method are not measured on the same items.
    Raises HarnessError where two runs of one metric were measured on different items, or grouped otherwise.
    """
    found: list[dict[int, Items]] = []
    for cell in cells:
        by_seed = cell.items()
        wanted = list(by_seed)[:1] if cell.deterministic else seeds
        if not by_seed or not set(wanted) <= set(by_seed):
            return None
        found.append({seed: by_seed[seed] for seed in wanted})
    first = next(iter(found[0].values())).ids
    for cell, runs in zip(cells, found, strict=True):
        if cell.metric != cells[0].metric and set(next(iter(runs.values())).ids) != set(first):
            return None
    if not resamples.ids:
        resamples.ids.extend(first)
    ids = resamples.ids
    orders = [
        {seed: _order(items.ids, ids, f"{cell.metric} of {cell.method}") for seed, items in runs.items()}
        for cell, runs in zip(cells, found, strict=True)
    ]
    columns = [
        {seed: _columns(items, order[seed]) for seed, items in runs.items()}
        for runs, order in zip(found, orders, strict=True)
    ]
    grouped = [
        _groups_of(items, order[seed])
        for runs, order in zip(found, orders, strict=True)
        for seed, items in runs.items()
        if items.groups or items.contiguous  # older runs told none
    ]
    if any(items != grouped[0] for items in grouped):
        raise HarnessError(
            f"{cells[0].metric}: runs put the same items into different groups: run them again"
        )
    return Pairs(
        contrast,
        [metrics[cell.metric] for cell in cells],
        cells,
        columns,
        factors_of(grouped[0]) if grouped else {},
        any(items.contiguous for items in grouped),
        resamples,
        [[of_draws(next(iter(items.columns.values()))) for items in runs.values()] for runs in found],
    )


def _order(own: Sequence[str], ids: Sequence[str], where: str) -> list[int] | None:
    """Return where each of `ids` stands, None where they stand so; HarnessError if they are not the same ids."""
    if list(own) == list(ids):
        return None
    position = {key: i for i, key in enumerate(own)}
    wrong = next((key for key in ids if key not in position), None)
    if wrong is None:
        known = set(ids)
        wrong = next((key for key in own if key not in known), None)
    if wrong is not None or len(own) != len(ids) or len(position) != len(ids):
        differs = f"the first that differs is {wrong!r}" if wrong is not None else "some ids occur twice"
        raise HarnessError(
            f"{where} was measured on other items ({len(own)} against {len(ids)}, {differs}): "
            "compare runs of one task"
        )
    return [position[key] for key in ids]


def _columns(items: Items, order: list[int] | None) -> Columns:
    columns = {name: by_item(column) for name, column in items.columns.items()}
    return columns if order is None else {name: column[order] for name, column in columns.items()}


def _groups_of(items: Items, order: list[int] | None) -> Items:
    """Return the items' groups alone, as names in this order. Raises HarnessError if they cannot be used."""
    check_groups(items)
    groups = {name: [str(g) for g in group] for name, group in items.groups.items()}
    if order is not None:
        groups = {name: [group[i] for i in order] for name, group in groups.items()}
    return Items({}, [], groups, tuple(items.fixed), items.contiguous)
