"""`harness report`: runs, in folders or in a tracking store, become verdicts on the terminal and in files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.commands.door.answers import answer
from harness.errors import UsageError
from harness.reports.html import to_html
from harness.reports.languages import language
from harness.reports.terminal import to_terminal
from harness.reports.text import to_markdown
from harness.runs.files import as_text, write_text
from harness.runs.provenance import stale
from harness.runs.results import Record
from harness.verdicts.looks import Memory
from harness.verdicts.register import NAME, entered
from harness.verdicts.rows import Damage, ended
from harness.verdicts.scorecard import judge
from harness.verdicts.versus import Versus


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
