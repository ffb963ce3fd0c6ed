"""From measured numbers to verdicts: the interval of a contrast, and the rule that decides.

A contrast is a function of a few cells, a cell being one metric of one method. Over seeds it gets the
t interval of its paired per-seed values; over test items a paired bootstrap (whole groups where items hang
together, exact counts where they are right or wrong); with both, the squared half-widths add. Why t: a percentile
bootstrap over three seeds calls 27 of 100 equal pairs different where 5 were promised
(tests/verdicts/test_stats_simulation.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf, isfinite, isnan, nan, sqrt

import numpy as np

from harness.papers.statement import Contrast, Metric
from harness.verdicts.ceilings import clopper_pearson, clopper_pearson_p, scale, tango, tango_p
from harness.verdicts.groups import GROUPS
from harness.verdicts.intervals import Draws, Errors, Part, against, fieller, forms
from harness.verdicts.pairs import DRAWS, Cell, Pairs, Resamples, only, pair, paired

__all__ = [
    "Cell",
    "Interval",
    "Resamples",
    "cells_of",
    "equivalent",
    "estimate",
    "holm",
    "seeds_interval",
    "verdict",
]

SEEDS = 3  # fewer paired seeds leave a claim open
ITEMS = 200  # fewer paired items say nothing about the population of items
LEVEL = 0.95
EXIST = 0.9  # of resamples must have the metric
NOWHERE = "the metric does not exist on most resamples of its items"
OVER = " over "  # between two methods, of which the first wins or not
ROUNDING = 1e-12  # of the numbers a contrast is made of: a smaller spread is none


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval at `level`, or the reason why there is none (then `low` is NaN).

    `p` is two-sided, for the true value being the bound `by` that the estimate was made against. `groups` tells
    by factor in how many groups the items hang together, `design` how many times that multiplies the items'
    variance, `scope` what a verdict by seeds alone speaks of ("for these documents"). `seed_error` and
    `item_error` are standard errors of the estimate (of a ratio relative ones), `freedom` the items' degrees of
    freedom. An end is infinite where the denominator of a share or a ratio is not told from zero.
    """

    value: float
    low: float = nan
    high: float = nan
    p: float = nan
    rule: str = ""
    seeds: int = 0
    items: int = 0
    reason: str = ""
    level: float = LEVEL
    groups: Mapping[str, int] = field(default_factory=dict)
    design: float = nan
    drawn: float = nan  # share of the items' variance that is from several draws within them
    scope: str = ""
    seed_error: float = 0.0
    item_error: float = 0.0
    freedom: int = 0
    step: str = ""  # of an order, the step with the lowest end: what decides it
    looks: str = ""  # which of several looks it comes from, in words
    at: tuple[int, ...] = ()  # the seeds of that look


def cells_of(contrast: Contrast) -> list[tuple[str, str]]:
    """Return the (method, metric) pairs a contrast reads, in the order `combine` takes them.

    Wins are read of two methods at once: `a over b`.
    """
    if contrast.kind == "wins":
        return [(OVER.join(contrast.methods), contrast.metric)]
    methods = [m for m in (contrast.method, contrast.than, *contrast.of) if m]
    pairs = [(method, contrast.metric) for method in methods]
    return [*pairs, (contrast.method, contrast.over)] if contrast.over else pairs


def combine(contrast: Contrast, better: str, cells: np.ndarray) -> np.ndarray:
    """Return the contrast of its cells, (cells, ...) -> (...): up is better; a ratio as its logarithm.

    Of an order it is the smallest step.
    """
    parts = np.tensordot(forms(contrast, better), cells, axes=1)
    if contrast.kind == "order":
        return parts.min(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = parts[0] if len(parts) == 1 else parts[0] / parts[1]
        return np.log(whole) if contrast.kind == "ratio" else whole


def seeds_interval(
    differences: Sequence[float] | np.ndarray,
    by: float = 0.0,
    level: float = LEVEL,
    limits: tuple[float, float] | None = None,
) -> Interval:
    """Return the t interval of paired per-seed differences, (seeds,) numbers; three seeds at least.

    With `limits`, what the numbers cannot leave, the interval stays inside.
    """
    per_seed = np.asarray(differences, dtype=float)
    seeds = len(per_seed)
    start = Interval(float(per_seed.mean()) if seeds else nan, rule="seeds", seeds=seeds, level=level)
    if seeds < SEEDS:
        return replace(start, reason=f"{SEEDS} paired seeds are needed and there {_are(seeds)}")
    if not np.isfinite(per_seed).all():
        return replace(start, value=nan, reason="a seed's value is not finite")
    if per_seed.std() <= ROUNDING * np.abs(per_seed).max():
        return replace(start, reason=_alike(seeds))
    part = _over_seeds(per_seed[None])
    spread = Errors(per_seed.mean(keepdims=True), [[part]])
    low, high, p = _number(spread, start.value, by, 1 - level, limits)
    return replace(start, low=low, high=high, p=p, seed_error=sqrt(part[0][0, 0]))


def estimate(
    contrast: Contrast,
    metrics: Mapping[str, Metric],
    cells: Sequence[Cell],
    level: float = LEVEL,
    resamples: Resamples | None = None,
) -> Interval:
    """Return a contrast's interval by the rule its cells allow; `cells` as `cells_of` lists them.

    "exact" of counts that no seed changes, "items" if no seed changes anything, "seeds+items" if 200 items pair
    and what groups they have are ten or more, else "seeds". `resamples` are draws to share with other contrasts
    of the same cells. Raises HarnessError where methods were measured on different items.
    """
    for cell in cells:
        if not cell.values:
            reason = cell.absent or "no finished run measured it"
            return Interval(nan, level=level, reason=f"{cell.method} has no {cell.metric}: {reason}")
    if contrast.kind == "wins":  # a share of the items, as any other
        contrast = replace(contrast, kind="level")
    if contrast.kind == "order":
        return _smallest_step(contrast, metrics, cells, level, resamples or Resamples())
    seeded = [set(cell.values) for cell in cells if not cell.deterministic]
    seeds = sorted(set.intersection(*seeded)) if seeded else [0]
    values = np.array([[cell.at(seed) for seed in seeds] for cell in cells])  # (cells, seeds)
    reason = _unusable(cells, seeds, values)
    if reason:
        return Interval(nan, seeds=len(seeds), level=level, reason=reason)
    per_seed = forms(contrast, metrics[contrast.metric].better) @ values  # (parts, seeds)
    means = per_seed.mean(axis=1)
    value = float(means[0] if len(means) == 1 else means[0] / means[1] if means[1] > 0 else nan)
    start = Interval(value, rule="seeds" if seeded else "items", seeds=len(seeds), level=level)
    exact = all(metrics[cell.metric].exact for cell in cells) and isfinite(value)
    if exact and not per_seed.std(axis=1).any():
        p = float(value == contrast.by)  # a count leaves no doubt
        return replace(start, low=value, high=value, p=p, rule="exact")
    if seeded and len(seeds) < SEEDS:
        return replace(start, reason=f"{SEEDS} paired seeds are needed and there {_are(len(seeds))}")
    weights, _ = against(value if isfinite(value) else contrast.by, len(means))
    tested, _ = against(contrast.by, len(means))
    spread = max(float((w @ per_seed).std()) for w in (weights, tested))
    vary = bool(seeded) and spread > ROUNDING * np.abs(values).max()

    pairs = pair(contrast, metrics, cells, seeds, resamples or Resamples())
    limits = pairs.limits if pairs else metrics[contrast.metric].range
    if pairs and pairs.number >= ITEMS:
        pairs = pairs.hanging_together(weights)
        start = replace(start, groups={name: int(codes.max()) + 1 for name, codes in pairs.factors.items()})
    few = [name for name, count in start.groups.items() if count < GROUPS]
    usable = pairs if pairs and pairs.number >= ITEMS and not few else None
    if vary:
        start = replace(start, scope="for these " + " and ".join(f"{name}s" for name in few) if few else "")
        return _by_seeds(start, contrast, per_seed, weights, limits, usable)
    if usable:
        return _by_items(start, contrast, means, weights, usable)
    if few:
        told = " and ".join(f"{start.groups[name]} {name}s" for name in few)
        return replace(start, reason=f"{told} are too few to speak of others: {GROUPS} are needed")
    needed = f"{ITEMS} paired items are needed and there {_are(pairs.number if pairs else 0)}"
    return replace(start, reason=_alike(len(seeds)) if seeded else needed)


def _smallest_step(
    contrast: Contrast,
    metrics: Mapping[str, Metric],
    cells: Sequence[Cell],
    level: float,
    resamples: Resamples,
) -> Interval:
    """Return the interval of an order's smallest step, on the seeds that all methods share.

    Its lower end is the lowest of the steps' own, its upper end the lowest of theirs at a level corrected for their
    number: whichever step is the smallest, either end errs as seldom as a single step's. So `p` is the largest of
    the steps where all lie above the bound (Berger 1982), and of one below it the least, times their number.
    """
    shared = paired(cells)
    cells = [only(cell, shared) if shared else cell for cell in cells]

    def step(one: Cell, other: Cell, at: float) -> Interval:
        apart = Contrast("difference", contrast.metric, one.method, than=other.method, by=contrast.by)
        return estimate(apart, metrics, [one, other], at, resamples)

    pairs = list(pairwise(cells))
    steps = [step(*both, level) for both in pairs]
    for (one, other), found in zip(pairs, steps, strict=True):
        if isnan(found.low):
            reason = (
                f"the step from {one.method} to {other.method}: {found.reason}" if shared else found.reason
            )
            return replace(found, value=nan, reason=reason)
    high = min(step(*both, 1 - (1 - level) / len(pairs)).high for both in pairs)
    lowest = min(range(len(steps)), key=lambda i: steps[i].low)
    one, other = pairs[lowest]
    below = [found.p for found in steps if found.value < contrast.by]
    return replace(
        steps[lowest],
        value=min(found.value for found in steps),
        low=steps[lowest].low,
        high=high,
        p=min(1.0, len(steps) * min(below)) if below else max(found.p for found in steps),
        step=f"{one.method} over {other.method}",
    )


def _by_seeds(
    start: Interval,
    contrast: Contrast,
    per_seed: np.ndarray,
    weights: np.ndarray,
    limits: tuple[float, float] | None,
    pairs: Pairs | None,
) -> Interval:
    """Judge by seeds that differ, (parts, seeds) values, and by items too where there are enough."""
    means, of_seeds = per_seed.mean(axis=1), _over_seeds(per_seed)
    alone = Errors(means, [[of_seeds]])
    start = replace(start, seed_error=sqrt(alone.variance(weights)) / _unit(contrast, means))
    if pairs is None:
        return _ended(start, contrast, weights, limits, alone)
    items = Errors(means, pairs.ways())
    start = _with_items(replace(start, rule="seeds+items"), contrast, weights, pairs, items)
    both = Errors(means, [[of_seeds, *way] for way in items.ways])
    return start if start.reason else _ended(start, contrast, weights, limits, both)


def _by_items(
    start: Interval, contrast: Contrast, means: np.ndarray, weights: np.ndarray, pairs: Pairs
) -> Interval:
    """Judge by items alone, no seed changing anything: counts, whole groups, or percentiles of the draws."""
    start = replace(start, rule="items", items=pairs.number)
    if pairs.counted:
        return _counted(start, contrast, pairs)
    spread: Errors | Draws
    if pairs.factors:
        spread = Errors(means, pairs.ways())
        start = _with_items(start, contrast, weights, pairs, spread)
    else:
        spread = Draws(pairs.draws(DRAWS))
        start = _with_items(start, contrast, weights, pairs, spread)
        if spread.values.shape[1] < EXIST * DRAWS:
            start = replace(start, value=nan, reason=NOWHERE)
    if not start.reason and start.item_error <= ROUNDING * np.abs(means).max():
        start = replace(start, reason=f"all {pairs.number} items agree: there is no spread to judge by")
    return start if start.reason else _ended(start, contrast, weights, pairs.limits, spread)


def _with_items(
    start: Interval, contrast: Contrast, weights: np.ndarray, pairs: Pairs, items: Errors | Draws
) -> Interval:
    """Return `start` with the items' number, error and design effect, or the reason why they have none."""
    variance = items.variance(weights)
    if isnan(variance):
        return replace(start, value=nan, reason=NOWHERE)
    alone = pairs.independent(weights) if pairs.factors else 0.0
    return replace(
        start,
        items=pairs.number,
        item_error=sqrt(variance) / _unit(contrast, items.means),
        freedom=min(start.groups.values(), default=pairs.number) - 1,
        design=variance / alone if alone else nan,
        drawn=pairs.from_draws(weights),
    )


def _ended(
    start: Interval,
    contrast: Contrast,
    weights: np.ndarray,
    limits: tuple[float, float] | None,
    spread: Errors | Draws,
) -> Interval:
    """Return the interval that a spread gives at `start.level`, inside what `limits` of the metric allow."""
    alpha, by = 1 - start.level, contrast.by
    if len(weights) == 1:
        low, high, p = _number(spread, start.value, by, alpha, limits if contrast.kind == "level" else None)
        if contrast.kind == "difference" and limits:
            width = limits[1] - limits[0]
            low, high = max(low, -width), min(high, width)
    else:
        p = spread.p(*against(by, 2))
        if isnan(start.value):
            return replace(start, p=p, reason=_no_gain(contrast, told=False))
        low, high = fieller(spread, start.value, by, alpha)
        if low == -inf and high == inf:
            start = replace(start, reason=_no_gain(contrast, told=True))
        if contrast.kind == "ratio" and limits and limits[0] >= 0:
            low = max(low, 0.0)
    return replace(start, low=low, high=high, p=p)


def _number(
    spread: Errors | Draws, value: float, by: float, alpha: float, limits: tuple[float, float] | None
) -> tuple[float, float, float]:
    """Return low, high and p of one number; errors of a number with a range add on its logit scale."""
    weights = np.array([1.0])
    low, high = spread.bounds(weights, alpha)
    if limits is None or isinstance(spread, Draws) or not limits[0] < value < limits[1]:
        return low, high, spread.p(weights, by)
    to, back = scale(value, limits)
    return back(low), back(high), spread.p(weights, to(by))


def _counted(start: Interval, contrast: Contrast, pairs: Pairs) -> Interval:
    """Judge answers that are right or wrong by their exact counts, grouped items as the fewer they are worth."""
    alpha = 1 - start.level
    worth, design = pairs.worth(alpha)
    ahead, behind = (share * worth for share in pairs.shares())
    low, high = pairs.limits or (0.0, 1.0)
    width = high - low
    if contrast.kind == "level":
        by, variance = (contrast.by - low) / width, ahead / worth * (1 - ahead / worth)
        ends = clopper_pearson(ahead, worth, alpha)
        p = clopper_pearson_p(ahead, worth, by)
    else:
        low, by = 0.0, contrast.by / width
        variance = (ahead + behind) / worth - ((ahead - behind) / worth) ** 2
        ends = tango(ahead, behind, worth, alpha)
        p = tango_p(ahead, behind, worth, by)
    return replace(
        start,
        low=low + width * ends[0],
        high=low + width * ends[1],
        p=p,
        design=design,
        item_error=width * sqrt(max(0.0, variance) / worth),
        freedom=min(start.groups.values(), default=pairs.number) - 1,
    )


def _over_seeds(per_seed: np.ndarray) -> Part:
    """Return the error of means over seeds; (parts, seeds) values."""
    seeds = per_seed.shape[1]
    return np.atleast_2d(np.cov(per_seed, ddof=1)) / seeds, seeds - 1, 1


def _unit(contrast: Contrast, means: np.ndarray) -> float:
    """Return what turns an error of `numerator - value x denominator` into one of the value, of a ratio's log."""
    if contrast.kind == "ratio":
        return abs(float(means[0])) or nan
    return abs(float(means[1])) or nan if contrast.kind == "share" else 1.0


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count or 'none'}"


def _alike(seeds: int) -> str:
    return f"all {seeds} seeds gave the same value: there is no spread to judge by"


def _no_gain(contrast: Contrast, told: bool) -> str:
    """Say that the denominator is zero or less, or that it is not told from that."""
    if contrast.kind == "share":
        start, full = contrast.of
        does = "is not told to beat" if told else "does not beat"
        return f"{full} {does} {start} on average: there is no gain to take a share of"
    below = contrast.than or f"{contrast.over} of {contrast.method}"
    return f"{below} is not {'told to be ' if told else ''}above zero on average: it cannot divide"


def _unusable(cells: Sequence[Cell], seeds: Sequence[int], values: np.ndarray) -> str:
    """Say in words why no contrast can be made of these values, (cells, seeds); empty if one can."""
    if not seeds:
        known = "; ".join(f"{c.method}: {', '.join(map(str, sorted(c.values)))}" for c in cells)
        return f"the methods have no seed in common ({known})"
    for cell, row in zip(cells, values, strict=True):
        for seed, value in zip(seeds, row, strict=True):
            if not isfinite(value):
                where = cell.method if cell.deterministic else f"{cell.method} with seed {seed}"
                return f"{cell.metric} of {where} is not finite"
    return ""


def verdict(interval: Interval, by: float = 0.0, side: str = "above") -> str:
    """Return "holds" if the interval lies on the claimed side of `by`, "fails" if beyond it, else "open"."""
    if interval.low > by:
        return "holds" if side == "above" else "fails"
    if interval.high < by:
        return "fails" if side == "above" else "holds"
    return "open"


def equivalent(interval: Interval, margin: float, around: float = 0.0) -> bool:
    """Return whether the true value is less than `margin` away from `around`: two one-sided tests at 5 %.

    Give the interval at level .9 (`estimate(..., level=0.9)`): it lies within the margin exactly when both hold.
    """
    return around - margin < interval.low and interval.high < around + margin


def holm(p_values: Sequence[float], alpha: float = 0.05) -> list[bool]:
    """Return which hypotheses survive Holm's correction over those that were tested; NaN was not."""
    marks = [False] * len(p_values)
    tested = sorted((i for i, p in enumerate(p_values) if isfinite(p)), key=lambda i: p_values[i])
    for place, i in enumerate(tested):
        if not p_values[i] <= alpha / (len(tested) - place):
            break
        marks[i] = True
    return marks
