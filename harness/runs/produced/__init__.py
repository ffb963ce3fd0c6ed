"""What an evaluation produced besides its metrics: texts, named lists of numbers, and what judges say of the texts.

Texts and numbers are written with the run and never again. Judgments come later, from people or models, into a file of
their own beside them; a metric that is `judged` takes its items from there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.papers.statement import Items
from harness.runs.files import digest, tell, write_json
from harness.runs.shapes import Damaged, Judged, Produced, check

PRODUCED, JUDGED = "produced.json", "judgments.json"


def write_produced(
    folder: Path, samples: list[dict[str, str]], distributions: dict[str, list[float]]
) -> None:
    """Write what an evaluation produced besides its metrics, where there is any.

    Each text gets an id, by which judges know it, and which tells nothing of the method.
    """
    if samples or distributions:
        ids = [digest([folder.name, place, sample])[:16] for place, sample in enumerate(samples)]
        told = [{"id": key, **sample} for key, sample in zip(ids, samples, strict=True)]
        write_json(folder / PRODUCED, {"samples": told, "distributions": distributions})


def read_produced(folder: Path) -> Produced:
    """Read what an evaluation produced besides its metrics; nothing where there is none, or what cannot be read."""
    found: Produced | None = _read(folder / PRODUCED, Produced)
    return found or {"samples": [], "distributions": {}}


def add_judgments(folder: Path, scores: Judged) -> None:
    """Keep `scores`, by metric and a text's id, with those that the run has; one given anew replaces the old."""
    known: Judged = _read(folder / JUDGED, Judged) or {}
    metrics = known.keys() | scores.keys()
    write_json(folder / JUDGED, {m: {**known.get(m, {}), **scores.get(m, {})} for m in sorted(metrics)})


def judged_items(folder: Path) -> dict[str, Items]:
    """Return the items of each metric that all texts of a run have been judged by; several scores are draws."""
    found: dict[str, Items] = {}
    known: Judged = _read(folder / JUDGED, Judged) or {}
    samples = read_produced(folder)["samples"] if known else []
    ids = {sample["id"] for sample in samples}
    for metric, scores in known.items():
        if not ids or not ids <= scores.keys():
            continue
        by_item: dict[str, list[float]] = {}
        for sample in samples:
            by_item.setdefault(sample["item"], []).extend(scores[sample["id"]])
        counts = {len(some) for some in by_item.values()}
        several = len(counts) == 1 and counts != {1}
        column: Any = [some if several else sum(some) / len(some) for some in by_item.values()]
        found[metric] = Items({"score": column}, list(by_item))
    return found


def _read(path: Path, kind: Any) -> Any:
    try:
        raw = json.loads(path.read_bytes())
        check(path, raw, kind)
        return raw
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, Damaged) as error:
        tell(f"{path} cannot be read and is left out ({str(error).partition(chr(10))[0][:120]})")
        return None
