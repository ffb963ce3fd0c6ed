"""Claims x runs -> verdicts: a scorecard, as plain data, for each setting the runs were made in.

Runs are compared only within one (budget, task digest, device, precision). A claim reads the runs of
the methods as the paper's plugin declares them; a run with other method settings is a row of its own.
Everything that is shown (the room `reports`) is made from the scorecard alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import isfinite
from statistics import fmean
from typing import Any

from harness.errors import HarnessError
from harness.papers.families import members
from harness.papers.statement import Items, Paper
from harness.runs.results import Record
from harness.verdicts.claims import claims_of
from harness.verdicts.costs import costs
from harness.verdicts.looks import Memory
from harness.verdicts.origin import chosen_of, command, date, machine, note, sources
from harness.verdicts.places import places_of
from harness.verdicts.rows import Row, label_of
from harness.verdicts.stats import OVER, Cell, Interval, seeds_interval
from harness.verdicts.versus import Wins, alone, cell_of

SCHEMA = 2  # of a scorecard as JSON; `stored` reads older ones
BUDGETS = ("full", "small", "smoke")  # the order of scorecards; other words come between small and smoke


def judge(
    paper_name: str,
    paper: Paper,
    records: Iterable[Record],
    stale: Callable[[Record], bool] = lambda record: False,
    looks: Memory | None = None,
    versus: Wins = alone,
) -> list[dict[str, Any]]:
    """Return a scorecard for each (budget, task digest, device, precision) that has ended runs.

    `stale` says which runs were made by other code than today's: they are listed. `looks` remembers plans and
    former looks, by whose rule claims are then judged; without it this is the only look. `versus` gives the wins
    of one run over another (`harness.verdicts.versus.Versus`).
    """
    looks = looks or Memory()
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        config = record.result.config
        if config["paper"] == paper_name:
            key = tuple(config[k] for k in ("budget", "device", "precision", "task_digest"))
            groups.setdefault(key, []).append(record)

    def order(key: tuple[str, ...]) -> tuple[Any, ...]:
        return (BUDGETS.index(key[0]) if key[0] in BUDGETS else 1.5, *key)

    return [
        _scorecard(paper_name, paper, groups[key], stale, looks, versus) for key in sorted(groups, key=order)
    ]


def _scorecard(
    paper_name: str,
    paper: Paper,
    records: Sequence[Record],
    stale: Callable[[Record], bool],
    looks: Memory,
    versus: Wins,
) -> dict[str, Any]:
    finished = [r for r in records if r.result.status == "finished"]
    failed = [r for r in records if r.result.status != "finished"]
    rows = _rows(paper, finished, stale)
    config = records[-1].result.config
    single = {name: metric for name, metric in paper.metrics.items() if not metric.over}
    paper = dataclasses.replace(paper, metrics={**single, **members(paper.metrics, config["task"])})
    cell = _cells(paper, rows, failed, versus)
    places = _places(paper, rows, cell, partial(looks.level, config))
    newest = max(records, key=date)
    methods = [_method(paper, row) for row in rows.values()]
    metrics = {
        name: {"text": m.text, "unit": m.unit, "better": m.better} for name, m in paper.metrics.items()
    }
    made = command(paper_name, paper, config)
    digests = {name: source.get("digest", "") for name, source in newest.result.data.items()}
    return {
        "schema": SCHEMA,
        "paper": paper_name,
        "title": paper.title,
        "url": paper.url,
        "budget": config["budget"],
        "device": config["device"],
        "precision": config["precision"],
        "model": config["model"],
        "task_digest": config["task_digest"],
        "task": config["task"],
        "data": config["data"],
        "digests": digests,
        "date": date(newest),
        "machine": machine(newest),
        "command": made,
        "note": note(config["budget"]),
        "claims": claims_of(
            paper,
            config["budget"],
            cell,
            sources(config["data"], digests, made),
            partial(looks.estimate, config),
            grids={method["method"]: method["grid"] for method in methods if method["grid"]},
        ),
        "methods": methods,
        "metrics": metrics,
        "leaders": {
            metric: [m for m, (first, _) in found.items() if first == 1] for metric, found in places.items()
        },
        "places": {
            metric: {m: list(place) for m, place in found.items()} for metric, found in places.items()
        },
        "costs": costs(methods, metrics, headline) if (headline := _headline(paper)) else [],
        "figures": [json.loads(json.dumps(dataclasses.asdict(figure))) for figure in paper.figures],
        "absent": _absent(rows),
        "failures": [
            {
                "method": label_of(r.result.config),
                "seed": r.result.config["seed"],
                "run_key": r.result.run_key,
                "type": (r.result.error or {}).get("type", r.result.status),
                "message": (r.result.error or {}).get("message", ""),
            }
            for r in failed
        ],
        "stale": sorted(
            record.result.run_key for row in rows.values() for record in row.runs.values() if stale(record)
        ),
    }


# Runs -> rows -> cells


def _rows(paper: Paper, finished: Iterable[Record], stale: Callable[[Record], bool]) -> dict[str, Row]:
    """Return the rows in the paper's order. Of two runs with one seed, current code wins, then the newer."""

    def worth(record: Record) -> tuple[Any, ...]:
        return not stale(record), date(record), record.result.run_key

    rows: dict[str, Row] = {}
    for record in sorted(finished, key=worth):
        config = record.result.config
        label = label_of(config)
        rows.setdefault(label, Row(label, config)).runs[config["seed"]] = record
    names = list(paper.methods)

    def order(row: Row) -> tuple[Any, ...]:
        name = row.config["name"]
        return (
            names.index(name) if name in names else len(names),
            not row.config["method_declared"],
            row.label,
        )

    found = {}
    for row in sorted(rows.values(), key=order):
        seeds = sorted(row.runs)[: 1 if row.deterministic else None]
        found[row.label] = dataclasses.replace(row, runs={seed: row.runs[seed] for seed in seeds})
    return found


def _cells(
    paper: Paper, rows: Mapping[str, Row], failed: Sequence[Record], versus: Wins
) -> Callable[[str, str], Cell]:
    """Return what makes a method's cell; items of the claimed metrics are read when used, a run's once."""
    wanted = {metric for claim in paper.claims for metric in claim.contrast.metrics}
    read: dict[str, Mapping[str, Items]] = {}

    def items_of(row: Row, metric: str) -> dict[int, Items]:
        for record in row.runs.values():
            if str(record.folder) not in read:
                kept = {m: items for m, items in record.items.items() if m in wanted}
                read[str(record.folder)] = kept
        behind = {seed: read[str(record.folder)] for seed, record in row.runs.items()}
        return {seed: found[metric] for seed, found in behind.items() if metric in found}

    runs = {label: row.runs for label, row in rows.items()}
    single = [label for label, row in rows.items() if row.deterministic]

    def cell(method: str, metric: str) -> Cell:
        compared = metric in paper.metrics and paper.metrics[metric].versus
        names = method.split(OVER) if compared else [method]
        lacking = next((name for name in names if name not in rows), None)
        if lacking is not None:
            kinds = {
                (r.result.error or {}).get("type", "failed")
                for r in failed
                if label_of(r.result.config) == lacking
            }
            reason = (
                f"all its runs failed ({', '.join(sorted(kinds))})" if kinds else "it has no finished run"
            )
            return Cell(lacking, metric, {}, absent=reason)
        if compared:
            return cell_of(names, metric, runs, single, versus)
        row = rows[method]
        results = {seed: record.result for seed, record in row.runs.items()}
        values = {
            seed: result.numbers[metric] for seed, result in results.items() if metric in result.numbers
        }
        waits = metric in paper.metrics and paper.metrics[metric].judged
        judged = "its texts are not judged yet: harness judgments" if waits else ""
        absent = next((r.absent[metric] for r in results.values() if metric in r.absent), judged)
        return Cell(method, metric, values, lambda: items_of(row, metric), row.deterministic, absent)

    return cell


# Rows -> the table of methods


def _method(paper: Paper, row: Row) -> dict[str, Any]:
    declared = paper.methods.get(row.config["name"])
    results = [record.result for record in row.runs.values()]
    return {
        "method": row.label,
        "text": declared.text if declared else "",
        "declared": bool(row.config["method_declared"]),
        "baseline": bool(row.config["baseline"]),
        "deterministic": row.deterministic,
        "seeds": list(row.runs),
        "run_keys": [result.run_key for result in results],
        "grid": chosen_of(row.runs, _better(paper, paper.tuned_by)),
        "metrics": {
            name: _summary([r.numbers[name] for r in results if name in r.numbers])
            for name in paper.metrics
            if any(name in r.numbers for r in results)
        },
        "timings": _means([r.timings for r in results]),
        "measured": _means([{**r.measured, **r.environment.get("gpu", {})} for r in results]),
    }


def _better(paper: Paper, metric: str) -> str:
    return paper.metrics[metric].better if metric in paper.metrics else "lower"


def _summary(values: Sequence[float | None]) -> dict[str, Any]:
    """Return mean, 95 % t interval (from three seeds on) and the values of one metric."""
    known = [value for value in values if value is not None and isfinite(value)]
    found = seeds_interval(known) if len(known) == len(values) else Interval(float("nan"))
    return {
        "mean": _finite(found.value),
        "low": _finite(found.low),
        "high": _finite(found.high),
        "values": [None if value is None else _finite(value) for value in values],
    }


def _means(measured: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Return the mean over runs of everything that was measured in any."""
    names = dict.fromkeys(name for values in measured for name in values)
    known = {name: [v for values in measured if (v := values.get(name)) is not None] for name in names}
    return {name: fmean(values) for name, values in known.items() if values}


def _places(
    paper: Paper,
    rows: Mapping[str, Row],
    cell: Callable[[str, str], Cell],
    level: Callable[[int], float],
) -> dict[str, dict[str, tuple[int, int]]]:
    """Return, for each claimed metric, the places each method may have by the same rule as the claims."""
    claimed = dict.fromkeys(metric for claim in paper.claims for metric in claim.contrast.metrics)
    found = {}
    for metric in claimed:
        if paper.metrics[metric].versus:  # no method has it alone
            continue
        try:
            cells = {label: cell(label, metric) for label in rows}
            found[metric] = places_of(paper.metrics[metric], cells, level)
        except HarnessError:  # measured on different items: nobody is ahead
            continue
    return {metric: places for metric, places in found.items() if len(places) > 1}


def _headline(paper: Paper) -> str:
    """Return the metric that quality is told by beside cost: the first claim's."""
    claimed = (claim.contrast.metric for claim in paper.claims if claim.contrast.kind != "wins")
    return next(claimed, next(iter(paper.metrics), ""))


def _absent(rows: Mapping[str, Row]) -> dict[str, dict[str, str]]:
    absent: dict[str, dict[str, str]] = {}
    for label, row in rows.items():
        for record in row.runs.values():
            for metric, reason in record.result.absent.items():
                absent.setdefault(label, {})[metric] = reason
    return absent


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None
