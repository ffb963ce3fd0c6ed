"""`harness judgments`: hand texts of runs to judges without their methods' names, and read back what they say.

A file of JSON lines goes out, a line a text: `id`, `item`, `asked`, `text`, and a null for each metric to judge. People
or a model write numbers in place of the nulls. Several judges are several lines with one id.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.commands.door.answers import answer
from harness.errors import UsageError, nearest
from harness.papers.plugins import load
from harness.papers.statement import Metric
from harness.runs.produced import add_judgments, judged_items, read_produced
from harness.runs.results import Record
from harness.verdicts.rows import select


def show_judgments(
    words: str, results: Path, out: Path | None, read: Path | None, as_json: bool = False
) -> int:
    """Write what is to be judged to `out`, or read judgments from `read`; return 1 where runs still lack some."""
    if (out is None) == (read is None):
        raise UsageError(
            "it is either written or read back: say --out FILE, to write what is to be judged, or --read FILE"
        )
    records = select(words, results)
    metrics = _judged(records)
    if out is not None:
        count = _write(records, metrics, out)
        if as_json:
            answer("judgments", {"file": str(out), "texts": count, "metrics": list(metrics)})
        else:
            print(f"{count} texts to judge in {out}: write numbers for {', '.join(metrics)}")
        return 0
    assert read is not None
    kept = _keep(records, metrics, _scores(read, metrics), read)
    if as_json:
        answer("judgments", {"file": str(read), "runs": len(records), **kept})
        return 1 if kept["lacking"] else 0
    print(f"{kept['texts']} texts of {len(records)} runs are judged; harness report has them")
    if kept["unknown"]:
        print(f"{kept['unknown']} ids are of no text of these runs and left out")
    for lack in kept["lacking"][:10]:
        name = f"{lack['paper']}/{lack['method']} seed {lack['seed']}"
        print(f"{name} lacks some {lack['metric']}: a run counts when all its texts are judged")
    return 1 if kept["lacking"] else 0


def _judged(records: Sequence[Record]) -> dict[str, Metric]:
    """Return the metrics that judges decide, of the one paper that the runs are of."""
    papers = sorted({record.result.config["paper"] for record in records})
    if len(papers) > 1:
        raise UsageError(f"these are runs of {' and '.join(papers)}: judge one paper at a time")
    paper = load(papers[0]).paper
    assert paper is not None
    found = {name: metric for name, metric in paper.metrics.items() if metric.judged}
    if not found:
        raise UsageError(
            f"{papers[0]} has no metric that judges decide: declare one with Metric(judged=True)"
        )
    return found


def _write(records: Sequence[Record], metrics: Mapping[str, Metric], out: Path) -> int:
    from harness.data.jsonl import write_jsonl

    rows = [
        {**sample, **dict.fromkeys(metrics)}
        for record in records
        for sample in read_produced(record.folder)["samples"]
    ]
    if not rows:
        raise UsageError("these runs kept no text: let evaluate call run.sample, and run them again")
    return write_jsonl(out, sorted(rows, key=lambda row: str(row["id"])))  # an order that tells no method


def _scores(file: Path, metrics: Mapping[str, Metric]) -> dict[str, dict[str, list[float]]]:
    """Return the scores of a file by metric and id. Raises UsageError for a line that is none, with its number."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in metrics}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror}): give the file of the judgments"
        ) from None
    for place, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _row(line)
        if row is None:
            raise UsageError(f'{file}, line {place}: give a JSON object with an "id" and scores')
        unknown = [name for name in row if name not in {*metrics, "id", "item", "asked", "text", "judge"}]
        if unknown:
            raise UsageError(
                f"{file}, line {place}: no metric {unknown[0]!r} is judged, {nearest(unknown[0], metrics)}"
            )
        for name, metric in metrics.items():
            score = row.get(name)
            if score is None:
                continue
            low, high = metric.range or (-math.inf, math.inf)
            if isinstance(score, bool) or not isinstance(score, int | float) or not low <= score <= high:
                between = f" from {low:g} to {high:g}" if metric.range else ""
                raise UsageError(f"{file}, line {place}, {name} is {score!r}: give a number{between}")
            found[name].setdefault(row["id"], []).append(float(score))
    return found


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("id"), str) else None


def _keep(
    records: Sequence[Record],
    metrics: Mapping[str, Metric],
    scores: Mapping[str, Mapping[str, list[float]]],
    file: Path,
) -> dict[str, Any]:
    """Keep scores with their runs; return how many texts they judge, how many ids are of none, and what lacks some."""
    given = {key for by_id in scores.values() for key in by_id}
    known: set[str] = set()
    lacking: list[dict[str, Any]] = []
    for record in records:
        ids = [sample["id"] for sample in read_produced(record.folder)["samples"]]
        known |= set(ids)
        here = {name: {key: by_id[key] for key in ids if key in by_id} for name, by_id in scores.items()}
        if any(here.values()):
            add_judgments(record.folder, {name: some for name, some in here.items() if some})
        for name in metrics if ids else ():
            if name not in judged_items(record.folder):
                config = record.result.config
                of = {"paper": config["paper"], "method": config["name"], "seed": config["seed"]}
                lacking.append({**of, "metric": name})
    if not given & known:
        raise UsageError(f"{file} judges no text of these runs: name the runs it was written for")
    return {"texts": len(given & known), "unknown": len(given - known), "lacking": lacking}
