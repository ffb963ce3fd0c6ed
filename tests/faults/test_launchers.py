"""Hydra's own launchers and sweepers work, and whoever launches, no more runs go on than there are slots."""

import itertools
import json
import os
import subprocess
import sys
import time

import pytest

from tests.faults.conftest import without_torch
from tests.faults.test_failures import PLUGIN
from tests.papers.test_plugins import install

pytestmark = pytest.mark.fault


def spans(harness) -> list[tuple[float, float]]:
    """Return when each run began and ended, in order."""
    found = []
    for path in (harness.folder / "results" / "runs").glob("*/*/*/result.json"):
        (start,) = (path.parent / "starts.jsonl").read_text().splitlines()
        begun = json.loads(start)["time"]
        found.append((begun, begun + json.loads(path.read_text())["timings"]["total"]))
    return sorted(found)


def test_submitit_starts_all_jobs_at_once_and_runs_take_turns(harness):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install hydra-submitit-launcher")
    slow = PLUGIN.replace('print("the last words")', "time.sleep(0.3)")
    install(harness.folder, "ways", slow)
    without_torch(harness.folder)
    words = ("run", "-m", "method=ways/well,ways/raises,ways/diverges", "hydra/launcher=submitit_local")
    done = harness(*words, "leases.cpus=1", "tracking=off", code=1, PYTHONPATH=str(harness.folder))
    assert "1 finished; 0 already there; 2 failed" in done.stderr
    found = spans(harness)
    assert len(found) == 3
    assert all(one[1] <= two[0] + 0.05 for one, two in itertools.pairwise(found))


def test_a_job_of_submitit_that_is_killed_is_told_and_the_same_command_goes_on(harness):
    import psutil

    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install hydra-submitit-launcher")
    waits = "time.sleep(8 if 'SLOW' in os.environ else 0)"
    install(harness.folder, "ways", PLUGIN.replace('print("the last words")', waits))
    without_torch(harness.folder)
    words = ("run", "-m", "method=ways/well", "seed=0", "hydra/launcher=submitit_local", "tracking=off")
    around = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(harness.folder), "SLOW": "1"}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    driver = subprocess.Popen(
        [sys.executable, "-m", "harness", *words], cwd=harness.folder, env=around, **streams
    )
    until = time.monotonic() + 120
    runs = harness.folder / "results" / "runs"
    while not (
        begun := [line for path in runs.glob("*/*/*/starts.jsonl") for line in path.read_text().splitlines()]
    ):
        assert time.monotonic() < until, "no run began"
        time.sleep(0.05)
    run = psutil.Process(json.loads(begun[0])["pid"])
    run.parent().parent().kill()  # above it are the fork server and submitit's own process
    said = driver.communicate(timeout=120)[1]
    assert driver.returncode == 1, said
    assert "0 finished; 0 already there; 0 failed; 1 not started" in said
    assert "harness: 1 runs not started or broken off: a job of submitit was ended (" in said
    assert "Traceback" not in said
    done = harness(*words, PYTHONPATH=str(harness.folder))
    assert "1 finished; 0 already there; 0 failed" in done.stderr


def test_optuna_takes_the_objective_and_steers_clear_of_a_run_that_fails(harness):
    pytest.importorskip("optuna", reason="pip install hydra-optuna-sweeper (with optuna 2.10)")
    install(harness.folder, "ways", PLUGIN)
    words = ("run", "-m", "method=ways/well", "method.end=choice(well,raises)", "hydra/sweeper=optuna")
    more = ("hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=1", "hydra.sweeper.direction=maximize")
    some = ("hydra.sweeper.sampler.seed=0", "objective=score", "tracking=off", "hydra.sweep.dir=search")
    done = harness(*words, *more, *some, code=1, PYTHONPATH=str(harness.folder))
    assert "Traceback" not in done.stderr
    (journal,) = (harness.folder / "results" / "sweeps").glob("*.jsonl")
    outcomes = {json.loads(line)["outcome"] for line in journal.read_text().splitlines()}
    assert {"finished", "failed"} <= outcomes
    best = harness.folder / "search" / "optimization_results.yaml"
    assert "method.end: well" in best.read_text()
    assert "best_value: 1.0" in best.read_text()
