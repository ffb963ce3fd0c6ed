"""How each kind of figure is drawn: a method's points to marks on axes.

A new kind is a function here and a name in `paper.Figure`. Colours are stand-ins that `figures` replaces
by the page's own, so that one drawing is legible in light and dark.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any

from harness.numbers import number, printable
from harness.papers.statement import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Okabe and Ito's colours, told apart by most colour-blind eyes, as (on light, on dark).
COLOURS = (
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#f08a4b"),
    ("#00805f", "#2fc79a"),
    ("#a8517f", "#e59ac4"),
    ("#8a6d00", "#e6c229"),
    ("#4d4dc9", "#a3a3ff"),
    ("#5f6b73", "#aab4bb"),
    ("#b3261e", "#ff8a80"),
)
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
MARKERS = "osD^vPX*"
HATCHES = ("", "///", "...", "xx")
PANELS = 2  # heat maps beside each other
INK, PAPER = "#fe0001", "#fe0002"  # stand-ins while drawing: the page's text and background
STANDS = [f"#fd00{i:02x}" for i in range(len(COLOURS))]  # and for the methods' colours


@dataclass(frozen=True)
class Line:
    """One method's points: `x` numbers, labels or cells, `y` with the interval `low` to `high` (NaN: none).

    `place` is the method's among all of the scorecard, and decides its colour in every picture.
    """

    label: str
    place: int
    x: Sequence[Any]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    front: bool = False  # of a scatter: no other method beats it on both axes
    listed: bool = True  # of a scatter: in the legend and in its own colour


def mark(line: Line) -> str:
    """Return what a method's parts of a drawing are named, so that a page can hide them."""
    return f"method-{line.place}"


def _marked(artists: Iterable[Any], line: Line) -> None:
    for artist in artists:
        artist.set_gid(mark(line))


def height(figure: Figure, drawn: Sequence[Line]) -> float:
    """Return how high a picture of 5 inches' width has to be, legend included."""
    if figure.kind == "heat map":
        _, rows = cells(figure)
        return 0.5 + (0.55 + 0.24 * max(4, len(rows))) * max(1, -(-len(drawn) // PANELS))
    if figure.kind == "arrows":
        return 1.1 + 0.32 * max(2, len(drawn))
    labels = [line.label for line in drawn if line.listed]
    return 2.9 + 0.2 * -(-len(labels) // legend_columns(labels))


def legend_columns(labels: Iterable[str]) -> int:
    """Return how many names stand side by side above a picture of 5 inches' width, none cut off."""
    lengths = list(map(len, labels))
    for columns, letters in ((3, 43), (2, 56)):  # what is left of the width beside the marks
        rows, longer = divmod(len(lengths), columns)  # filled column by column, the first ones one row longer
        ends = [column * rows + min(column, longer) for column in range(columns + 1)]
        if sum(max(lengths[a:b], default=0) for a, b in pairwise(ends)) <= letters:
            return columns
    return 1


def plot(canvas: Canvas, figure: Figure, drawn: Sequence[Line]) -> tuple[list[Any], list[str]]:
    """Draw methods on a canvas; return the legend's marks and their labels."""
    if figure.kind == "heat map":
        _heat_maps(canvas, figure, drawn)
        return [], []
    axes = canvas.add_subplot()
    if figure.kind == "arrows":
        return _arrows(axes, figure, drawn)
    {"line": _lines, "bar": _bars, "scatter": _scatter}[figure.kind](axes, figure, drawn)
    axes.set(xlabel=figure.x, ylabel=figure.y)
    axes.grid(axis="both" if figure.kind == "scatter" else "y")
    return axes.get_legend_handles_labels()


def _lines(axes: Axes, figure: Figure, drawn: Sequence[Line]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    for line in drawn:
        colour, again = STANDS[line.place % len(STANDS)], line.place // len(STANDS)
        few = len(line.x) <= 16
        axes.plot(
            line.x,
            line.y,
            color=colour,
            linewidth=1.5,
            linestyle=DASHES[(again if few else line.place) % len(DASHES)],
            marker=MARKERS[line.place % len(MARKERS)] if few else "",
            markersize=4,
            label=line.label,
            gid=mark(line),
        )
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0, gid=mark(line))
    if figure.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        if figure.points:
            axes.set_xticks(list(figure.points.values()))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    _values(axes.yaxis, figure.log_y)


def _values(axis: Any, log: bool) -> None:
    """Let an axis of values print plain numbers; a logarithmic one at powers of ten, a short one at 2 and 5 too."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if log:
        (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _bars(axes: Axes, figure: Figure, drawn: Sequence[Line]) -> None:
    width = 0.8 / max(1, len(drawn))
    for i, line in enumerate(drawn):
        places = [place - 0.4 + width * (i + 0.5) for place in range(len(line.x))]
        axes.bar(
            places,
            line.y,
            width * 0.9,
            color=STANDS[line.place % len(STANDS)],
            hatch=HATCHES[line.place // len(STANDS) % len(HATCHES)],
            edgecolor=PAPER,
            linewidth=0,
            label=line.label,
            gid=mark(line),
        )
        known = [(p, *b) for p, *b in zip(places, line.y, line.low, line.high, strict=True) if isfinite(b[1])]
        for place, y, low, high in known:
            bar = axes.errorbar(place, y, [[y - low], [high - y]], color=INK, linewidth=1, capsize=2)
            _marked(bar.get_children(), line)
    room = max(8, 64 // max(1, len(figure.points)))  # letters that fit below a group
    names = [textwrap.fill(str(label), room, break_long_words=False) for label in figure.points.values()]
    axes.set_xticks(range(len(names)), names)
    beside = [(len(one) + len(other)) / 2 for one, other in pairwise(names)]
    if "\n" not in "".join(names) and max(beside, default=0) >= 56 / len(names):
        axes.tick_params("x", rotation=25)
    _values(axes.yaxis, figure.log_y)


def _arrows(axes: Axes, figure: Figure, drawn: Sequence[Line]) -> tuple[list[Any], list[str]]:
    """Draw a row a method: its values as marks, the way from each to the next as an arrow."""
    from matplotlib.lines import Line2D

    labels = [str(label) for label in figure.points.values()]
    shapes = [MARKERS[i % len(MARKERS)] for i in range(len(labels))]
    fills = [*[PAPER] * (len(labels) - 1), ""]  # where the last arrow ends is filled
    for row, line in enumerate(drawn):
        colour = STANDS[line.place % len(STANDS)]
        for i, (y, low, high) in enumerate(zip(line.y, line.low, line.high, strict=True)):
            if isfinite(low) and isfinite(high):
                wide: Any = {"color": colour, "alpha": 0.25, "linewidth": 5, "solid_capstyle": "butt"}
                axes.plot([low, high], [row, row], gid=mark(line), **wide)
            face = fills[i] or colour
            axes.plot(
                [y], [row], shapes[i], color=colour, markerfacecolor=face, markersize=5.5, gid=mark(line)
            )
        for start, end in pairwise(line.y):
            if isfinite(start) and isfinite(end):
                look = {"arrowstyle": "-|>", "color": colour, "shrinkA": 3, "shrinkB": 3, "linewidth": 1.2}
                arrow = axes.annotate("", (end, row), (start, row), arrowprops=look)
                _marked([arrow.arrow_patch], line)
    axes.set_yticks(range(len(drawn)), [line.label for line in drawn])
    for label, line in zip(axes.get_yticklabels(), drawn, strict=True):
        _marked([label], line)
    axes.set(xlabel=figure.y, ylim=(max(1, len(drawn)) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    _values(axes.xaxis, figure.log_y)
    marks = [
        Line2D([], [], color=INK, marker=shape, linestyle="", markerfacecolor=fill or INK)
        for shape, fill in zip(shapes, fills, strict=True)
    ]
    return marks, [f"{figure.x} {label}".strip() for label in labels]


def _scatter(axes: Axes, figure: Figure, drawn: Sequence[Line]) -> None:
    """Draw a dot a method where its two values meet, with the interval of each."""
    across, up = (list(figure.points.values()).index(axis) for axis in "xy")
    for line in drawn:
        x, y = line.y[across], line.y[up]
        colour = STANDS[line.place % len(STANDS)] if line.listed else INK
        bars = [[[middle - line.low[i]], [line.high[i] - middle]] for i, middle in ((across, x), (up, y))]
        whisker = axes.errorbar(
            [x],
            [y],
            xerr=bars[0],
            yerr=bars[1],
            color=colour,
            alpha=0.5 if line.listed else 0.2,
            linewidth=1,
            fmt="none",
        )
        _marked(whisker.get_children(), line)
        shape = MARKERS[line.place % len(MARKERS)]
        if line.listed:
            axes.plot([x], [y], shape, color=colour, markersize=6, label=line.label, gid=mark(line))
        else:
            axes.plot([x], [y], ".", color=colour, alpha=0.4, markersize=5, gid=mark(line))
    ahead = sorted((line.y[across], line.y[up]) for line in drawn if line.front)
    if ahead:
        axes.plot(*zip(*ahead, strict=True), color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    _values(axes.xaxis, figure.log_x)
    _values(axes.yaxis, figure.log_y)


def cells(figure: Figure) -> tuple[list[Any], list[Any]]:
    """Return a heat map's columns and rows, in the order in which its points name them."""
    pairs = [tuple(point) for point in figure.points.values()]  # type: ignore[arg-type]
    return list(dict.fromkeys(c for c, _ in pairs)), list(dict.fromkeys(r for _, r in pairs))


def _heat_maps(canvas: Canvas, figure: Figure, drawn: Sequence[Line]) -> None:
    """Draw a panel a method, all on one scale of colours, each cell with its number."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.patches import Rectangle

    columns, rows = cells(figure)
    known = [y for line in drawn for y in line.y if isfinite(y)] or [0.0, 1.0]
    norm = (LogNorm if figure.log_y else Normalize)(
        min(known), max(known) if max(known) > min(known) else None
    )
    colours = colormaps["cividis"]  # dark to light, alike to colour-blind eyes
    across = min(PANELS, max(1, len(drawn)))
    panels = canvas.subplots(
        -(-max(1, len(drawn)) // across), across, squeeze=False, sharex=True, sharey=True
    )
    for axes in panels.flat[len(drawn) :]:
        axes.set_axis_off()
    size = min(8.0, 30 / len(columns))
    show = "{:.2f}".format if 0.1 <= max(map(abs, known)) < 10 else number
    for place, (axes, line) in enumerate(zip(panels.flat, drawn, strict=False)):
        for point, value in zip(line.x, line.y, strict=True):
            x, y = columns.index(point[0]), rows.index(point[1])
            if not isfinite(value):
                axes.text(x, y, "–", ha="center", va="center", fontsize=size)
                continue
            shade = float(norm(value))
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=colours(shade), linewidth=0))
            ink = "#ffffff" if shade < 0.47 else "#000000"
            axes.text(x, y, show(value), ha="center", va="center", color=ink, fontsize=size)
        axes.set_gid(mark(line))
        axes.set_title(line.label, fontsize=9)
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
        axes.set_xticks(range(len(columns)), [_name(c) for c in columns])
        axes.set_yticks(range(len(rows)), [_name(r) for r in rows])
        axes.tick_params(length=0, labelbottom=place + across >= len(drawn))
        axes.spines[:].set_visible(False)
    canvas.supxlabel(figure.x, fontsize=9)
    canvas.supylabel(figure.y, fontsize=9)


def _name(label: float | str) -> str:
    return printable(label) if isinstance(label, str) else number(label)
