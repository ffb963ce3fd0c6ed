"""`harness report`: runs, in folders or in a tracking store, become verdicts on the terminal and in files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.commands.door.answers import answer
from harness.errors import UsageError, nearest
from harness.reports import over
from harness.reports.html import to_html
from harness.reports.languages import language
from harness.reports.terminal import to_terminal
from harness.reports.text import to_markdown
from harness.runs.files import as_text, write_text
from harness.runs.provenance import stale
from harness.runs.results import Record
from harness.verdicts.looks import Memory
from harness.verdicts.over import over_data
from harness.verdicts.register import NAME, entered
from harness.verdicts.rows import Damage, ended
from harness.verdicts.scorecard import judge
from harness.verdicts.versus import Versus

OVER = ("data",)


@dataclass(frozen=True)
class Judged:
    """The scorecards of runs, the runs, the report's page, and 1 where files of runs are damaged."""

    cards: list[dict[str, Any]]
    records: list[Record]
    page: Path
    exit_code: int


def judged(
    papers: Sequence[str], results: Path, uri: str = "", claim: int | None = None, lang: str = "en"
) -> Judged:
    """Judge the runs of `papers` (all by default) and write the report's files; damaged ones are told and left out."""
    damage = Damage()
    cards: list[dict[str, Any]] = []
    every: list[Record] = []
    names: list[str] = []
    files: dict[str, str] = {}
    folder = results / "reports"
    looks = Memory(results)
    for plugin, records in ended(papers, results, uri, damage):
        assert plugin.paper is not None
        found = entered(
            judge(plugin.name, plugin.paper, records, stale, looks, Versus(plugin, results)), results / NAME
        )
        cards += found
        every += records
        names.append(plugin.name)
        files[f"{plugin.name}.json"] = as_text(found)
        files[f"{plugin.name}.md"] = to_markdown(found)
    most = max((len(card["claims"]) for card in cards), default=0)
    if claim is not None and cards and not 1 <= claim <= most:
        raise UsageError(f"{names[0]} has no claim {claim}: give a number from 1 to {most}")
    page = folder / f"{names[0] if len(names) == 1 else 'report'}.html"
    files[page.name] = to_html(cards, every, lang)
    try:
        for name, text in files.items():
            write_text(folder / name, text)
    except OSError as error:  # a full disk, results that may only be read: what is there can still be told
        print(f"harness: {folder} cannot be written ({error.strerror}): only printed", file=sys.stderr)
    looks.write()
    return Judged(cards, every, page, damage.exit_code)


def show_report(
    papers: Sequence[str],
    results: Path,
    uri: str,
    as_json: bool,
    verbose: bool = False,
    claim: int | None = None,
    lang: str = "en",
) -> int:
    """Judge the runs of `papers` (all by default) and write report files beside what is printed.

    `verbose` prints the reasons of every claim, `claim` those of one alone, by its number. `lang` is the language of
    terminal and page. Return 1 where files of runs are damaged: each is told, and all else is judged.
    """
    say = language(lang)
    if claim is not None and len(papers) != 1:
        raise UsageError(f"--claim {claim} needs its paper: harness report PAPER --claim {claim}")
    found = judged(papers, results, uri, claim, lang)
    if as_json:
        answer("report", found.cards)
        return found.exit_code
    page, console = found.page, Console()
    to_terminal(found.cards, console, verbose, claim, say)
    if claim is not None:
        return found.exit_code
    if page.exists():
        console.print(f"report: {page.as_uri()}", soft_wrap=True, highlight=False)
    if not uri:
        console.print(f"MLflow: harness ui --results {results}", soft_wrap=True, highlight=False)
    return found.exit_code


def show_over(
    papers: Sequence[str],
    results: Path,
    uri: str,
    as_json: bool,
    what: str,
    mine: str = "",
    lang: str = "en",
) -> int:
    """Judge the runs of `papers` on each data set, and what the sets show together; as `show_report` otherwise.

    Raises UsageError for anything but data to go over, and for an unknown set of one's own.
    """
    if what not in OVER:
        raise UsageError(f"a report goes over data sets alone, not over {what!r}: {nearest(what, OVER)}")
    say, damage, looks = language(lang), Damage(), Memory(results)
    parts: list[dict[str, Any]] = []
    unknown: list[UsageError] = []
    names = []
    for plugin, records in ended(papers, results, uri, damage):
        assert plugin.paper is not None
        cards = judge(plugin.name, plugin.paper, records, stale, looks, Versus(plugin, results))
        names.append(plugin.name)
        try:
            parts += over_data(plugin.paper, cards, mine)
        except UsageError as error:  # one's own set may be another paper's
            unknown.append(error)
            parts += over_data(plugin.paper, cards)
    if unknown and len(unknown) == len(names):
        raise unknown[0]
    folder = results / "reports"
    name = f"{names[0] if len(names) == 1 else 'report'}-over-data"
    page = folder / f"{name}.html"
    try:
        write_text(folder / f"{name}.json", as_text(parts))
        write_text(folder / f"{name}.md", over.to_markdown(parts))
        write_text(page, over.to_html(parts, lang))
    except OSError as error:
        print(f"harness: {folder} cannot be written ({error.strerror}): only printed", file=sys.stderr)
    looks.write()
    if as_json:
        answer("over", parts)
        return damage.exit_code
    console = Console()
    over.to_terminal(parts, console, say)
    if page.exists():
        console.print(f"report: {page.as_uri()}", soft_wrap=True, highlight=False)
    return damage.exit_code
