"""A sweep's own report, from its runs alone: the files and the description that its parent run gets in MLflow."""

from __future__ import annotations

from pathlib import Path

from harness.papers.plugins import load
from harness.reports.html import to_html
from harness.reports.text import to_markdown
from harness.runs.files import write_json, write_text
from harness.runs.journal import read_journal
from harness.runs.provenance import stale
from harness.runs.results import read_record
from harness.verdicts.looks import Memory
from harness.verdicts.register import NAME, entered
from harness.verdicts.scorecard import judge
from harness.verdicts.versus import Versus

DESCRIPTION = 5000  # characters that MLflow keeps of a tag


def summary(journal: Path, paper: str) -> list[Path]:
    """Write the verdicts of a sweep's runs of one paper beside its journal: Markdown, JSON and a page.

    Returns the files, none where no run ended. Smoke runs get no page: they are no evidence.
    """
    plugin = load(paper)
    assert plugin.paper is not None
    folders = dict.fromkeys(line["folder"] for line in read_journal(journal) if line["paper"] == paper)
    records = [record for folder in folders if (record := read_record(Path(folder)))]
    results = journal.parent.parent
    cards = entered(
        judge(paper, plugin.paper, records, stale, Memory(results), Versus(plugin, results)), results / NAME
    )
    if not cards:
        return []
    folder = journal.with_suffix("") / paper
    write_json(folder / "scorecard.json", cards)
    write_text(folder / "summary.md", to_markdown(cards))
    files = [folder / "scorecard.json", folder / "summary.md"]
    if any(card["budget"] != "smoke" for card in cards):
        write_text(folder / "report.html", to_html(cards, records))
        files.append(folder / "report.html")
    return files


def description(files: list[Path]) -> str:
    """Return what MLflow shows on the parent's page: the summary, as far as it goes."""
    text = next((path.read_text(encoding="utf-8") for path in files if path.suffix == ".md"), "")
    return (
        text
        if len(text) <= DESCRIPTION
        else text[: DESCRIPTION - 40].rpartition("\n")[0] + "\n\n(more in summary.md)"
    )
