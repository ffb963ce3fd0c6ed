"""Curves in a terminal: each character is two by four dots, each curve a colour."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from rich.text import Text

from harness.numbers import number
from harness.reports.plots import Line

COLOURS = ("blue", "dark_orange", "green", "magenta", "yellow", "cyan")
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # Unicode braille, by row and column


def plot(title: str, drawn: Sequence[Line], width: int = 64, height: int = 12) -> Text:
    """Return curves over each other, with the ends of both axes; where two meet, the later one's colour."""
    points = [(float(x), y) for line in drawn for x, y in zip(line.x, line.y, strict=True) if isfinite(y)]
    text = Text(title + "  ")
    for i, line in enumerate(drawn):
        text.append(f"{'━━' if i == 0 else ' ━━'} {line.label}", style=COLOURS[i % len(COLOURS)])
    if not points:
        return text
    (left, right), (low, high) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    marks = [[0] * width for _ in range(height)]
    owner = [[-1] * width for _ in range(height)]
    for i, line in enumerate(drawn):
        for x, y in _filled(line, left, right, 2 * width):
            column = x
            row = round((high - y) / ((high - low) or 1.0) * (4 * height - 1))
            marks[row // 4][column // 2] |= DOTS[row % 4][column % 2]
            owner[row // 4][column // 2] = i
    names = [number(high) if row == 0 else number(low) if row == height - 1 else "" for row in range(height)]
    margin = max(map(len, names))
    for name, row, owners in zip(names, marks, owner, strict=True):
        text.append(f"\n{name:>{margin}} │")
        for mark, i in zip(row, owners, strict=True):
            text.append(chr(0x2800 + mark), style=COLOURS[i % len(COLOURS)] if i >= 0 else "")
    ends = number(left), number(right)
    return text.append(f"\n{'':>{margin}} └{ends[0]}{ends[1]:─>{width - len(ends[0])}}")


def _filled(line: Line, left: float, right: float, columns: int) -> list[tuple[int, float]]:
    """Return the curve's value in every dot column it spans, straight between its points."""
    known = [(float(x), y) for x, y in zip(line.x, line.y, strict=True) if isfinite(y)]
    wide = (right - left) or 1.0
    found: list[tuple[int, float]] = []
    for place, (x, y) in enumerate(known):
        column = round((x - left) / wide * (columns - 1))
        if place:
            before, level = found[-1]
            steps = column - before
            found += [(before + k, level + (y - level) * k / steps) for k in range(1, steps)]
        found.append((column, y))
    return found
