"""Readers of others' results, one a format: files in, `Told` out.

`peft-method-comparison` is PEFT's own comparison of fine-tuning methods (a JSON a run), `every-eval-ever` the
schema of that name (a JSON a model, versions 0.2 and 0.3), `csv` any table with the columns of `COLUMNS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from math import isfinite, nan
from pathlib import Path
from typing import Any

from harness.data.files import data_files
from harness.errors import UsageError, nearest, said
from harness.exchange.formats.every_eval_ever import samples
from harness.exchange.told import Outcome, Told, documents, name, placed, records, tables
from harness.papers.reduction import by_item
from harness.papers.statement import Items, Metric

GSM8K = 1319  # test problems; the comparison's files tell their share alone
SHARE = 1e-6  # how far a share times its items may be from a whole number
PEFT: Mapping[str, Mapping[str, Metric]] = {
    "MetaMathQA": {
        "test accuracy": Metric(
            "higher", "share of GSM8K's test problems answered rightly", range=(0.0, 1.0)
        ),
        "forgetting": Metric("lower", "how much worse the model predicts other text than before"),
    },
    "image-gen": {
        "test dino_similarity": Metric("higher", "DINOv2's similarity of drawn and true test images"),
        "drift": Metric("lower", "how far images of other prompts moved"),
    },
}
PEFT_COSTS = {
    "accelerator_memory_max": "peak memory of the accelerator, bytes",
    "seconds": "seconds of a run",
}
SAMPLES = "_samples.jsonl"  # the end of a file with the items of the record that it stands beside
COLUMNS = ("method", "value", "seed", "item", "better", "cost")  # the first two are needed


def read(paths: Sequence[Path], reader: str) -> Told:
    """Return what files tell, by the name of their reader. Raises UsageError for what cannot be read."""
    if reader not in READERS:
        raise UsageError(f"there is no reader {reader!r}: {nearest(reader, READERS)}")
    return READERS[reader](paths)


# PEFT's comparison


def peft(paths: Sequence[Path]) -> Told:
    """Read PEFT's method comparison: MetaMathQA and image generation, each a task a base model."""
    found = []
    for source, record in documents(paths, ".json"):
        try:
            found.append(
                Outcome("", source, source, trouble=record)
                if isinstance(record, str)
                else _peft(source, record)
            )
        except UsageError as error:
            found.append(Outcome("", source, source, trouble=str(error)))
    kinds = {o.task: PEFT[o.task.partition(" on ")[0]] for o in found if o.task}
    if not kinds:
        raise UsageError(f"{paths[0]} holds no result of PEFT's comparison: {found[0].trouble}")
    return Told(kinds, list(_short(found)), PEFT_COSTS)


def _peft(source: str, record: Mapping[str, Any]) -> Outcome:
    info, train = (_object(record, key, source) for key in ("run_info", "train_info"))
    config = _object(info, "train_config", source)
    kind = "image-gen" if "dino_model_id" in config else "MetaMathQA"
    task = f"{kind} on {name(config.get('model_id'), f'the model of {source}')}"
    method = name(info.get("experiment_name"), f"the experiment of {source}")
    steps = train.get("metrics")
    last = steps[-1] if isinstance(steps, list) and steps and isinstance(steps[-1], Mapping) else {}
    values = {metric: _number(last.get(metric)) for metric in PEFT[kind] if metric in last}
    asked = next(iter(PEFT[kind]))
    costs = {
        "accelerator_memory_max": _number(train.get("accelerator_memory_max")),
        "seconds": _number(info.get("total_time")),
    }
    seed = config.get("seed")
    shared = ("max_steps", "batch_size", "max_seq_length", "resolution", "dtype")
    outcome = Outcome(
        task,
        method,
        source,
        seed if isinstance(seed, int) else None,
        values,
        number={"test accuracy": GSM8K},
        costs={cost: value for cost, value in costs.items() if value > 0},
        setting={key: config[key] for key in shared if key in config},
    )
    message = str(info.get("error_msg") or "")[:200]
    if train.get("status") != "success" or message:
        status = str(train.get("status") or "without a status")[:40]
        return replace(outcome, trouble=f"ended as {status}: {message or 'no message'}")
    if asked not in last:
        return replace(outcome, trouble=f"holds no {asked}: its run left {'some' if last else 'no'} metrics")
    if asked == "test accuracy" and not _whole(values[asked] * GSM8K):
        return replace(outcome, trouble=f"{values[asked]} is not a share of {GSM8K:,} test problems")
    return outcome


def _short(found: Sequence[Outcome]) -> Iterator[Outcome]:
    """Yield outcomes without the words that all names of a task have after the slash: `lora/llama-3.2-3B-`."""
    words: dict[str, list[list[str]]] = {}
    for outcome in found:
        words.setdefault(outcome.task, []).append(outcome.method.partition("/")[2].split("-"))
    shared = {
        task: len(list(takewhile(lambda column: len(set(column)) == 1, zip(*ends, strict=False))))
        for task, ends in words.items()
    }
    for outcome in found:
        kind, slash, rest = outcome.method.partition("/")
        own = rest.split("-")[shared[outcome.task] :] if len(words[outcome.task]) > 1 else []
        yield replace(outcome, method=f"{kind}{slash}{'-'.join(own)}") if outcome.task and own else outcome


# Every Eval Ever


def every(paths: Sequence[Path]) -> Told:
    """Read Every Eval Ever's records: each evaluation is a task, each model a method.

    Items are read from the samples beside a record, where their mean is its score and none hang together in groups:
    of those a mean by item would promise too much. A seed is what `model_info` tells in its details.
    """
    tasks: dict[str, dict[str, Metric]] = {}
    found: list[Outcome] = []
    beside = {path for one in paths for path in data_files(one) if path.name.endswith(SAMPLES)}
    for path, record in placed(paths, ".json"):
        source = path.name
        try:
            if isinstance(record, str):
                raise UsageError(record)
            method = name(_object(record, "model_info", source).get("id"), f"the model of {source}")
            results = record.get("evaluation_results")
            if not isinstance(results, list) or not results:
                found.append(Outcome("", method, source, trouble="holds no evaluation_results"))
                continue
            seed = _seed_told(record)
            lines = path.with_name(f"{path.stem}{SAMPLES}")
            items = _samples(lines, record) if lines in beside else {}
            for result in results:
                outcome, metric = _every(source, method, result)
                outcome = replace(outcome, seed=seed, items=_of_score(outcome, result, items))
                known = tasks.setdefault(outcome.task, {"score": metric})["score"]
                if known.better != metric.better:
                    raise UsageError(
                        f"{source} says of {outcome.task} that {metric.better} is better, others do not: "
                        "make them agree"
                    )
                found.append(outcome)
        except UsageError as error:
            found.append(Outcome("", source, source, trouble=str(error)))
    if not tasks:
        raise UsageError(f"{paths[0]} holds no evaluation of Every Eval Ever: {found[0].trouble}")
    return Told(tasks, found)


def _seed_told(record: Mapping[str, Any]) -> int | None:
    details = record["model_info"].get("additional_details")
    told = details.get("seed") if isinstance(details, Mapping) else None
    return int(told) if isinstance(told, str) and re.fullmatch(r"-?[0-9]{1,18}", told) else None


def _samples(lines: Path, record: Mapping[str, Any]) -> Mapping[str, Items]:
    try:
        return samples(record, records(lines))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{lines.name} holds no samples of its record ({said(error)[:100]}): export it again"
        ) from None


def _of_score(outcome: Outcome, result: Any, items: Mapping[str, Items]) -> Mapping[str, Mapping[str, float]]:
    """Return an evaluation's items by their id, where they are independent and their mean is its score."""
    kept = items.get(str(result.get("evaluation_result_id")))
    if kept is None or kept.groups or kept.contiguous or len(kept.columns) != 1:
        return {}
    (column,) = kept.columns.values()
    values = dict(zip(kept.ids, by_item(column).tolist(), strict=True))
    score = outcome.values["score"]
    same = isfinite(score) and abs(sum(values.values()) / len(values) - score) <= SHARE * max(1.0, abs(score))
    return {"score": values} if same and len(values) == len(kept.ids) else {}


def _every(source: str, method: str, result: Any) -> tuple[Outcome, Metric]:
    if not isinstance(result, Mapping):
        raise UsageError(f"{source} has an evaluation that is no JSON object: give it a name and a score")
    task = name(result.get("evaluation_name"), f"an evaluation of {source}")
    config, details = (_object(result, key, source) for key in ("metric_config", "score_details"))
    lower = config.get("lower_is_better")
    if not isinstance(lower, bool):
        raise UsageError(
            f"{source} does not say whether a lower score of {task} is better: give lower_is_better"
        )
    told = details.get("uncertainty")
    told = told if isinstance(told, Mapping) else {}
    error = told.get("standard_error")
    spread = _number(error.get("value") if isinstance(error, Mapping) else error)
    count, value = told.get("num_samples"), _number(details.get("score"))
    unit = (config.get("min_score"), config.get("max_score")) == (0, 1)
    share = isinstance(count, int) and count > 0 and unit and _whole(value * count)
    return Outcome(
        task,
        method,
        source,
        values={"score": value},
        number={"score": int(count)} if share and isinstance(count, int) else {},
        errors={"score": spread} if spread > 0 else {},
        trouble="" if isfinite(value) else "has no score",
    ), Metric(
        "lower" if lower else "higher",
        str(config.get("evaluation_description") or task)[:200],
        range=(0.0, 1.0) if unit else None,
    )


# A plain table


def table(paths: Sequence[Path]) -> Told:
    """Read a CSV of method and value, with seed, item, better (higher or lower) and cost where they are known."""
    values: dict[tuple[str, int | None], dict[str, float]] = {}
    costs: dict[tuple[str, int | None], float] = {}
    sources: dict[tuple[str, int | None], str] = {}
    better: set[str] = set()
    for path in tables(paths, ".csv"):
        for place, row in enumerate(records(path), 1):
            where = f"{path} row {place}"
            missing = [column for column in COLUMNS[:2] if column not in row]
            odd = [column for column in row if column not in COLUMNS]
            if missing or odd:
                told = f"has no column {missing[0]!r}" if missing else f"has a column {odd[0]!r}"
                raise UsageError(
                    f"{path} {told}: a table of results has {', '.join(COLUMNS)}, the first two always"
                )
            key = name(row["method"], where), _seed(row.get("seed"), where)
            item = str(row.get("item") or "")
            runs = values.setdefault(key, {})
            if item in runs:
                raise UsageError(f"{where} repeats {key[0]}, seed {row.get('seed')}, item {item!r}: keep one")
            runs[item] = _cell(row["value"], "value", where)
            sources.setdefault(key, path.name)
            if row.get("cost") not in (None, ""):
                costs[key] = _cell(row["cost"], "cost", where)
            if row.get("better"):
                better.add(str(row["better"]))
    if not better <= {"higher", "lower"} or len(better) > 1:
        raise UsageError(
            f"{paths[0]} says that {' and '.join(sorted(better))[:60]} is better: write higher or lower"
        )
    every_value = [value for runs in values.values() for value in runs.values() if isfinite(value)]
    share = all(value in (0.0, 1.0) for value in every_value)
    metric = Metric("lower" if "lower" in better else "higher", "value", range=(0.0, 1.0) if share else None)
    found = []
    for key, runs in values.items():
        if "" in runs and len(runs) > 1:
            raise UsageError(
                f"{key[0]} has values with and without an item: name the item of each or of none"
            )
        lost = [item for item, value in runs.items() if not isfinite(value)]
        found.append(
            Outcome(
                "table",
                key[0],
                sources[key],
                key[1],
                {"value": sum(runs.values()) / len(runs)},
                items={} if "" in runs else {"value": runs},
                costs={"cost": costs[key]} if key in costs else {},
                trouble=f"has no value{f' of item {lost[0]}' if lost[0] else ''}" if lost else "",
            )
        )
    return Told({"table": {"value": metric}}, found, {"cost": "cost"} if costs else {})


def _seed(value: Any, where: str) -> int | None:
    text = "" if value is None else str(value).strip()
    if text and not (text.lstrip("-").isascii() and text.lstrip("-").isdigit() and len(text) < 20):
        raise UsageError(f"{where} has the seed {text[:40]!r}: write a whole number, or leave it empty")
    return int(text) if text else None


def _cell(value: Any, column: str, where: str) -> float:
    text = "" if value is None else str(value).strip()
    try:
        return float(text) if text else nan
    except ValueError:
        raise UsageError(f"{where} has the {column} {text[:40]!r}: write a number") from None


def _object(record: Mapping[str, Any], key: str, source: str) -> Mapping[str, Any]:
    found = record.get(key)
    if not isinstance(found, Mapping):
        raise UsageError(f"{source} has no object {key!r}: it is of another format, or cut")
    return found


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else nan
    except OverflowError:
        return nan


def _whole(value: float) -> bool:
    return isfinite(value) and abs(value - round(value)) <= SHARE * max(1.0, abs(value))


READERS: Mapping[str, Callable[[Sequence[Path]], Told]] = {
    "peft-method-comparison": peft,
    "every-eval-ever": every,
    "csv": table,
}
