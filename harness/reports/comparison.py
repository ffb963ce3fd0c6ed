"""A comparison for people: tables and curves in the terminal, and one HTML page that opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from harness.numbers import number, plus_minus, span
from harness.papers.statement import Figure
from harness.reports import figures
from harness.reports.braille import plot
from harness.reports.figures import Line
from harness.reports.phrases import by_seed, effect, power, reached
from harness.reports.terminal import plain
from harness.runs.results import Record

SHOWN = 2  # curves in the terminal; the page has all
CODE = "code."  # digests of modules: counted, since a reader cannot read them
WHO = {"a": "A better", "b": "B better", "open": "not separable"}


def title(pair: Mapping[str, Any]) -> str:
    """Return the names of both sides."""
    a, b = (f"{pair['paper']}/{pair[side]['method']}" for side in "ab")
    return f"A {a} and B {b}"


def curves(pair: Mapping[str, Any], records: Sequence[Record]) -> list[tuple[Figure, list[Line]]]:
    """Return each logged value of both sides over each other."""
    sides = [{"method": f"{s.upper()} {pair[s]['method']}", "run_keys": pair[s]["run_keys"]} for s in "ab"]
    return [
        (figure, lines) for figure, lines in figures.curves({"methods": sides}, records) if len(lines) == 2
    ]


def settings(pair: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows of what differs in settings and machine, with code counted in modules."""
    rows = [(d["key"], d["a"], d["b"]) for d in pair["config"]]
    modules = [row for row in rows if row[0].startswith(CODE) and row[0] != "code.git"]
    shown = [row for row in rows if row not in modules]
    if modules:
        names = ", ".join(row[0].removeprefix(CODE) for row in modules[:4])
        more = f" and {len(modules) - 4} more" if len(modules) > 4 else ""
        shown.append(("code", f"{len(modules)} modules differ", names + more))
    return shown


def verdict_of(metric: Mapping[str, Any]) -> str:
    """Say who is better on a metric, or why nobody is."""
    if metric["refused"]:
        return "refused"
    if metric["low"] is None:
        return metric["reason"] or WHO["open"]
    return _who(metric) + (", survives Holm" if metric["holm"] else "")


def _who(metric: Mapping[str, Any]) -> str:
    equal = metric["equivalence"]
    if metric["verdict"] == "open" and equal and equal["within"]:
        return f"no difference worth {number(equal['margin'])}"
    return WHO[metric["verdict"]]


def basis(metric: Mapping[str, Any], cost: Mapping[str, Any] | None = None) -> str:
    """Return the sentences on margin and cost, effect size, seeds and power of a metric's comparison."""
    claim = {**metric, "kind": "difference"}
    known = (
        (by_seed(claim), reached(claim, "A is ahead with {}, P(better)"))
        if metric["low"] is not None
        else ("", "")
    )
    sentences = (worth(metric, cost), effect(claim), *known, power(claim))
    return " ".join(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in sentences if sentence)


def worth(metric: Mapping[str, Any], cost: Mapping[str, Any] | None) -> str:
    """Say whether A is not worse than B by more than the margin, and at what cost; empty without a margin."""
    equal = metric["equivalence"]
    if not equal:
        return ""
    at = ""
    if cost and cost["b"]:
        kind = {"train": "training", "evaluate": "evaluation"}[cost["cost"]]
        at = f" at {number(100 * cost['a'] / cost['b'])} % of the cost in seconds of {kind}"
    margin = f"{number(equal['margin'])}{' ' + metric['unit'] if metric['unit'] else ''}"
    least = f"90 % interval [{number(equal['low'])}, {number(equal['high'])}]"
    if equal["not_worse"]:
        none = f"there is no difference worth {margin}; " if equal["within"] else ""
        return f"{none}A is not worse by more than {margin},{at or ' the cost is not known'} ({least})"
    return f"that A is not worse by more than {margin} is not shown{',' + at if at else ''} ({least})"


def to_terminal(found: Mapping[str, Any], records: Sequence[Record], console: Console) -> None:
    """Print each pair: what differs, the paired table, and the curves of a lone pair over each other."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    for pair in found["pairs"]:
        console.print()
        console.print(plain(title(pair), "bold"))
        seeds = [", ".join(map(str, pair[side]["seeds"])) for side in "ab"]
        console.print(plain(f"seeds of A: {seeds[0]} · seeds of B: {seeds[1]}", "dim"))
        if pair["refused"]:
            console.print(plain(f"refused: {pair['refused']}", "bold red"))
        differ = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("what differs", "A", "B"):
            differ.add_column(heading, overflow="fold")
        for row in settings(pair):
            differ.add_row(*(plain(cell) for cell in row))
        console.print(differ if settings(pair) else plain("no setting differs", "dim"))
        if not pair["metrics"]:
            continue
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("metric", "A", "B", "A ahead by [95 %]", "verdict"):
            table.add_column(heading, overflow="fold", no_wrap=heading == "metric")
        for name, metric in pair["metrics"].items():
            arrow = "↑" if metric["better"] == "higher" else "↓"
            table.add_row(
                plain(f"{name} {arrow}"),
                plain(plus_minus(metric["a"])),
                plain(plus_minus(metric["b"])),
                plain(span(metric["value"], metric["low"], metric["high"])),
                plain(verdict_of(metric), {"a": "bold green", "b": "bold red"}.get(metric["verdict"], "")),
            )
        console.print(table)
        for name, metric in pair["metrics"].items():
            if metric["refused"]:
                console.print(plain(f"{name} is refused: {metric['refused']}", "yellow"))
            if basis(metric) and len(pair["metrics"]) <= 3:
                console.print(plain(f"{name}: {basis(metric, pair['cost'])}"))
        if len(found["pairs"]) == 1:
            for figure, lines in curves(pair, records)[:SHOWN]:
                console.print(plot(figure.y, lines, width=max(20, min(72, console.width - 14))))
                console.print()
    for side in "ab":
        if found[f"only_{side}"]:
            console.print(plain(f"only in {side.upper()}: {', '.join(found[f'only_{side}'])}", "yellow"))


def to_html(found: Mapping[str, Any], records: Sequence[Record]) -> str:
    """Return the comparison as one HTML page: tables, what differs, and the curves over each other."""
    import markupsafe

    from harness.reports.html import page

    kept = list(records)
    parts = []
    for index, pair in enumerate(found["pairs"]):
        drawn = [figures.drawing(*one, f"p{index}c{i}") for i, one in enumerate(curves(pair, kept))]
        parts.append(
            {
                "id": f"p{index}",
                "pair": pair,
                "curves": [{"title": one.title, "svg": markupsafe.Markup(one.svg)} for one in drawn],
            }
        )
    words: dict[str, Any] = {
        "number": number,
        "plus_minus": plus_minus,
        "span": span,
        "basis": basis,
        "verdict_of": verdict_of,
        "who": _who,
    }
    return page("compare.html.jinja", found=found, parts=parts, settings=settings, WHO=WHO, **words)
