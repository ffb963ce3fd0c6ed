"""The plugin's own small sample: eight made-up Korean articles, so that every method runs anywhere.

What people would say of summaries is made up too, from the edits' known order: for smoke runs and tests, never
evidence. The texts were written for this plugin.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.data.jsonl import read_json
from harness_rdass.candidates import Row, candidates, read_article
from harness_rdass.metrics import GOLD

Articles = list[tuple[list[str], list[str]]]


def articles() -> Articles:
    """Return the sample's articles: sentences, and those of the summary."""
    rows = read_json(Path(__file__).parent / "sample.json")
    return [read_article(row, number) for number, row in enumerate(rows, 1)]


def judgments(rows: list[Row]) -> list[dict[str, Any]]:
    """Return made-up judgments of article candidates, as a plain table; the system is the kind of edit."""
    return [
        {
            "id": row["item"],
            "system": "B" if row["kind"] == "lead" else row["kind"],
            **{name: row[name] for name in ("document", "reference", "summary")},
            "relevance": 1 + GOLD.get(row["kind"], 3.0),
            "consistency": 1 + GOLD.get(row["kind"], 4.0) * 0.9,
            "fluency": 3.0 + (len(row["summary"]) % 3) / 2,
            "coherence": 2.0 + (len(row["summary"]) % 5) / 2,
        }
        for row in rows
        if row["level"] == "article" and row["kind"] in (*GOLD, "lead")
    ]


def sts(rows: list[Row]) -> list[dict[str, Any]]:
    """Return sentence pairs scored by the edits' order, 0 to 5."""
    scores = {"exact": 5.0, "para": 4.5, "swap": 2.0, "other": 0.0}
    return [
        {"sentence1": row["reference"], "sentence2": row["summary"], "score": scores[row["kind"]]}
        for row in rows
        if row["level"] == "sentence" and row["kind"] in scores
    ]


def nli(rows: list[Row]) -> list[dict[str, Any]]:
    """Return sentence pairs labelled by the edits' meaning."""
    labels = {"para": "entailment", "negation": "contradiction", "other": "neutral"}
    return [
        {"sentence1": row["reference"], "sentence2": row["summary"], "gold_label": labels[row["kind"]]}
        for row in rows
        if row["level"] == "sentence" and row["kind"] in labels
    ]


def built(swapped_words: float = 0.2, seed: int = 0) -> list[Row]:
    """Return the sample's candidates."""
    return list(candidates(articles(), swapped_words, seed))
