"""Every Eval Ever, schema 0.3: a run is a record, each of its metrics an evaluation, each test item a line beside it.

The folder is laid out as that project's data store, `data/<paper>/paper-harness/<paper>-<method>/<uuid>.json` and
`<uuid>_samples.jsonl`. Their schema has fields for scores and errors; a run's settings, seed and code stand in its
`additional_details`, and columns and groups of items in their `metadata`, so that nothing is lost on the way back
(`samples`). Inputs and answers are not kept by runs, and so are empty.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from math import isfinite, sqrt
from typing import Any

import numpy as np

from harness.exchange.formats.naming import DEVELOPER, hub_set, metrics_of, model_of, moment, slug, uuid_of
from harness.papers.reduction import by_item
from harness.papers.statement import Items, Metric, Paper
from harness.runs.files import as_text, canonical
from harness.runs.results import Record
from harness.verdicts.looks import setting_of
from harness.verdicts.rows import label_of

SCHEMA = "0.3.0"
COLUMN, GROUP = "column:", "group:"  # in an item's metadata


def exported(name: str, paper: Paper, records: Sequence[Record]) -> dict[str, str]:
    """Return the files of a paper's finished runs, by their place in the data store; the same at every export."""
    found: dict[str, str] = {}
    for record in records:
        if record.result.status != "finished":
            continue
        log, rows = _run(name, paper, record)
        if not log["evaluation_results"]:
            continue
        identity = uuid_of(record.result.run_key)
        folder = f"data/{slug(name)}/{log['model_info']['id']}"
        if rows:
            lines = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
            place = f"{folder}/{identity}_samples.jsonl"
            log["detailed_evaluation_results"] = {
                "format": "jsonl",
                "file_path": place,
                "hash_algorithm": "sha256",
                "checksum": hashlib.sha256(lines.encode()).hexdigest(),
                "total_rows": len(rows),
                "additional_details": {"kept": "outcomes of test items; their inputs and answers are not"},
            }
            found[place] = lines
        found[f"{folder}/{identity}.json"] = as_text(log)
    return found


def _run(name: str, paper: Paper, record: Record) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a run's record and the lines of its items."""
    result, ended = record.result, moment(record)
    config, model = result.config, f"{DEVELOPER}/{model_of(result.config)}"
    identity = f"{name}/{model}/{int(ended.timestamp())}-{result.run_key[:16]}"
    items, metrics = record.items, metrics_of(paper, config)
    results, rows = [], []
    for metric, stated in metrics.items():
        value = result.numbers.get(metric)
        if value is None or not isfinite(value):
            continue
        kept = items.get(metric)
        results.append(_evaluation(name, metric, stated, value, kept, record))
        if kept is not None and _finite(kept):
            called = results[-1]["evaluation_name"]
            rows += [
                {
                    "schema_version": SCHEMA,
                    "evaluation_id": identity,
                    "model_id": model,
                    "evaluation_name": called,
                    "evaluation_result_id": metric,
                    **line,
                }
                for line in _lines(kept, stated)
            ]
    return {
        "schema_version": SCHEMA,
        "evaluation_id": identity,
        "evaluation_timestamp": ended.isoformat(),
        "retrieved_timestamp": str(int(ended.timestamp())),
        "source_metadata": {
            "source_name": "paper-harness",
            "source_type": "evaluation_run",
            "source_organization_name": "not stated",
            "evaluator_relationship": "first_party",
            "additional_details": {"paper": paper.title, "url": paper.url},
        },
        "eval_library": {
            "name": "paper-harness",
            "version": version("paper-harness"),
            "additional_details": {
                "environment": canonical(result.environment),
                "code": canonical(result.code),
            },
        },
        "model_info": {
            "name": f"{name}/{label_of(config)}",
            "id": model,
            "developer": DEVELOPER,
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "seed": str(config["seed"]),
                "run_key": result.run_key,
                "config": canonical(config),
            },
        },
        "evaluation_results": results,
    }, rows


def _evaluation(
    name: str, metric: str, stated: Metric, value: float, kept: Items | None, record: Record
) -> dict[str, Any]:
    low, high = stated.range or (float("-inf"), float("inf"))
    config = record.result.config
    details: dict[str, Any] = {"score": value}
    if kept is not None and (uncertainty := _uncertainty(kept, stated)):
        details["uncertainty"] = uncertainty
    about = {"reduce": stated.reduce if isinstance(stated.reduce, str) else "a function of the paper's own"}
    if kept is not None:
        about |= {"contiguous": json.dumps(kept.contiguous), "fixed": json.dumps(list(kept.fixed))}
    return {
        "evaluation_result_id": metric,
        "evaluation_name": f"{name}.{metric}.{setting_of(config)[:8]}",
        "source_data": _source(record),
        "metric_config": {
            "evaluation_description": stated.text,
            "metric_id": f"{name}.{metric}",
            "metric_name": metric,
            **({"metric_unit": stated.unit} if stated.unit else {}),
            "lower_is_better": stated.better == "lower",
            "score_type": "continuous",
            "min_score": _end(low),
            "max_score": _end(high),
            "additional_details": about,
        },
        "score_details": details,
    }


def _end(bound: float) -> float | str:
    """Return a bound as their schema says it: a word where there is none."""
    return bound if isfinite(bound) else "Infinity" if bound > 0 else "-Infinity"


def _uncertainty(kept: Items, stated: Metric) -> dict[str, Any]:
    """Return the error of a mean over items that are independent; nothing of any other metric."""
    columns = list(kept.columns.values())
    if stated.reduce != "mean" or len(columns) != 1 or kept.groups or kept.contiguous or not _finite(kept):
        return {}
    values = by_item(columns[0])
    if len(values) < 2:
        return {"num_samples": len(values)}
    spread = float(np.std(values, ddof=1))
    return {
        "standard_error": {"value": spread / sqrt(len(values)), "method": "analytic"},
        "standard_deviation": spread,
        "num_samples": len(values),
    }


def _finite(kept: Items) -> bool:
    return all(np.isfinite(np.asarray(column, dtype=float)).all() for column in kept.columns.values())


def _source(record: Record) -> dict[str, Any]:
    """Return what a run read: a data set of the hub where that is all, else its sources by their names."""
    read = {name: str(found.get("name", "")) for name, found in record.result.data.items() if name != "model"}
    read = {name: source for name, source in read.items() if source}
    about = {
        "additional_details": {
            "sources": canonical(read),
            "digests": canonical({n: str(f.get("digest", "")) for n, f in record.result.data.items()}),
        }
    }
    on_hub = hub_set(next(iter(read.values()))) if len(read) == 1 else None
    if on_hub:
        return {"dataset_name": on_hub.id, "source_type": "hf_dataset", "hf_repo": on_hub.id, **about}
    return {"dataset_name": ", ".join(read.values()) or "none", "source_type": "other", **about}


def _lines(kept: Items, stated: Metric) -> Iterable[dict[str, Any]]:
    """Yield an item a line: its score, and all its columns and groups as text."""
    columns = {name: np.asarray(column, dtype=float) for name, column in kept.columns.items()}
    score = by_item(next(iter(kept.columns.values())))
    right = stated.better == "higher" and set(np.unique(score)) <= {0.0, 1.0}
    for n, sample in enumerate(kept.ids):
        yield {
            "sample_id": str(sample),
            "interaction_type": "single_turn",
            "input": {"raw": "", "reference": []},
            "output": {"raw": []},
            "answer_attribution": [],
            "evaluation": {"score": float(score[n]), "is_correct": bool(right and score[n] == 1)},
            "metadata": {
                **{f"{COLUMN}{name}": json.dumps(column[n].tolist()) for name, column in columns.items()},
                **{f"{GROUP}{name}": str(groups[n]) for name, groups in kept.groups.items()},
            },
        }


# The way back


def samples(log: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> dict[str, Items]:
    """Return the items behind each evaluation of a record, by its `evaluation_result_id`.

    `rows` are the lines beside it; those of another record, or of others' with no columns, have the one column
    `score`. Raises ValueError, KeyError or TypeError for lines that are not of the schema.
    """
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["evaluation_id"] == log["evaluation_id"]:
            lines.setdefault(str(row.get("evaluation_result_id")), []).append(row)
    about = {
        str(one.get("evaluation_result_id")): (one.get("metric_config") or {}).get("additional_details") or {}
        for one in log["evaluation_results"]
    }
    return {called: _items(found, about.get(called, {})) for called, found in lines.items()}


def _items(rows: Sequence[Mapping[str, Any]], about: Mapping[str, str]) -> Items:
    metadata = [row.get("metadata") or {} for row in rows]
    names = [name for name in metadata[0] if name.startswith(COLUMN)]
    columns: dict[str, Any] = {
        name.removeprefix(COLUMN): np.array([json.loads(one[name]) for one in metadata], dtype=float)
        for name in names
    } or {"score": np.array([float(row["evaluation"]["score"]) for row in rows])}
    groups = {
        name.removeprefix(GROUP): [one[name] for one in metadata]
        for name in metadata[0]
        if name.startswith(GROUP)
    }
    fixed = tuple(json.loads(about.get("fixed", "[]")))
    contiguous = bool(json.loads(about.get("contiguous", "false")))
    return Items(columns, [str(row["sample_id"]) for row in rows], groups, fixed, contiguous)
