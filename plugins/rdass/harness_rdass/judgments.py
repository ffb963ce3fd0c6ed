"""Read summaries that people judged: DialSummEval's file, or a plain table in the same spirit.

DialSummEval has a row per (dialogue, system) with three annotators' scores; system A is the gold summary and so the
reference. A plain table has `document`, `reference`, `summary`, `system` and any of the four dimensions as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from harness.errors import UsageError
from harness_rdass.edits import exchanged
from harness_rdass.metrics import DIMENSIONS, MEAN_OF
from harness_rdass.overlap import normal

Row = dict[str, Any]
GOLD_SYSTEM = "A"


def read_judgments(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return rows of `id`, `document`, `reference`, `summary`, `system` and the dimensions, with `mean`.

    `mean` is that of relevance, consistency and fluency, None where one of them is missing. Raises UsageError
    for a row that lacks something, by its number from 1.
    """
    given = list(rows)
    references = {
        row["id"]: row["summary"] for row in given if "dialogue" in row and row.get("model_id") == GOLD_SYSTEM
    }
    found: list[Row] = []
    for number, row in enumerate(given, 1):
        if "dialogue" not in row:
            found.append(_plain(row, number))
        elif row["model_id"] != GOLD_SYSTEM:
            found.append(_dialogue(row, references, number))
    if len({row["id"] for row in found}) < len(found):
        raise UsageError("two judged summaries have one `id` and one `system`: give each row its own `id`")
    for row in found:
        scores = [row[dimension] for dimension in MEAN_OF]
        row["mean"] = None if None in scores else sum(scores) / len(scores)
    return found


def _dialogue(row: Mapping[str, Any], references: Mapping[str, str], number: int) -> Row:
    if row["id"] not in references:
        raise UsageError(f"row {number} ({row['id']}) has no gold summary (model_id A): add it, or remove it")
    turns = [turn.strip() for turn in str(row["dialogue"]).split("|")]
    judged = row["annotations"]
    scores = {name: sum(float(one[name]) for one in judged) / len(judged) for name in DIMENSIONS}
    texts = {
        "document": "\n".join(turn for turn in turns if turn),
        "reference": references[row["id"]],
        "summary": row["summary"],
    }
    return _row(f"{row['id']}/{row['model_id']}", str(row["model_id"]), texts, scores, number)


def _plain(row: Mapping[str, Any], number: int) -> Row:
    texts = {name: row.get(name) for name in ("document", "reference", "summary")}
    scores = {}
    for name in DIMENSIONS:
        try:
            scores[name] = float(row[name]) if row.get(name) not in (None, "") else None
        except (TypeError, ValueError):
            raise UsageError(f"row {number} has {name}={row[name]!r}, which is no number: fix it") from None
    system = str(row.get("system", ""))
    return _row(f"{row.get('id', number)}/{system}", system, texts, scores, number)


def _row(key: str, system: str, texts: Mapping[str, Any], scores: Mapping[str, Any], number: int) -> Row:
    for name, text in texts.items():
        if not str(text or "").strip():
            raise UsageError(f"row {number} has an empty or no `{name}`: fill it in, or remove the row")
    composed = {name: normal(str(text)) for name, text in texts.items()}
    return {"id": key, "system": system, **composed, **scores}


def speakers_exchanged(rows: Iterable[Row]) -> list[Row]:
    """Return the judged summaries that name two speakers of their dialogue, with the two exchanged.

    Rows of `id`, `system`, `document`, `reference`, `summary` (as it was), `edited`, and `other`: a summary of another
    document, to know how far a score can fall.
    """
    rows = list(rows)
    by_document = list(dict.fromkeys(row["document"] for row in rows))
    reference = {row["document"]: row["reference"] for row in rows}
    following = dict(zip(by_document, [*by_document[1:], *by_document[:1]], strict=True))
    found = []
    for row in rows:
        speakers = dict.fromkeys(re.findall(r"^([^\W\d_][\w ]{0,30}):", row["document"], flags=re.M))
        named = [s for s in speakers if re.search(rf"\b{re.escape(s)}\b", row["summary"], flags=re.I)]
        if len(named) < 2:
            continue
        edited = exchanged(row["summary"], named[0], named[1])
        kept = {name: row[name] for name in ("id", "system", "document", "reference", "summary")}
        found.append({**kept, "edited": edited, "other": reference[following[row["document"]]]})
    return found
