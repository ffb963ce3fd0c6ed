"""Judging 500 runs of 20 metrics: `harness report` and `harness compare` beside mlflow and pandas, each a process.

The same runs lie in run folders and in an MLflow store (SQLite). The peer reads them by `mlflow.search_runs` and
writes each method's mean and t interval of each metric as one HTML file; `harness report` also judges claims,
ranks methods, and writes Markdown, JSON and HTML.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import papers
from benchmarks.measuring import Measured, Side, Target, command, interleaved, tell

PEER = """
import sys
import mlflow
from scipy import stats
mlflow.set_tracking_uri(sys.argv[1])
frame = mlflow.search_runs(experiment_names=["ledger"], max_results=100_000)
metrics = [name for name in frame.columns if name.startswith("metrics.")]
"""
REPORT = (
    PEER
    + """
by = frame.groupby("tags.method")[metrics]
mean, count, error = by.mean(), by.count(), by.sem()
half = error * stats.t.ppf(0.975, count - 1)
said = mean.map("{:.4g}".format) + " +- " + half.map("{:.2g}".format)
open(sys.argv[2], "w").write(said.to_html())
print(said.to_string())
assert len(frame) == int(sys.argv[3]), len(frame)
"""
)
COMPARE = (
    PEER
    + """
frame = frame.set_index(["tags.method", "tags.seed"])
one, other = (frame[frame["tags.precision"] == precision][metrics] for precision in ("fp32", "bf16"))
gap = (one - other).groupby("tags.method")
half = gap.sem() * stats.t.ppf(0.975, gap.count() - 1)
said = gap.mean().map("{:.4g}".format) + " +- " + half.map("{:.2g}".format)
print(said.to_string())
"""
)


STATUS = PEER + "print(frame[['tags.method', 'tags.seed', 'status', *metrics]].to_string())"


def write_runs(
    results: Path, methods: int, seeds: int, metrics: int, precisions: tuple[str, ...]
) -> list[dict]:
    """Write run folders and return the same numbers as plain rows."""
    from tests.records import write_run

    rng, rows = np.random.default_rng(0), []
    for method in range(methods):
        for precision in precisions:
            for seed in range(seeds):
                found = {f"m{i}": float(rng.normal(method / 10)) for i in range(metrics)}
                name = f"method{method}"
                write_run(
                    results, name, seed, found, paper="ledger", precision=precision, baseline=method > 0,
                    method={"slope": float(method)}, task={"length": 64},
                )  # fmt: skip
                rows.append({"method": name, "seed": seed, "precision": precision, "metrics": found})
    return rows


def write_store(uri: str, rows: list[dict]) -> None:
    """Write the same runs into an MLflow store."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, RunTag

    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("ledger")
    for number, row in enumerate(rows):
        run = client.create_run(experiment).info.run_id
        tags = [RunTag(name, str(row[name])) for name in ("method", "seed", "precision")]
        points = [Metric(name, value, 0, 0) for name, value in row["metrics"].items()]
        client.log_batch(run, metrics=points, tags=tags)
        client.set_terminated(run)
        if number % 50 == 0:
            tell(f"writing the store: {number} of {len(rows)} runs")


def sides(
    room: Path, verb: str, runs: int, metrics: int, precisions: tuple[str, ...], toy: bool
) -> tuple[Side, Side]:
    """Return `harness report` or `status` (one precision) or `compare` (two), and its peer, on runs made here."""
    methods = 2 if toy else 25
    seeds = runs // methods // len(precisions)
    papers.ledger(room / "packages", methods, metrics)
    rows = write_runs(room / "results", methods, seeds, metrics, precisions)
    uri = f"sqlite:///{room}/mlflow.db"
    write_store(uri, rows)
    harness = str(Path(sys.executable).with_name("harness"))
    words = (verb, "ledger")
    if verb == "compare":
        words = ("compare", *(f"ledger,precision={p}" for p in precisions))  # type: ignore[assignment]
    ours = command(harness, *words, cwd=room, PYTHONPATH=str(room / "packages"))
    peer = {"report": (REPORT, uri, str(room / "peer.html"), str(len(rows))), "compare": (COMPARE, uri)}
    return ours, command(sys.executable, "-c", *peer.get(verb, (STATUS, uri)), cwd=room)


def measure(toy: bool) -> Iterator[Measured]:
    """Time reports, and for information comparisons."""
    runs, metrics = (12, 3) if toy else (500, 20)
    for name, precisions, target in (
        ("report", ("fp32",), Target("at most", 1.0)),
        ("compare", ("fp32", "bf16"), Target("at most")),
    ):
        with tempfile.TemporaryDirectory() as room:
            pairs = interleaved(
                *sides(Path(room), name, runs, metrics, precisions, toy),
                rounds=1 if toy else 5,
                warm=0 if toy else 1,
            )
        what = f"harness {name} over {runs} runs x {metrics} metrics, a process from start to end"
        yield pairs.against(what, "mlflow.search_runs and pandas on the same runs", target)


def folders(toy: bool) -> Iterator[Measured]:
    """Time reports and listings of 5,000 run folders, for information."""
    runs, metrics = (12, 3) if toy else (5000, 20)
    for name in ("status",) if toy else ("report", "status"):
        with tempfile.TemporaryDirectory() as room:
            pairs = interleaved(
                *sides(Path(room), name, runs, metrics, ("fp32",), toy),
                rounds=1 if toy else 5,
                warm=0 if toy else 1,
            )
        what = f"harness {name} over {runs:,} runs x {metrics} metrics, a process from start to end"
        yield pairs.against(what, "mlflow.search_runs and pandas on the same runs", Target("at most"))
