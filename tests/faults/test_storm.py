"""Twelve runs of which three fail, under a driver that is killed twice: repeat the command, and all is as if calm."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from tests.faults.test_kills import halfway, wait_for, workers
from tests.papers.test_plugins import install

pytestmark = pytest.mark.fault

SWEEP = ("run", "-m", "method=storm/first,storm/second,storm/third,storm/fourth", "seed=0,1,2", "device=cpu")
LIMITS = (
    "fit.checkpoint_seconds=0.2",
    "limits.minutes=0.2",
    "limits.memory_gb=16",
    "hydra.launcher.n_jobs=1",
)
FAILED = {("second", 0): "signal", ("third", 1): "oom", ("fourth", 2): "timeout"}


def results(folder: Path) -> dict[tuple, tuple[Path, dict]]:
    found = {}
    for path in (folder / "runs").glob("*/*/*/result.json"):
        with contextlib.suppress(FileNotFoundError):  # a failed run's, which is begun again just now
            result = json.loads(path.read_text())
            found[result["config"]["name"], result["config"]["seed"]] = path, result
    return found


def finished(folder: Path) -> dict[tuple, tuple[Path, dict]]:
    return {key: value for key, value in results(folder).items() if value[1]["status"] == "finished"}


def starts(path: Path) -> list[dict]:
    return [json.loads(line) for line in (path.parent / "starts.jsonl").read_text().splitlines()]


def test_a_sweep_survives_a_segfault_an_oom_a_hang_and_a_driver_that_is_killed_twice(harness, monkeypatch):
    install(harness.folder, "storm", (Path(__file__).parent / "storm.py").read_text())
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    monkeypatch.setenv("HARNESS_LEASES", str(harness.folder / "leases"))
    harness(*SWEEP, *LIMITS, "results=calm", "tracking=off", STORM="calm")
    calm = finished(harness.folder / "calm")
    assert len(calm) == 12

    here = harness.folder / "results"
    ended_before: dict[tuple, int] = {}
    for few in (1, 4):
        driver = harness.start(*SWEEP, *LIMITS)
        wait_for(lambda few=few: len(finished(here)) >= few and halfway(harness), 420)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait(60)
        wait_for(lambda: not workers(harness), 30)
        for key, (path, _) in finished(here).items():
            ended_before.setdefault(key, len(starts(path)))

    done = harness(*SWEEP, *LIMITS, code=1)
    assert f"{9 - len(ended_before)} finished; {len(ended_before)} already there; 3 failed" in done.stderr
    wait_for(lambda: not workers(harness), 30)

    found = results(here)
    assert len(found) == 12
    assert {key: result["error"]["type"] for key, (_, result) in found.items() if result["error"]} == FAILED
    for key, (path, result) in finished(here).items():
        assert result["metrics"] == calm[key][1]["metrics"]
        began = [line["time"] for line in starts(path)]
        assert began == sorted(began)
        assert 1 <= len(began) <= 3
        assert began[-1] < path.stat().st_mtime  # no start after the end
        if key in ended_before:
            assert len(began) == ended_before[key]  # what was finished was not begun again
        steps = [
            json.loads(line)["step"] for line in (path.parent / "metrics.jsonl").read_text().splitlines()
        ]
        assert steps == sorted(set(steps))
    assert any(len(starts(path)) > 1 for path, _ in found.values())  # the kills did hit runs
    assert set(FAILED) == set(found) - set(finished(here))
    mirrored(here, found)


def mirrored(here: Path, found: dict) -> None:
    """Check that the store holds each run once, whole, and in the state it ended in."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{here / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("storm").experiment_id])
    children = {
        (run.data.tags["method"], int(run.data.tags["seed"])): run
        for run in runs
        if "run_key" in run.data.tags
    }
    parents = [run for run in runs if "run_key" not in run.data.tags]
    assert len(children) == len(runs) - len(parents) == 12
    for key, run in children.items():
        assert run.info.status == ("FAILED" if key in FAILED else "FINISHED")
        if key in FAILED:
            assert run.data.tags["error"].startswith(FAILED[key])
        else:
            path, _ = found[key]
            logged = [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
            lines = (path.parent / "metrics.jsonl").read_text().splitlines()
            assert logged == [json.loads(line)["step"] for line in lines]
    assert {run.info.status for run in parents} == {"KILLED", "FAILED"}
