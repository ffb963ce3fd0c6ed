"""One store, many at once, or while runs go on: nothing fails, nothing is lost, nothing is there twice."""

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import threading
import time

import pytest

from tests.faults.test_kills import wait_for
from tests.papers.test_plugins import install

pytestmark = pytest.mark.fault


def _first_start(folder, barrier) -> None:
    from harness.runs.mirror import Mirror

    barrier.wait()
    store = Mirror(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    store.close_sweep(store.open_sweep("alibi", f"sweep-{os.getpid()}", "harness run"), failed=False)


def test_sixteen_first_starts_at_once_on_a_fresh_store_all_succeed(tmp_path):
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # once, for all the forks
    from mlflow import MlflowClient

    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(16)
    starts = [context.Process(target=_first_start, args=(tmp_path, barrier)) for _ in range(16)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert [start.exitcode for start in starts] == [0] * 16
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert [e.name for e in client.search_experiments()].count("alibi") == 1
    runs = client.search_runs([client.get_experiment_by_name("alibi").experiment_id])
    assert len(runs) == 16
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_first_start_killed_amid_the_making_of_the_store_leaves_one_that_opens(tmp_path):
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # once, for all the forks

    context = multiprocessing.get_context("fork")
    start = context.Process(target=_first_start, args=(tmp_path, context.Barrier(1)))
    start.start()
    unfinished = tmp_path / ".mlflow.db.unfinished"
    while start.is_alive() and not (unfinished.exists() and unfinished.stat().st_size):
        time.sleep(0.001)
    os.kill(start.pid, signal.SIGKILL)
    start.join()
    assert start.exitcode == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists()
    again = context.Process(target=_first_start, args=(tmp_path, context.Barrier(1)))
    again.start()
    again.join()
    assert again.exitcode == 0
    assert not list(tmp_path.glob(".mlflow.db*unfinished*"))


TUNED = '''
"""A paper whose method is tuned; a run that is not tuning waits until somebody has seen it."""
from dataclasses import dataclass
from harness import Method, Metric, Paper, hookimpl, setting

@dataclass
class Task:
    size: int = setting(3, "how much there is to do")

@dataclass
class Data:
    pass

@dataclass
class Rate:
    rate: float = setting(1.0, "how fast")

@hookimpl
def paper():
    return Paper(
        title="Tuned", authors="", year=2026, url="", task=Task, data=Data,
        methods={"tuned": Method(Rate(), "tuned", tune={"rate": [1.0, 3.0]}),
                 "plain": Method(Rate(), "plain", baseline=True, tune={"rate": [1.0, 3.0]})},
        metrics={"score": Metric("higher", "a number")}, claims=[], tuned_by="score",
        budgets={"smoke": {}, "small": {}, "full": {}},
    )

@hookimpl
def prepare(data_dir):
    (data_dir / "ready").touch()

@hookimpl
def train(run):
    import os, pathlib, time
    run.log(1, loss=run.method.rate)
    run.progress(1, 2)
    until = time.time() + 300
    while "tuning" not in run.folder.parts and not pathlib.Path(os.environ["SEEN"]).exists():
        if time.time() > until:
            raise LookupError("nobody has seen it")
        time.sleep(0.05)

@hookimpl
def evaluate(run, split):
    return {"score": run.method.rate}
'''


def test_a_tuned_run_is_in_the_store_while_it_goes_on(harness, monkeypatch):
    install(harness.folder, "toy_tuned", TUNED)
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    monkeypatch.setenv("SEEN", str(harness.folder / "seen"))
    store = harness.folder / "results" / "mlflow.db"
    ask = """SELECT params.value, metrics.value FROM runs JOIN tags USING (run_uuid) JOIN metrics USING (run_uuid)
             LEFT JOIN params ON params.run_uuid = runs.run_uuid AND params.key = 'method.rate'
             WHERE status = ? AND tags.key = 'run_key' AND metrics.key = 'loss'"""

    def held(status: str) -> list:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(store)) as open_store:
            return open_store.execute(ask, (status,)).fetchall()
        return []

    words = ("run", "method=toy_tuned/tuned", "device=cpu")
    sweep = threading.Thread(target=harness, args=words)
    sweep.start()
    assert wait_for(lambda: held("RUNNING"), 240) == [(None, 3.0)]  # the chosen rate's, and still going on
    (harness.folder / "seen").touch()
    sweep.join()
    assert held("FINISHED") == [("3.0", 3.0)]
