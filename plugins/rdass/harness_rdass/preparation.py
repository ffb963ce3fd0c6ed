"""Read what is given once, build the constructed candidates, and leave tables that every method reads.

A table that could not be made, since its source was not given, is not there: its metrics are then absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.data.jsonl import read_jsonl, write_jsonl
from harness.errors import UsageError
from harness_rdass import sample
from harness_rdass.candidates import Row, candidates, read_article
from harness_rdass.judgments import read_judgments, speakers_exchanged
from harness_rdass.overlap import normal
from harness_rdass.settings import Task, Vectors

LABELS = ("entailment", "neutral", "contradiction")
UNTRAINED = "untrained"  # the encoder built for the sample where model= is empty


def prepare(task: Task, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Leave `judgments`, `speakers`, `candidates`, `sts`, `sts_train`, `nli` and `background` as .jsonl."""
    if not {"judgments", "articles", "sts"} & set(data) and not task.sample:
        raise UsageError(
            "there is nothing to judge summaries on: give data.judgments=<DialSummEval's human_judgment.jsonl>, "
            "data.articles=<a folder like sci-news-sum-kr-50> or data.sts=<scored sentence pairs>"
        )
    for name in ("judgments", "articles"):
        if (
            model is None
            and name in data
            and getattr(task, f"{name}_vectors") is Vectors.model
            and not task.sample
        ):
            raise UsageError(
                f"data.{name} is read by the encoder that model= names, and it names none: "
                f"give one, or set task.{name}_vectors=tfidf"
            )
    own = sample.built(task.swapped_words, task.edit_seed) if task.sample else []
    if "articles" in data:
        articles = [read_article(row, number) for number, row in enumerate(data["articles"].rows(), 1)]
        built = list(candidates(articles, task.swapped_words, task.edit_seed))
    else:
        articles, built = (sample.articles() if own else []), own
    given = data["judgments"].rows() if "judgments" in data else sample.judgments(own)
    judged = read_judgments(given)
    tables = {
        "candidates": built,
        "judgments": judged,
        "speakers": speakers_exchanged(judged),
        "sts": pairs(data["sts"].rows()) if "sts" in data else sample.sts(own),
        "sts_train": pairs(data["sts_train"].rows()) if "sts_train" in data else sample.sts(own),
        "nli": labelled(data["nli"].rows()) if "nli" in data else sample.nli(own),
    }
    for name, rows in tables.items():
        if rows:
            write_jsonl(data_dir / f"{name}.jsonl", rows)
    background = [
        *(row[name] for row in tables["sts_train"] for name in ("sentence1", "sentence2")),
        *(sentence for sentences, _ in articles for sentence in sentences),
    ]
    if not background:
        background = [row[name] for row in judged or tables["sts"] for name in row if name in TEXTS]
    write_jsonl(data_dir / "background.jsonl", [{"text": text} for text in background])
    if task.sample and model is None:
        from harness_rdass.training import build

        build(data_dir / UNTRAINED, background, width=16, layers=1)


TEXTS = ("document", "reference", "sentence1", "sentence2")


def pairs(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return scored sentence pairs; UsageError names a row whose score is no number."""
    found = []
    for number, row in enumerate(rows, 1):
        try:
            score = float(row["score"])
        except (TypeError, ValueError):
            raise UsageError(
                f"pair {number} has score={row['score']!r}, which is no number: fix it"
            ) from None
        found.append({**_sentences(row), "score": score})
    return found


def labelled(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return labelled sentence pairs, the label as 0, 1 or 2 in the order of `LABELS`."""
    found = []
    for number, row in enumerate(rows, 1):
        label = row["gold_label"]
        if label not in LABELS and label not in (0, 1, 2):
            raise UsageError(f"pair {number} has gold_label={label!r}: write {', '.join(LABELS)}, or 0, 1, 2")
        name = LABELS[label] if isinstance(label, int) else label
        found.append({**_sentences(row), "gold_label": name})
    return found


def _sentences(row: Mapping[str, Any]) -> Row:
    return {name: normal(str(row[name])) for name in ("sentence1", "sentence2")}


def read(path: Path) -> list[Row]:
    """Return the rows of a table that `prepare` left; empty where it was not made."""
    return read_jsonl(path) if path.exists() else []
