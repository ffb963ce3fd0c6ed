"""Made-up runs for tests: real run folders of a small paper, written as `run` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.papers.statement import (
    Claim,
    Figure,
    Items,
    Method,
    Metric,
    Paper,
    Reported,
    Seen,
    difference,
    ratio,
    setting,
    source,
)
from harness.runs.files import digest
from harness.runs.results import CURVES, Record, Result, write_items, write_result


@dataclass
class Task:
    """What the toy paper's methods share."""

    length: int = setting(64, "tokens a window")
    steps: int = setting(300, "training steps")


@dataclass
class Data:
    """What the toy paper reads."""

    corpus: str = source("builtin:python", "training text")


@dataclass
class Config:
    """One method of the toy paper."""

    slope: float = setting(1.0, "how steep")


LENGTHS = (1, 2, 4, 8)

PAPER = Paper(
    title="Toy: A Paper About Nothing",
    authors="A. Nobody",
    year=2020,
    url="https://example.org/toy",
    task=Task,
    data=Data,
    methods={
        "toy": Method(Config(), "the paper's own"),
        "plain": Method(Config(slope=0.0), "without it", baseline=True),
        "chance": Method(Config(slope=-1.0), "guesses", baseline=True, deterministic=True),
    },
    metrics={
        **{f"perplexity_{n}L": Metric("lower", f"perplexity at {n}L", reduce="exp_mean") for n in LENGTHS},
        "accuracy": Metric("higher", "right answers"),
        "train_peak_memory": Metric("lower", "peak memory", unit="bytes"),
    },
    claims=[
        Claim(
            "Toy stays flat at eight times its length",
            ratio("perplexity_8L", "toy", over="perplexity_1L", at_most=1.05),
            "Table 1",
            Reported(0.98, "L = 512", "Table 1", Seen.PAPER, same=True),
        ),
        Claim(
            "Plain breaks where toy does not",
            ratio("perplexity_8L", "plain", than="toy", at_least=1.3),
            "Table 1",
            Reported(2.67, "L = 512", "Table 1", Seen.TRANSCRIPTION, same=True),
        ),
        Claim(
            "Toy answers better than chance",
            difference("accuracy", "toy", "chance", by=0.1),
            "Section 4",
            Reported(0.123456, "large", "Section 4", Seen.MEMORY),
        ),
        Claim(
            "Toy answers no better than plain",
            difference("accuracy", "plain", "toy"),
            "a reply",
            counter=True,
        ),
    ],
    budgets={"smoke": {"task": {"length": 8}}, "small": {}, "full": {"task": {"length": 512}}},
    figures=[
        Figure(
            "Perplexity beyond the training length",
            "line",
            {f"perplexity_{n}L": float(n) for n in LENGTHS},
            x="length, in multiples of L",
            y="perplexity",
            log_x=True,
            log_y=True,
        ),
        Figure("Answers", "bar", {"accuracy": "right"}, x="", y="share"),
    ],
)


def write_run(
    results: Path,
    name: str,
    seed: int,
    metrics: Mapping[str, float | None],
    *,
    paper: str = "toy",
    items: Mapping[str, Items] | None = None,
    curve: Mapping[str, list[float]] | None = None,
    changes: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
    absent: Mapping[str, str] | None = None,
    code: str = "now",
    around: Mapping[str, Any] | None = None,
    read: Mapping[str, Mapping[str, str]] | None = None,
    **config: Any,
) -> Record:
    """Write one ended run of a toy method under `results/runs` and return it, read back or not.

    `changes` are method settings that differ from the declared ones; `error` makes it a failed run; `around` adds to
    its environment; `read` is what was read under each name;
    other keywords replace fields of its config (budget, device, deterministic, baseline ...).
    """
    task = {"length": 64, "steps": 300, **(task or {})}
    whole = {
        "paper": paper,
        "name": name,
        "method": {"slope": 1.0, **(changes or {})},
        "method_declared": not changes,
        "method_changes": dict(changes or {}),
        "task": task,
        "task_digest": digest(task),
        "data": {"corpus": "builtin:python"},
        "model": "",
        "budget": "small",
        "seed": seed,
        "deterministic": name == "chance",
        "baseline": name in ("plain", "chance"),
        "device": "cpu",
        "precision": "fp32",
        **config,
    }
    key = digest(whole)
    folder = results / "runs" / paper / name / key[:16]
    folder.mkdir(parents=True, exist_ok=True)
    write_items(folder, items or {})
    if curve:
        steps = range(len(next(iter(curve.values()))))
        rows = ({"step": step, **{k: v[step] for k, v in curve.items()}} for step in steps)
        (folder / CURVES).write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = Result(
        key,
        "failed" if error else "finished",
        whole,
        metrics=dict(metrics),  # type: ignore[arg-type]
        absent=dict(absent or {}),
        error=dict(error) if error else None,
        environment={"date": "2026-01-02", "cores": 2, "device": "cpu", "python": "3.11", **(around or {})},
        timings={"train": 10.0 + seed, "total": 12.0 + seed},
        data=dict(read or {"corpus": {"name": "builtin:python", "digest": "c0ffee"}}),
        code={"digest": code},
        items={metric: len(items.ids) for metric, items in (items or {}).items()},
    )
    write_result(folder, result)
    return Record(folder, result)


def answers(rate: float, seed: int, n: int = 250) -> Items:
    """n yes-or-no items of which about `rate` are right."""
    right = np.random.default_rng(seed).random(n) < rate
    return Items({"right": right.astype(float).tolist()}, [f"q{i}" for i in range(n)])


def write_sweep(results: Path, seeds: int = 5, **config: Any) -> list[Record]:
    """Write a whole sweep of the toy paper: its three methods, with items, curves and intervals."""
    rng = np.random.default_rng(0)
    records = []
    for seed in range(seeds):
        for name, growth, rate in (("toy", 1.0, 0.8), ("plain", 1.5, 0.79)):
            items = answers(rate, 100 * seed + len(name))
            metrics = {f"perplexity_{n}L": 20 * growth ** (n - 1) + rng.normal(0, 0.2) for n in LENGTHS}
            metrics |= {"accuracy": float(np.mean(items.columns["right"])), "train_peak_memory": 123456789.0}
            loss = [float(3 / (1 + step / 20) + 0.05 * rng.normal() + growth) for step in range(60)]
            curve = {"loss": loss, "tokens_per_second": [1000.0] * 60}
            records.append(
                write_run(results, name, seed, metrics, items={"accuracy": items}, curve=curve, **config)
            )
    guessed = answers(0.5, 7)
    rate = float(np.mean(guessed.columns["right"]))
    missing = {f"perplexity_{n}L": "it has no probabilities" for n in LENGTHS}
    records.append(
        write_run(
            results, "chance", 0, {"accuracy": rate}, items={"accuracy": guessed}, absent=missing, **config
        )
    )
    return records
