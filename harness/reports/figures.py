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
from typing import Any

from harness.numbers import number, printable
from harness.papers.statement import Figure
from harness.reports.plots import COLOURS, INK, PAPER, STANDS, Line, height, legend_columns, mark, plot
from harness.runs.files import write_text
from harness.runs.produced import read_produced
from harness.runs.results import Record, read_curves

BINS = 20  # of a distribution
CURVE_POINTS = 200
LEGEND: Any = {"frameon": False, "handlelength": 2.4}
NO_NUMBERS = "No method has these metrics yet"


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


def distributions(scorecard: Mapping[str, Any], records: Iterable[Record]) -> list[tuple[Figure, list[Line]]]:
    """Return a figure per distribution that runs kept: shares of its values in equal bins, over all seeds."""
    import numpy as np

    folders = {record.result.run_key: record.folder for record in records}
    values: dict[str, dict[int, list[float]]] = {}  # name -> method -> of all its runs
    for place, method in enumerate(scorecard["methods"]):
        for key in method["run_keys"]:
            for name, some in read_produced(folders[key])["distributions"].items() if key in folders else ():
                values.setdefault(name, {}).setdefault(place, []).extend(some)
    found = []
    for name, methods in values.items():
        edges = np.histogram_bin_edges(np.concatenate([*map(np.asarray, methods.values())]), BINS)
        middles = ((edges[1:] + edges[:-1]) / 2).tolist()
        none = [nan] * len(middles)
        drawn = []
        for place, some in methods.items():
            if some:
                shares = (np.histogram(some, edges)[0] / len(some)).tolist()
                label = printable(scorecard["methods"][place]["method"])
                drawn.append(Line(label, place, middles, shares, none, none))
        found.append((Figure(f"{name}, share of all", "line", {}, x=name, y="share"), drawn))
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
        canvas = Canvas(figsize=(5, height(figure, drawn) + 0.25 * titled), layout="constrained")
        handles, labels = plot(canvas, figure, drawn)
        if not drawn:
            canvas.text(0.5, 0.5, NO_NUMBERS, ha="center")
        legend = canvas.legend(
            handles, labels, loc="outside upper left", ncols=legend_columns(labels), **LEGEND
        )
        named = {line.label: mark(line) for line in drawn}
        for handle, words in zip(legend.legend_handles, legend.get_texts(), strict=True):
            for artist in filter(None, (handle, words)):
                artist.set_gid(named.get(words.get_text()))
        if titled:
            legend.set_title(figure.title, FontProperties(size=10, weight="bold"))
            legend.set_alignment("left")
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    alt = describe(figure, drawn)
    return Drawing(figure.title, alt, _on_page(buffer.getvalue(), name, figure.title, alt))


def describe(figure: Figure, drawn: Sequence[Line]) -> str:
    """Say what a figure shows, with its numbers; of a long curve, its ends."""
    kind = {"line": "Lines", "bar": "Bars", "heat map": "Heat maps", "arrows": "Arrows", "scatter": "Dots"}[
        figure.kind
    ]
    said = []
    for line in drawn:
        pairs = [(x, y) for x, y in zip(line.x, line.y, strict=True) if isfinite(y)]
        short = figure.kind == "heat map" or len(pairs) <= 16
        shown = pairs if short else [pairs[0], pairs[-1]]
        points = ", ".join(f"{_where(x)}: {number(y)}" for x, y in shown)
        said.append(f"{line.label}: {points}{', on the front' if line.front else ''}")
    return f"{kind} of {_axes(figure)}. {'; '.join(said) or NO_NUMBERS}."


def _where(x: Any) -> str:
    if isinstance(x, list | tuple):
        return " and ".join(map(_where, x))
    return printable(x) if isinstance(x, str) else number(x)


def _axes(figure: Figure) -> str:
    if figure.kind == "heat map":
        return f"the values by {figure.x} and {figure.y}"
    return (
        f"{figure.y} (y) against {figure.x} (x)" if figure.kind == "scatter" else f"{figure.y} by {figure.x}"
    )


def _on_page(svg: str, name: str, title: str, alt: str) -> str:
    """Return matplotlib's SVG as a page wants it: own ids, the page's fonts and colours, words for a reader."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<style .*?</style>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="method-(\d+)"', r'data-m="\1"', svg)
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


def cost_lines(cost: Mapping[str, Any], card: Mapping[str, Any]) -> list[Line]:
    """Return a dot per method for a scatter of this cost, with the interval of its quality."""
    found = []
    points = {point["method"]: point for point in cost["points"]}
    nan = float("nan")
    for place, method in enumerate(card["methods"]):
        point = points.get(method["method"])
        if point:
            summary = method["metrics"][cost["quality"]]
            low, high = (nan if summary[key] is None else summary[key] for key in ("low", "high"))
            values = [point["cost"], point["quality"]]
            found.append(
                Line(method["method"], place, ["x", "y"], values, [nan, low], [nan, high], point["front"])
            )
    return found
