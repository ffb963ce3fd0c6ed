"""`harness compare`: any two sets of runs, paired by seed and item."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.commands.door.answers import answer
from harness.errors import HarnessError, UsageError, nearest
from harness.papers.families import metric_called
from harness.papers.plugins import listed, load
from harness.reports.comparison import title, to_html, to_terminal
from harness.runs.files import write_json, write_text
from harness.runs.results import Record
from harness.verdicts.comparison import compare
from harness.verdicts.looks import Memory
from harness.verdicts.rows import Damage, select


def compared(
    a: str,
    b: str,
    results: Path,
    uri: str,
    metrics: Sequence[str],
    detect: float,
    margin: float,
) -> tuple[dict[str, Any], list[Record], Path]:
    """Compare two selections of runs and write it as JSON and one HTML page; return it, the runs and the page.

    Raises HarnessError where no pair of methods can be compared.
    """
    damage = Damage()
    fetched = None
    if uri:
        from harness.runs.mirror import fetch

        fetched = fetch(uri, results / "stages" / "fetched", damage=damage)
    one, other = (select(words, results, fetched, damage) for words in (a, b))
    records = [*one, *other]
    known = [listing.name for listing in listed()]
    papers = {}
    for name in sorted({r.result.config["paper"] for r in records}):
        if name not in known:
            raise UsageError(f"runs of {name!r} cannot be read without its plugin: {nearest(name, known)}")
        plugin = load(name)
        assert plugin.paper is not None
        papers[name] = plugin.paper
    unknown = [m for m in metrics if not any(metric_called(p.metrics, m) for p in papers.values())]
    if unknown:
        every = {m for paper in papers.values() for m in paper.metrics}
        raise UsageError(f"no metric is named {unknown[0]!r}: {nearest(unknown[0], every)}")
    looks = Memory(results)
    found = {"a": a, "b": b, **compare(one, other, papers, metrics, detect, margin, looks)}
    found["damaged"] = damage.told
    refused = [pair for pair in found["pairs"] if pair["refused"]]
    if len(refused) == len(found["pairs"]):
        pair = refused[0]
        raise HarnessError(f"{title(pair)} cannot be compared: {pair['refused']}")
    folder = results / "reports"
    page = folder / "compare.html"
    try:
        write_json(folder / "compare.json", found)
        write_text(page, to_html(found, records))
    except OSError as error:  # a full disk, results that may only be read: what is there can still be told
        print(f"harness: {folder} cannot be written ({error.strerror}): only printed", file=sys.stderr)
    return found, records, page


def show_compare(
    a: str,
    b: str,
    results: Path,
    uri: str,
    metrics: Sequence[str],
    detect: float,
    margin: float,
    as_json: bool,
) -> int:
    """Compare two selections of runs and print it; return 1 if a pair was refused, or files of runs are damaged."""
    found, records, page = compared(a, b, results, uri, metrics, detect, margin)
    if as_json:
        answer("compare", found)
    else:
        console = Console()
        to_terminal(found, records, console)
        if page.exists():
            console.print(f"page: {page.as_uri()}", soft_wrap=True, highlight=False)
    refused = [pair for pair in found["pairs"] if pair["refused"]]
    if refused:
        print(f"harness: {len(refused)} pairs of methods were refused, with the reason", file=sys.stderr)
    return 1 if refused or found["damaged"] else 0
