"""A sweep on Slurm by submitit's launcher: slurmctld, slurmd and munged are real, on this machine alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.faults.slurm import missing, slurm
from tests.faults.test_failures import PLUGIN
from tests.papers.test_plugins import install

pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'paper-harness[slurm]'")
pytestmark = [pytest.mark.fault, pytest.mark.skipif(bool(missing()), reason=missing())]

ON_SLURM = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=here", "budget=smoke", "tracking=off")


@pytest.fixture(scope="module")
def environ():
    """Slurm, in a folder of a short name: munge's socket has a limit, and its folder must be open to read."""
    folder = Path(tempfile.mkdtemp(prefix="s-"))
    folder.chmod(0o755)
    with slurm(folder) as environ:
        yield environ
    shutil.rmtree(folder)


def test_each_run_is_a_job_of_slurm_and_the_same_command_starts_none(harness, environ):
    install(harness.folder, "ways", PLUGIN.replace('"the last words"', '"job", os.environ["SLURM_JOB_ID"]'))
    words = ("run", "-m", "method=ways/well,ways/raises", "seed=0,1", *ON_SLURM)
    done = harness(*words, code=1, PYTHONPATH=str(harness.folder), **environ)
    assert "2 finished; 0 already there; 2 failed" in done.stderr
    logs = [path.read_text() for path in (harness.folder / "results" / "runs").glob("*/*/*/log.txt")]
    assert len({line for log in logs for line in log.splitlines() if line.startswith("job ")}) == 4
    again = harness(
        "run", "-m", "method=ways/well", "seed=0,1", *ON_SLURM, PYTHONPATH=str(harness.folder), **environ
    )
    assert "0 finished; 2 already there; 0 failed" in again.stderr


def test_a_driver_that_is_killed_costs_no_finished_run_and_the_same_command_goes_on(harness, environ):
    slow = PLUGIN.replace('print("the last words")', "time.sleep(2)")
    install(harness.folder, "ways", slow)
    words = ("run", "-m", "method=ways/well", "seed=0,1,2", *ON_SLURM)
    around = {**os.environ, **environ, "PYTHONPATH": str(harness.folder)}
    driver = subprocess.Popen(
        [sys.executable, "-m", "harness", *words], cwd=harness.folder, env=around, stderr=subprocess.DEVNULL
    )
    runs = harness.folder / "results" / "runs"
    until = time.monotonic() + 120
    while not (finished := list(runs.glob("*/*/*/result.json"))):
        assert time.monotonic() < until, "no run ended"
        time.sleep(0.1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    done = harness(*words, PYTHONPATH=str(harness.folder), **environ)
    assert "0 failed" in done.stderr
    starts = {path.parent: path.read_text().splitlines() for path in runs.glob("*/*/*/starts.jsonl")}
    assert len(starts) == 3
    assert all(len(starts[path.parent]) == 1 for path in finished)
    assert all(
        json.loads(path.read_text())["status"] == "finished" for path in runs.glob("*/*/*/result.json")
    )


def test_a_job_that_is_cancelled_is_a_failed_run_and_the_same_command_goes_on(harness, environ):
    install(
        harness.folder, "ways", PLUGIN.replace('print("the last words")', "time.sleep(5 * (run.seed == 1))")
    )
    words = ("run", "-m", "method=ways/well", "seed=0,1", *ON_SLURM)
    around = {**os.environ, **environ, "PYTHONPATH": str(harness.folder)}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    driver = subprocess.Popen(
        [sys.executable, "-m", "harness", *words], cwd=harness.folder, env=around, **streams
    )
    runs = harness.folder / "results" / "runs"
    until = time.monotonic() + 120
    while not list(runs.glob("*/*/*/result.json")) or len(list(runs.glob("*/*/*/starts.jsonl"))) < 2:
        assert time.monotonic() < until, "not one run ended and one begun"
        time.sleep(0.05)
    subprocess.run(["scancel", "--user=root"], env=around, check=True)
    said = driver.communicate(timeout=120)[1]
    assert driver.returncode == 1, said
    assert "1 finished; 0 already there; 1 failed" in said
    assert "Traceback" not in said
    done = harness(*words, PYTHONPATH=str(harness.folder), **environ)
    assert "1 finished; 1 already there; 0 failed" in done.stderr
