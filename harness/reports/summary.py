"""A sweep's own report, from its runs alone: files, description and means that its parent run gets in MLflow."""

from __future__ import annotations

import json
from pathlib import Path

from harness.papers.plugins import load
from harness.reports.html import to_html
from harness.reports.phrases import SIGNS, Card, bound, claimed, ours, setting, stance, tally
from harness.reports.text import escaped, to_markdown
from harness.runs.files import write_json, write_text
from harness.runs.journal import read_journal
from harness.runs.provenance import stale
from harness.runs.results import read_record
from harness.verdicts.looks import Memory
from harness.verdicts.register import NAME, entered
from harness.verdicts.scorecard import judge
from harness.verdicts.versus import Versus

SCORECARD = "scorecard.json"
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
    write_json(folder / SCORECARD, cards)
    write_text(folder / "summary.md", to_markdown(cards))
    files = [folder / SCORECARD, folder / "summary.md"]
    if any(card["budget"] != "smoke" for card in cards):
        write_text(folder / "report.html", to_html(cards, records))
        files.append(folder / "report.html")
    return files


def description(files: list[Path]) -> str:
    """Return what MLflow shows on the parent's page: a line a claim, then the summary as far as it goes."""
    cards = _cards(files)
    places = [f"**{place}/** {escaped(setting(card))}. " for place, card in enumerate(cards, 1)]
    head = "\n".join(
        f"{place if len(cards) > 1 else ''}{_head(card)}" for place, card in zip(places, cards, strict=True)
    )
    rest = next((path.read_text(encoding="utf-8") for path in files if path.suffix == ".md"), "")
    text = f"{head}\n{rest}" if head else rest
    if len(text) <= DESCRIPTION:
        return text
    return text[: DESCRIPTION - 40].rpartition("\n")[0] + "\n\n(more in summary.md)"


def means(files: list[Path]) -> dict[str, float]:
    """Return the means by method of the claims' metrics, as in `alibi/perplexity@8L`.

    With several scorecards, their number stands before each name, in their order.
    """
    cards = _cards(files)
    return {
        f"{f'{place}/' if len(cards) > 1 else ''}{method['method']}/{name}": found["mean"]
        for place, card in enumerate(cards, 1)
        for method in card["methods"]
        for name in claimed(card)
        if (found := method["metrics"].get(name)) and found["mean"] is not None
    }


def _cards(files: list[Path]) -> list[Card]:
    return next((json.loads(path.read_bytes()) for path in files if path.name == SCORECARD), [])


def _head(card: Card) -> str:
    """Return a scorecard's claims, a line each as the terminal says them; of those without runs the count."""
    lines = [
        f"- {SIGNS[claim['verdict']]} {number}. {escaped(claim['text'])}"
        f"{f' ({stance(claim)})' if stance(claim) else ''}: {escaped(ours(claim))}, asked {escaped(bound(claim))}"
        for number, claim in enumerate(card["claims"], 1)
        if claim["verdict"] != "not tested"
    ]
    return "\n".join([escaped(f"{tally(card)}. {card['note']}"), "", *lines, ""])
