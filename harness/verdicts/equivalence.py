"""Whether a difference is too small to be worth having: two one-sided tests, at 5 % each.

Two methods differ by less than `margin` where the 90 % interval lies within it on both sides, and the first
is not worse by more than it where the interval's lower end does. An interval that merely includes zero says
neither: it may be wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from harness.papers.statement import Contrast, Metric
from harness.verdicts.stats import Cell, Interval, estimate

LEVEL = 0.9  # two one-sided tests at 5 % each


def narrower(contrast: Contrast, metrics: Mapping[str, Metric], cells: Sequence[Cell]) -> Interval:
    """Return the contrast's 90 % interval, by the rule that gives its 95 % one."""
    return estimate(contrast, metrics, cells, level=LEVEL)


def band(contrast: Contrast, margin: float) -> tuple[float, float]:
    """Return what counts as no difference: around zero, a ratio of 1, or the bound of a level or share."""
    if contrast.kind == "ratio":
        return 1 / (1 + margin), 1 + margin
    middle = 0.0 if contrast.kind == "difference" else contrast.by
    return middle - margin, middle + margin


def within(interval: Interval, limits: tuple[float, float]) -> bool:
    """Say whether an interval lies between two limits; never where there is none."""
    return isfinite(interval.low) and limits[0] < interval.low and interval.high < limits[1]
