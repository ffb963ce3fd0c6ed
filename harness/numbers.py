"""Numbers as people read them: no digit that is not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import floor, log10
from typing import Any


def printable(text: str) -> str:
    """Return text on one line, without control codes: what came from data may hold any."""
    return "".join(c if c.isprintable() else " " for c in text)


def number(value: float | None) -> str:
    """Return a number to three or four digits; an en dash where there is none."""
    if value is None:
        return "–"
    size = abs(value)
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if size >= unit:
            return f"{value / unit:.3g}{letter}"
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 0.01 or size == 0:
        digits = 3 if size < 10 else 2 if size < 100 else 1
        return f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return f"{value:.2g}"


def span(value: float | None, low: float | None, high: float | None) -> str:
    """Return `value [low, high]` to two digits of the half width, or the value alone; an end may be missing."""
    if value is not None and (low is None) != (high is None):
        return f"{number(value)} [{'-∞' if low is None else number(low)}, {'∞' if high is None else number(high)}]"
    if value is None or low is None or high is None or not high > low:
        return number(value)
    show = _like(low, high)
    return f"{show(value)} [{show(low)}, {show(high)}]"


def plus_minus(summary: Mapping[str, Any] | None) -> str:
    """Return `mean ±half`, the mean alone without an interval, an en dash without a number."""
    mean, low, high = (summary[key] if summary else None for key in ("mean", "low", "high"))
    if mean is None or low is None or high is None or not high > low:
        return number(mean)
    show = _like(low, high)
    return f"{show(mean)} ±{show((high - low) / 2)}"


def _like(low: float, high: float) -> Callable[[float], str]:
    """Return how to print numbers of an interval: to two digits of its half width."""
    digits = 1 - floor(log10((high - low) / 2))
    if max(abs(low), abs(high)) >= 1e6 or digits > 8:
        return number
    return lambda value: f"{value:z,.{max(0, digits)}f}"


def ordinal(n: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, ..."""
    end = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{end}"
