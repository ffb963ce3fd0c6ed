"""A comparison for people: tables and curves in the terminal, and one HTML page that opens offline."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from harness import figures
from harness.braille import plot
from harness.compare import compare
from harness.errors import HarnessError, UsageError, nearest
from harness.figures import Line
from harness.paper import Figure
from harness.phrases import effect, number, plus_minus, power, span
from harness.plugins import listed, load
from harness.report_text import plain
from harness.results import Record, write_json, write_text
from harness.select import select

SHOWN = 2  # curves in the terminal; the page has all
CODE = "code."  # digests of modules: counted, since a reader cannot read them
WHO = {"a": "A better", "b": "B better", "open": "not separable"}


def show_compare(
    a: str, b: str, results: Path, uri: str, metrics: Sequence[str], detect: float, as_json: bool
) -> int:
    """Compare two selections of runs: print it, write JSON and one HTML page; 1 if anything was refused."""
    fetched = None
    if uri:
        from harness.tracking import fetch

        fetched = fetch(uri, results / "stages" / "fetched")
    one, other = (select(words, results, fetched) for words in (a, b))
    records = [*one, *other]
    known = [listing.name for listing in listed()]
    papers = {}
    for name in sorted({r.result.config["paper"] for r in records}):
        if name not in known:
            raise UsageError(f"runs of {name!r} cannot be read without its plugin: {nearest(name, known)}")
        plugin = load(name)
        assert plugin.paper is not None
        papers[name] = plugin.paper
    unknown = [m for m in metrics if not any(m in paper.metrics for paper in papers.values())]
    if unknown:
        every = {m for paper in papers.values() for m in paper.metrics}
        raise UsageError(f"no metric is named {unknown[0]!r}: {nearest(unknown[0], every)}")
    found = {"a": a, "b": b, **compare(one, other, papers, metrics, detect)}
    refused = [pair for pair in found["pairs"] if pair["refused"]]
    if len(refused) == len(found["pairs"]):
        pair = refused[0]
        raise HarnessError(f"{_title(pair)} cannot be compared: {pair['refused']}")
    folder = results / "reports"
    write_json(folder / "compare.json", found)
    write_text(folder / "compare.html", to_html(found, records))
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False, default=str))
    else:
        console = Console()
        to_terminal(found, records, console)
        console.print(f"page: {(folder / 'compare.html').as_uri()}", soft_wrap=True, highlight=False)
    if refused:
        print(f"harness: {len(refused)} pairs of methods were refused, with the reason", file=sys.stderr)
    return 1 if refused else 0


def _title(pair: Mapping[str, Any]) -> str:
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
    return WHO[metric["verdict"]] + (", survives Holm" if metric["holm"] else "")


def basis(metric: Mapping[str, Any]) -> str:
    """Return the sentences on effect size and power of a metric's comparison."""
    claim = {**metric, "kind": "difference"}
    return " ".join(f"{sentence}." for sentence in (effect(claim), power(claim)) if sentence)


def to_terminal(found: Mapping[str, Any], records: Sequence[Record], console: Console) -> None:
    """Print each pair: what differs, the paired table, and the curves of a lone pair over each other."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    for pair in found["pairs"]:
        console.print()
        console.print(plain(_title(pair), "bold"))
        seeds = [", ".join(map(str, pair[side]["seeds"])) for side in "ab"]
        console.print(plain(f"seeds of A: {seeds[0]} · seeds of B: {seeds[1]}", "dim"))
        if pair["refused"]:
            console.print(plain(f"refused: {pair['refused']}", "bold red"))
        differ = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for title in ("what differs", "A", "B"):
            differ.add_column(title, overflow="fold")
        for row in settings(pair):
            differ.add_row(*(plain(cell) for cell in row))
        console.print(differ if settings(pair) else plain("no setting differs", "dim"))
        if not pair["metrics"]:
            continue
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for title in ("metric", "A", "B", "A ahead by [95 %]", "verdict"):
            table.add_column(title, overflow="fold", no_wrap=title == "metric")
        for name, metric in pair["metrics"].items():
            arrow = "↑" if metric["better"] == "higher" else "↓"
            table.add_row(
                plain(f"{name} {arrow}"),
                plain(plus_minus(metric["a"])),
                plain(plus_minus(metric["b"])),
                plain(span(metric["difference"], metric["low"], metric["high"])),
                plain(verdict_of(metric), {"a": "bold green", "b": "bold red"}.get(metric["verdict"], "")),
            )
        console.print(table)
        for name, metric in pair["metrics"].items():
            if metric["refused"]:
                console.print(plain(f"{name} is refused: {metric['refused']}", "yellow"))
            if basis(metric) and len(pair["metrics"]) <= 3:
                console.print(plain(f"{name}: {basis(metric)}"))
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

    from harness.report_html import page

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
    words = {
        "number": number,
        "plus_minus": plus_minus,
        "span": span,
        "basis": basis,
        "verdict_of": verdict_of,
    }
    return page("compare.html.jinja", found=found, parts=parts, settings=settings, WHO=WHO, **words)
