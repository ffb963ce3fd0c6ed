"""A team's MLflow server on PostgreSQL: many write at once and it may die in between, and it holds each number once."""

import contextlib
import json
import multiprocessing
import time
from pathlib import Path

import pytest

from tests.faults.servers import Postgres, Server
from tests.faults.test_kills import wait_for
from tests.papers.test_plugins import install
from tests.records import answers, write_run

pytestmark = pytest.mark.fault

WRITERS, AWAY = 16, 30.0

PACED = '''
"""A paper whose runs take a while and log all the time; the last one waits until the server is back."""
from dataclasses import dataclass
from harness import Method, Metric, Paper, hookimpl, setting

@dataclass
class Task:
    steps: int = setting(60, "points of a curve")

@dataclass
class Data:
    pass

@dataclass
class Rate:
    rate: float = setting(1.0, "how fast it falls")

@hookimpl
def paper():
    return Paper(
        title="Paced", authors="", year=2026, url="", task=Task, data=Data,
        methods={"slow": Method(Rate(), "slow"), "fast": Method(Rate(2.0), "fast", baseline=True)},
        metrics={"score": Metric("higher", "a number")}, claims=[], budgets={"smoke": {}, "small": {}, "full": {}},
    )

@hookimpl
def prepare(data_dir):
    (data_dir / "ready").touch()

@hookimpl
def train(run):
    import os, time
    from pathlib import Path
    for step in range(run.task.steps):
        run.log(step, loss=1 / (1 + run.method.rate * step), clock=time.time())
        run.progress(step, run.task.steps)
        time.sleep(0.05)
    while (run.name, run.seed) == ("fast", 1) and not Path(os.environ["BACK"]).exists():
        time.sleep(0.1)

@hookimpl
def evaluate(run, split):
    return {"score": run.method.rate + run.seed}
'''


@pytest.fixture
def driver(harness, team):
    """A sweep of four runs, one after another, that is mirrored to the team's server; ended with the test."""
    install(harness.folder, "paced", PACED)
    words = ("run", "-m", "method=paced/slow,paced/fast", "seed=0,1", "hydra.launcher.n_jobs=1", "device=cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(harness.folder))
        patch.setenv("BACK", str(harness.folder / "back"))
        driver = harness.start(*words, f"tracking.uri={team[0].uri}")
    yield driver
    driver.kill()


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """A server on PostgreSQL, and its database."""
    database = Postgres()
    database.start()
    server = Server(tmp_path_factory.mktemp("team"), database.uri)
    server.start()
    yield server, database
    server.kill()
    database.remove()


def held_once(client, paper: str, results: Path) -> int:
    """Check that a store holds every number of a results folder once, in a run that ended; return how many runs."""
    runs = client.search_runs([client.get_experiment_by_name(paper).experiment_id], max_results=1000)
    children = {run.data.tags["run_key"]: run for run in runs if "run_key" in run.data.tags}
    paths = {path.parent.name: path for path in (results / "runs" / paper).rglob("result.json")}
    assert children.keys() == paths.keys()
    assert len(children) == sum("run_key" in run.data.tags for run in runs)
    assert {run.info.status for run in runs} == {"FINISHED"}
    for key, path in paths.items():
        run_id = children[key].info.run_id
        rows = [json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
        for name in rows[0].keys() - {"step"}:
            history = client.get_metric_history(run_id, name)
            assert [(p.step, p.value) for p in history] == [(row["step"], row[name]) for row in rows]
        for name, value in json.loads(path.read_text())["metrics"].items():
            assert [p.value for p in client.get_metric_history(run_id, f"test/{name}")] == [value]
        kept = {file.path: file.file_size for file in client.list_artifacts(run_id)}
        assert kept["result.json"] == path.stat().st_size
    return len(children)


def _write(place: int, uri: str, results: Path, shared: Path, barrier) -> None:
    """Mirror a run as it grows, as a driver does, and one that all the others mirror too."""
    from mlflow.exceptions import MlflowException

    from harness.runs.mirror import Mirror

    def sure(do):
        """Do it until the server has answered, as a driver does."""
        for _ in range(10):
            with contextlib.suppress(MlflowException):
                return do()
            time.sleep(1.0)
        raise AssertionError("the server answered ten times in vain")

    store = Mirror(uri)
    folder = next((results / "runs" / "toy" / "toy").glob(f"*/writer-{place}")).parent
    ended, curve = folder / "result.json", folder / "metrics.jsonl"
    whole, later = curve.read_text(), ended.rename(folder / "later.json")
    (folder / "config.json").write_text(json.dumps(json.loads(later.read_text())["config"]))
    barrier.wait()
    parent = sure(lambda: store.open_sweep("toy", f"sweep-{place}", "harness run"))
    curve.write_text(whole[: len(whole) // 3])  # in the middle of a line
    sure(lambda: store.copy(folder, lambda: parent))
    curve.write_text(whole)
    sure(lambda: store.copy(folder, lambda: parent))
    later.rename(ended)
    sure(lambda: store.copy(folder, lambda: parent))
    sure(lambda: store.copy(shared, lambda: parent))
    sure(lambda: store.copy(folder, lambda: parent))  # once more changes nothing
    sure(lambda: store.close_sweep(parent, failed=False))


def test_sixteen_writers_at_once_lose_no_metric(team, tmp_path):
    import mlflow.store.tracking.rest_store  # noqa: F401  # once, for all the forks
    from mlflow import MlflowClient

    from harness.runs.mirror import fetch

    server, _ = team
    for seed in range(WRITERS + 1):
        points = 510 if seed == 0 else 90  # two curves of 510 points: more than one log_batch takes
        curve = {"loss": [1 / (1 + i + seed) for i in range(points)], "rate": [float(seed)] * points}
        items = {"accuracy": answers(0.8, seed)}
        record = write_run(tmp_path, "toy", seed, {"accuracy": 0.8 + seed / 1e6}, items=items, curve=curve)
        (record.folder / f"writer-{seed}").touch()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(WRITERS)
    writers = [
        context.Process(target=_write, args=(place, server.uri, tmp_path, record.folder, barrier))
        for place in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert held_once(MlflowClient(server.uri), "toy", tmp_path) == WRITERS + 1
    fetched = fetch(server.uri, tmp_path / "cache", ["toy"])
    assert sorted(r.result.metrics["accuracy"] for r in fetched) == [
        0.8 + seed / 1e6 for seed in range(WRITERS + 1)
    ]
    assert all(len(r.items["accuracy"].ids) == 250 for r in fetched)


def test_a_server_killed_for_half_a_minute_in_mid_sweep_loses_nothing_and_holds_nothing_twice(
    harness, team, driver
):
    from mlflow import MlflowClient

    server, database = team
    client = MlflowClient(server.uri)

    def second_is_under_way() -> bool:
        """Say whether a run is in the store whole and another one with its first points."""
        experiment = client.get_experiment_by_name("paced")
        runs = client.search_runs([experiment.experiment_id], "tags.run_key != ''") if experiment else []
        going = [run for run in runs if run.info.status == "RUNNING" and "loss" in run.data.metrics]
        return len(runs) == 2 and len(going) == 1

    wait_for(second_is_under_way, 420)
    server.kill()
    database.kill()
    time.sleep(AWAY)
    ended = len(list((harness.folder / "results" / "runs").glob("*/*/*/result.json")))
    assert ended == 3  # the runs went on; the fourth waits
    assert driver.poll() is None
    database.start()
    server.start()
    (harness.folder / "back").touch()
    _, said = driver.communicate(timeout=420)
    assert driver.returncode == 0, said
    assert "4 finished; 0 already there; 0 failed" in said
    assert "the runs go on" in said
    assert held_once(client, "paced", harness.folder / "results") == 4
