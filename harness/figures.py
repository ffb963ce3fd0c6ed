"""Pictures of a scorecard: a paper's declared figures and the training curves, as SVG.

One colour, dash and marker per method, its interval as a band. Text and lines take their colours from
the page (`currentColor`, `--m0` ...), so one drawing is legible in light and dark; a picture on its own
brings the same colours along. Equal scorecards give equal bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.paper import Figure
from harness.report_text import number, printable
from harness.results import Record, read_curves, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
INK, PAPER = "#fe0001", "#fe0002"  # stand-ins while drawing: the page's text and background
STANDS = [f"#fd00{i:02x}" for i in range(len(COLOURS))]  # and for the methods' colours
CURVE_POINTS = 200
LEGEND: Any = {"ncols": 3, "frameon": False, "handlelength": 2.4}
NO_NUMBERS = "No method has these metrics yet"


@dataclass(frozen=True)
class Line:
    """One method's points: `x` numbers or labels, `y` with the interval `low` to `high` (NaN: none).

    `place` is the method's among all of the scorecard, and decides its colour in every picture.
    """

    label: str
    place: int
    x: Sequence[float | str]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Drawing:
    """A finished picture: its title, what it shows in words and numbers, and the SVG itself."""

    title: str
    alt: str
    svg: str


def draw(figure: Figure, scorecard: Mapping[str, Any], path: Path) -> None:
    """Write a declared figure as an SVG file of its own, the same bytes each time."""
    colours = "".join(f"--m{i}:{light};" for i, (light, _) in enumerate(COLOURS))
    on_dark = "".join(f"--m{i}:{dark};" for i, (_, dark) in enumerate(COLOURS))
    style = (
        f"<style>svg{{color:#1f2328;--page:#fff;background:#fff;{colours}}}"
        f"@media(prefers-color-scheme:dark){{svg{{color:#e6e8ea;--page:#15181c;background:#15181c;{on_dark}}}}}</style>"
    )
    svg = drawing(figure, lines(figure, scorecard), "f", titled=True).svg
    write_text(path, re.sub(r"<svg([^>]*>)", rf'<svg width="720"\1{style}', svg, count=1) + "\n")


def lines(figure: Figure, scorecard: Mapping[str, Any]) -> list[Line]:
    """Return one line per method that has any of the figure's metrics."""
    found = []
    for place, method in enumerate(scorecard["methods"]):
        known = {metric: method["metrics"].get(metric) or {} for metric in figure.points}
        y, low, high = ([_number(s.get(key)) for s in known.values()] for key in ("mean", "low", "high"))
        if any(map(isfinite, y)):
            found.append(Line(printable(method["method"]), place, list(figure.points.values()), y, low, high))
    return found


def curves(scorecard: Mapping[str, Any], records: Iterable[Record]) -> list[tuple[Figure, list[Line]]]:
    """Return a figure per logged value: its mean over seeds by step, a line per method."""
    folders = {record.result.run_key: record.folder for record in records}
    values: dict[str, dict[int, dict[float, list[float]]]] = {}  # name -> method -> step -> by seed
    for place, method in enumerate(scorecard["methods"]):
        for key in method["run_keys"]:
            for row in read_curves(folders[key]) if key in folders else []:
                for name, value in row.items():
                    if name != "step" and isinstance(value, int | float) and isfinite(value):
                        by_step = values.setdefault(name, {}).setdefault(place, {})
                        by_step.setdefault(row["step"], []).append(value)
    found = []
    for name, methods in values.items():
        drawn = []
        for place, by_step in methods.items():
            steps = sorted(by_step)
            steps = steps[:: -(-len(steps) // CURVE_POINTS)]
            means = [sum(by_step[step]) / len(by_step[step]) for step in steps]
            none = [nan] * len(steps)
            label = printable(scorecard["methods"][place]["method"])
            drawn.append(Line(label, place, steps, means, none, none))
        if max(len(line.x) for line in drawn) > 1:
            found.append((Figure(f"{name} in training", "line", {}, x="step", y=name), drawn))
    return found


def drawing(figure: Figure, drawn: Sequence[Line], name: str, titled: bool = False) -> Drawing:
    """Draw lines or bars. `name` makes the ids of this SVG its own within a page."""
    import io
    import warnings

    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas
    from matplotlib.font_manager import FontProperties

    look: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "grid.color": INK,
        "grid.alpha": 0.12,
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
    }
    figure = replace(figure, title=printable(figure.title), x=printable(figure.x), y=printable(figure.y))
    with mpl.rc_context(look), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the browser's fonts have it
        legend_rows = -(-len(drawn) // 3)
        canvas = Canvas(figsize=(5, 2.9 + 0.2 * legend_rows + 0.25 * titled), layout="constrained")
        axes = canvas.add_subplot()
        (_bars if figure.kind == "bar" else _lines)(axes, figure, drawn)
        axes.set(xlabel=figure.x, ylabel=figure.y)
        axes.grid(axis="y")
        if not drawn:
            axes.text(0.5, 0.5, NO_NUMBERS, ha="center", transform=axes.transAxes)
        legend = canvas.legend(*axes.get_legend_handles_labels(), loc="outside upper left", **LEGEND)
        if titled:
            legend.set_title(figure.title, FontProperties(size=10, weight="bold"))
            legend.set_alignment("left")
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    alt = describe(figure, drawn)
    return Drawing(figure.title, alt, _on_page(buffer.getvalue(), name, figure.title, alt))


def describe(figure: Figure, drawn: Sequence[Line]) -> str:
    """Say what a figure shows, with its numbers; of a long curve, its ends."""
    kind = "Bars" if figure.kind == "bar" else "Lines"
    said = []
    for line in drawn:
        pairs = [(x, y) for x, y in zip(line.x, line.y, strict=True) if isfinite(y)]
        shown = pairs if len(pairs) <= 16 else [pairs[0], pairs[-1]]
        points = ", ".join(f"{x if isinstance(x, str) else number(x)}: {number(y)}" for x, y in shown)
        said.append(f"{line.label}: {points}")
    return f"{kind} of {figure.y} by {figure.x}. {'; '.join(said) or NO_NUMBERS}."


def _lines(axes: Axes, figure: Figure, drawn: Sequence[Line]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

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
        )
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0)
    plain = FuncFormatter(lambda value, _: number(value))
    if figure.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        if figure.points:
            axes.set_xticks(list(figure.points.values()))
        axes.xaxis.set_major_formatter(plain)
    if figure.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(plain)


def _bars(axes: Axes, figure: Figure, drawn: Sequence[Line]) -> None:
    from matplotlib.ticker import FuncFormatter

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
        )
        known = [(p, *b) for p, *b in zip(places, line.y, line.low, line.high, strict=True) if isfinite(b[1])]
        for place, y, low, high in known:
            axes.errorbar(place, y, [[y - low], [high - y]], color=INK, linewidth=1, capsize=2)
    axes.set_xticks(range(len(figure.points)), [str(label) for label in figure.points.values()])
    if figure.log_y:
        axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _on_page(svg: str, name: str, title: str, alt: str) -> str:
    """Return matplotlib's SVG as a page wants it: own ids, the page's fonts and colours, words for a reader."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<style .*?</style>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'((?:xlink:)?href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: system-ui, sans-serif", svg)
    svg = svg.replace(INK, "currentColor").replace(PAPER, "var(--page)")
    for i, stand in enumerate(STANDS):
        svg = svg.replace(stand, f"var(--m{i})")
    opening = re.match(r"<svg[^>]*>", svg)
    assert opening
    box = re.search(r'viewBox="[^"]*"', opening.group())
    assert box
    words = f"<title id='{name}-title'>{escape(title)}</title><desc id='{name}-alt'>{escape(alt)}</desc>"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box.group()} '
        f'stroke-linejoin="round" role="img" aria-labelledby="{name}-title {name}-alt">{words}'
    )
    return head + svg[opening.end() :].rstrip()


def _number(value: float | None) -> float:
    return nan if value is None else float(value)
