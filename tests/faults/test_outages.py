"""A store that is away and a disk that is full cost no finished run, and are told by name."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

pytestmark = pytest.mark.fault

SMOKE = ("budget=smoke", "device=cpu")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """An MLflow tracking server on this machine, that can be killed and started again."""

    def __init__(self, folder) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        words = ["server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/server.db", "--serve-artifacts"]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "mlflow",
                *words,
                *store,
                "--artifacts-destination",
                str(self.folder / "artifacts"),
            ],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.time() + 120
        while time.time() < until:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1)
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError("the server did not come up")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


def test_a_server_that_dies_midway_loses_nothing_and_logs_nothing_twice(harness, text, server):
    from mlflow import MlflowClient

    words = (
        "run",
        "-m",
        "method=alibi/alibi",
        "seed=0,1",
        *SMOKE,
        "task.steps=300",
        "task.schedule_steps=300",
    )
    words = (*words, f"data.corpus={text}", f"tracking.uri={server.uri}", "hydra.launcher.n_jobs=1")
    server.start()
    driver = subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        cwd=harness.folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    until = time.time() + 120
    while not list((harness.folder / "results" / "runs").rglob("result.json")) and time.time() < until:
        time.sleep(0.1)
    server.kill()
    _, said = driver.communicate(timeout=300)
    assert driver.returncode == 1
    assert "2 finished" in said
    assert "not all mirrored" in said
    assert "Traceback" not in said

    server.start()
    assert "2 already there" in harness(*words).stderr
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("alibi")
    runs = client.search_runs([experiment.experiment_id], "tags.run_key != ''")
    assert len(runs) == 2
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        (folder,) = (harness.folder / "results" / "runs").glob(f"*/*/{run.data.tags['run_key']}")
        steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [p.step for p in client.get_metric_history(run.info.run_id, "loss")] == steps
        assert len(client.get_metric_history(run.info.run_id, "test/perplexity_1L")) == 1
        assert {"result.json", "items.parquet"} <= {f.path for f in client.list_artifacts(run.info.run_id)}


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of three megabytes; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_fails_the_run_by_name_and_keeps_earlier_ones(harness, text, tiny_disk):
    words = (
        "run",
        "method=alibi/alibi",
        *SMOKE,
        f"data.corpus={text}",
        f"results={tiny_disk}/results",
        "tracking=off",
    )
    harness(*words)
    done = harness(*words, "task.width=512", "task.feedforward=2048", code=1)
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr or "disk_full" in done.stderr
    rows = json.loads(harness("status", "--json", "--results", f"{tiny_disk}/results").stdout)
    assert [row["state"] for row in rows].count("finished") == 1
    again = harness(*words, "seed=1", code=1)
    assert "cannot be written (No space left on device)" in again.stderr
