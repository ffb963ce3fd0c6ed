"""One store, many at once, or while runs go on: nothing fails, nothing is lost, nothing is there twice."""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.runs.mirror import Mirror, fetch, up_to_date
from harness.runs.results import find_runs, local_store
from tests.faults.test_kills import wait_for
from tests.papers.test_plugins import install
from tests.records import write_run

pytestmark = pytest.mark.fault


def _first_start(folder, barrier) -> None:
    from harness.runs.mirror import Mirror

    barrier.wait()
    store = Mirror(f"sqlite:///{folder / 'mlflow.db'}")
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


QUICK = '''
"""A paper whose runs take no time."""
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
        title="Quick", authors="", year=2026, url="", task=Task, data=Data,
        methods={"quick": Method(Rate(2.0), "quick"), "plain": Method(Rate(), "plain", baseline=True)},
        metrics={"score": Metric("higher", "a number")}, claims=[], budgets={"smoke": {}, "small": {}, "full": {}},
    )

@hookimpl
def prepare(data_dir):
    (data_dir / "ready").touch()

@hookimpl
def train(run):
    run.log(1, loss=run.method.rate)

@hookimpl
def evaluate(run, split):
    return {"score": run.method.rate + run.seed / 10}
'''


# One results folder, whatever it is called and wherever it was put

ODD = ["res%20b", "a b ü#1%20?x", "한글 폴더", "😀 ok", "it's [v2], x=1"]


def _runs(results: Path) -> dict[str, Any]:
    """Return the runs of the toy paper in a results folder's own store, by key."""
    from mlflow import MlflowClient

    client = MlflowClient(local_store(results))
    experiment = client.get_experiment_by_name("toy")
    found = client.search_runs([experiment.experiment_id], "tags.run_key != ''") if experiment else []
    return {run.data.tags["run_key"]: run for run in found}


def _mirrored(results: Path, *seeds: int) -> None:
    """Make runs and mirror them, in a process of its own as a command does: MLflow keeps a file open."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as apart:
        apart.submit(_mirror, results, seeds).result()


def _mirror(results: Path, seeds: tuple[int, ...]) -> None:
    store = Mirror(local_store(results))
    for seed in seeds:
        store.copy(write_run(results, "toy", seed, {"accuracy": 0.5}, curve={"loss": [1.0, 0.5]}).folder)


def _kept(results: Path) -> list[int]:
    """Return the seeds of the runs whose result files lie in a results folder's own store of files."""
    return sorted(
        json.loads(p.read_text())["run_key"] for p in (results / "mlartifacts").rglob("result.json")
    )


@pytest.mark.parametrize("name", ODD)
def test_a_results_folder_may_have_any_name(tmp_path, name):
    results = tmp_path / name
    results.mkdir()
    _mirrored(results, 0)
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing beside it
    assert (results / "mlflow.db").stat().st_size
    assert len(_runs(results)) == len(_kept(results)) == 1
    folders = [record.folder for record in find_runs(results)]
    assert up_to_date(local_store(results), folders)
    fetched = fetch(local_store(results), tmp_path / "cache")
    assert [record.result.metrics for record in fetched] == [{"accuracy": 0.5}]


def test_a_command_runs_in_a_results_folder_of_an_odd_name(harness, monkeypatch):
    install(harness.folder, "toy_quick", QUICK)
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    name = "a b ü#1%20?x 한글 😀"
    words = ("run", "method=toy_quick/quick", "budget=smoke", "device=cpu", f'results="{name}"')
    assert "1 finished" in harness(*words).stderr
    assert "1 already there" in harness(*words).stderr
    assert len(list((harness.folder / name / "mlartifacts").rglob("result.json"))) == 1
    assert not [p for p in harness.folder.iterdir() if p.name.startswith("a b") and p.name != name]
    assert "done" in harness("status", "--results", name).stdout


def test_a_copied_results_folder_writes_into_itself(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    _mirrored(a, 0, 1)
    before = _kept(a)
    shutil.copytree(a, b)
    _mirrored(b, 2)
    assert _kept(a) == before
    assert len(_kept(b)) == 3
    assert all(run.info.artifact_uri.startswith((b / "mlartifacts").as_uri()) for run in _runs(b).values())
    assert all(run.info.artifact_uri.startswith((a / "mlartifacts").as_uri()) for run in _runs(a).values())
    shutil.rmtree(a)  # a moved one, whose old place is gone, can still be read and repeated
    assert len(fetch(local_store(b), tmp_path / "cache")) == 3
    b.rename(tmp_path / "c")
    _mirrored(tmp_path / "c", 3)
    assert len(_kept(tmp_path / "c")) == 4
    assert not b.exists()


def test_a_run_whose_files_were_not_copied_keeps_its_place(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    _mirrored(a, 0)
    shutil.copy(a / "mlflow.db", b)
    _mirrored(b, 1)
    places = sorted(run.info.artifact_uri for run in _runs(b).values())
    assert [(a / "mlartifacts").as_uri() in places[0], (b / "mlartifacts").as_uri() in places[1]] == [
        True,
        True,
    ]


def test_a_deleted_experiment_is_restored_with_its_runs(tmp_path):
    from mlflow import MlflowClient

    _mirrored(tmp_path, 0)
    client = MlflowClient(local_store(tmp_path))
    client.delete_experiment(client.get_experiment_by_name("toy").experiment_id)
    _mirrored(tmp_path, 0, 1)
    assert len(_runs(tmp_path)) == 2
    assert client.get_experiment_by_name("toy").lifecycle_stage == "active"


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"scribble" * 512)


def _hole(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 65536)


@pytest.mark.parametrize("damage", [_cut, _scribble, _hole])
def test_a_damaged_store_is_told_with_the_fix_and_the_fix_works(tmp_path, damage):
    _mirrored(tmp_path, 0, 1)
    damage(tmp_path / "mlflow.db")
    with pytest.raises(HarnessError, match=r"mlflow\.db is damaged \(.*\): move that file away"):
        _mirrored(tmp_path, 0)
    (tmp_path / "mlflow.db").rename(tmp_path / "damaged.db")
    _mirrored(tmp_path, 0, 1)
    assert len(_runs(tmp_path)) == 2


def test_an_emptied_store_is_made_anew(tmp_path):
    _mirrored(tmp_path, 0)
    (tmp_path / "mlflow.db").write_bytes(b"")
    _mirrored(tmp_path, 0)
    assert len(_runs(tmp_path)) == 1


def test_a_results_folder_that_may_only_be_read_is_told_and_judged(harness, monkeypatch):
    """The mount is a real one: a bind mount that is read-only, so root may not write either."""
    install(harness.folder, "toy_quick", QUICK)
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    harness("run", "-m", "method=toy_quick/quick,toy_quick/plain", "seed=0,1,2", "budget=smoke", "device=cpu")
    results, place = harness.folder / "results", harness.folder / "mounted"
    interrupted = next(p for p in (results / "runs" / "toy_quick" / "quick").iterdir() if p.is_dir())
    (interrupted / "result.json").unlink()
    (interrupted / "progress.json").write_text(
        json.dumps({"done": 1, "total": 2, "seed": 0, "budget": "smoke"})
    )
    interrupted.with_name(f"{interrupted.name}.lock").unlink(missing_ok=True)
    place.mkdir()
    for words in (["--bind", results, place], ["-o", "remount,ro,bind", place]):
        if subprocess.run(["mount", *words], capture_output=True).returncode:
            pytest.skip("mounting needs root")
    try:
        with pytest.raises(OSError, match="Read-only"):
            (place / "x").touch()
        assert "interrupted" in harness("status", "--results", str(place)).stdout
        compared = harness("compare", "toy_quick/quick", "toy_quick/plain", "--results", str(place))
        assert "only printed" in compared.stderr
        reported = harness("report", "toy_quick", "--results", str(place))
        assert "only printed" in reported.stderr
        for done in (compared, reported):
            assert "Traceback" not in done.stderr
            assert done.stdout
    finally:
        subprocess.run(["umount", place], check=True)


# Passwords

PASSWORD = "hunter2/with@signs"


def test_a_password_in_the_address_reaches_no_message_and_no_file(harness, monkeypatch):
    install(harness.folder, "toy_quick", QUICK)
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    address = f"http://alice:{PASSWORD}@127.0.0.1:9"
    sweep = ("-m", "method=toy_quick/quick,toy_quick/plain", "budget=smoke", "device=cpu")
    (harness.folder / "mine").mkdir()
    (harness.folder / "mine" / "team.yaml").write_text(f"# @package tracking\nuri: {address}\n")
    for words in (
        ("run", *sweep, f"tracking.uri='{address}'"),
        ("run", *sweep, "seed=1", f"hydra.searchpath=[file://{harness.folder}]", "+mine=team"),
        ("run", *sweep, f"tracking.uri={address}", "seed=1e"),
        ("run", f"tracking.uri={address}", "="),
        ("report", "toy_quick", "--from", address),
    ):
        done = harness(*words, code=None)
        assert done.returncode in (1, 2), words
        for half in PASSWORD.split("/"):
            assert half not in done.stderr + done.stdout, words
    told = "".join(
        p.read_text(errors="replace") for p in (harness.folder / "results").rglob("*") if p.is_file()
    )
    assert "***@127.0.0.1:9" in told  # multirun.yaml, which Hydra writes
    for half in PASSWORD.split("/"):
        assert half not in told


def test_the_store_holds_the_command_without_a_password(harness, monkeypatch):
    install(harness.folder, "toy_quick", QUICK)
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    store = f"sqlite:///{harness.folder}/other.db?password={PASSWORD}"
    harness("run", "method=toy_quick/quick", "budget=smoke", "device=cpu", f"tracking.uri='{store}'")
    assert b"hunter2" not in (harness.folder / "other.db").read_bytes()
    assert b"password=***" in (harness.folder / "other.db").read_bytes()


@contextlib.contextmanager
def _asking() -> Iterator[str]:
    """Serve a store's first answer to alice with her password, and 401 to anybody else; yield its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == f"Basic {b64encode(b'alice:hunter2').decode()}"
            body = b'{"experiments": []}' if known else b"You are not authenticated"
            self.send_response(200 if known else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_asks_who_you_are_is_told_by_the_environment(monkeypatch):
    with _asking() as address:
        with pytest.raises(
            HarnessError, match=r"401.*: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        ):
            Mirror(f"http://{address}")
        Mirror(f"http://alice:hunter2@{address}")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
        Mirror(f"http://{address}")
