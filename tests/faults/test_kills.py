"""Kill it anywhere, repeat the command, and only what is missing runs, with the same numbers."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = pytest.mark.fault

TRAINING = (
    "budget=smoke",
    "device=cpu",
    "task.steps=600",
    "task.schedule_steps=600",
    "fit.checkpoint_seconds=0.2",
)


def start(harness, *words: str, hidden: int = 0) -> subprocess.Popen:
    """Start a command as a terminal does, whatever started this process; `hidden` is a signal that it ignores."""

    def as_a_terminal_does() -> None:
        for number in (signal.SIGINT, signal.SIGHUP):  # a shell's background job ignores one, nohup the other
            signal.signal(number, signal.SIG_IGN if number == hidden else signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        cwd=harness.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=as_a_terminal_does,
    )


def wait_for(what, seconds: float = 120.0):
    """Return the first true value of `what()`."""
    until = time.time() + seconds
    while time.time() < until:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain")


def workers(harness) -> list[psutil.Process]:
    """Return every living process that works in this test's folder, as it was when it was looked at (`info`)."""
    found = []
    for process in psutil.process_iter(
        ["cwd"]
    ):  # the rest takes seven times as long, and this is asked all the time
        if process.info["cwd"] == str(harness.folder):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.info = process.as_dict(["cmdline", "status", "ppid"])
                if process.info["status"] != psutil.STATUS_ZOMBIE:
                    found.append(process)
    return found


def started_as(process: psutil.Process) -> str:
    """Return how a process of `workers` was started; it may have ended since."""
    return " ".join(process.info["cmdline"] or ())


def seen(process: psutil.Process) -> tuple[str, int, str]:
    """Return a process's state, its parent and its command, for a message."""
    return process.info["status"], process.info["ppid"], started_as(process)[:200]


def halfway(harness):
    """Return the folder of a run that has a checkpoint but no result yet, or None."""
    for folder in (harness.folder / "results" / "runs").glob("*/*/*/checkpoint"):
        if not (folder.parent / "result.json").exists() and any(folder.iterdir()):
            return folder.parent
    return None


def run_process(harness, driver) -> psutil.Process:
    """Return the process that trains: the only child of a child of the driver, its fork server."""
    parents = {p.pid: p.info["ppid"] for p in workers(harness)}
    (run,) = [pid for pid, parent in parents.items() if parents.get(parent) == driver.pid]
    return psutil.Process(run)


def metrics(harness) -> dict[str, dict[str, float]]:
    found = {}
    for path in (harness.folder / "results" / "runs").glob("*/*/*/result.json"):
        result = json.loads(path.read_text())
        found[f"{result['config']['name']}-{result['config']['seed']}"] = result["metrics"]
    return found


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, text, warm):
    """The metrics of runs that nobody disturbed."""
    from tests.conftest import Harness

    harness = Harness(tmp_path_factory.mktemp("unbroken"), warm)
    harness("run", "-m", "method=alibi/alibi", "seed=0,1", *TRAINING, f"data.corpus={text}", "tracking=off")
    return metrics(harness)


@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.5, 3.0, 5.0])
def test_a_driver_killed_in_its_first_seconds_leaves_nobody_behind(harness, text, seconds):
    """From the fork server's start on, amid its imports and the runs; what is slow here is a busy machine."""
    driver = start(harness, "run", "-m", "method=alibi/alibi", "seed=0,1,2", *TRAINING, f"data.corpus={text}")
    wait_for(lambda: [p for p in workers(harness) if "forkserver" in started_as(p)])
    time.sleep(seconds)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait(60)
    time.sleep(1.0)
    until = time.time() + 5.0
    while workers(harness) and time.time() < until:
        time.sleep(0.02)
    assert [seen(process) for process in workers(harness)] == []


@pytest.mark.parametrize(("victim", "seeds"), [("run", 1), ("everything", 1), ("driver", 2)])
def test_what_is_killed_in_mid_training_leaves_no_process_and_ends_with_the_numbers_of_one_never_killed(
    harness, text, unbroken, victim, seeds
):
    words = ("run", "method=alibi/alibi", *TRAINING, f"data.corpus={text}")
    words = words if seeds == 1 else (*words, "-m", "seed=0,1")  # as a sweep, by the driver's threads
    driver = harness.start(*words)
    folder = wait_for(lambda: halfway(harness))
    if victim == "run":
        run_process(harness, driver).kill()
        assert driver.wait(60) == 1
        result = json.loads((folder / "result.json").read_text())
        assert result["error"]["type"] == "signal"
        assert "SIGKILL" in result["error"]["message"]
    elif victim == "driver":
        os.kill(driver.pid, signal.SIGKILL)
    else:
        os.killpg(driver.pid, signal.SIGKILL)
        for process in workers(harness):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    driver.wait(60)
    wait_for(lambda: not workers(harness), 30)
    harness(*words)
    assert metrics(harness) == dict(sorted(unbroken.items())[:seeds])
    assert len((folder / "starts.jsonl").read_text().splitlines()) == 2
    logged_once(harness)


def logged_once(harness) -> None:
    """Check that MLflow holds every point of each curve exactly once, and that no run of a method is left RUNNING."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{harness.folder / 'results' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("alibi").experiment_id])
    assert "RUNNING" not in {run.info.status for run in runs}
    children = {run.data.tags["run_key"]: run for run in runs if "run_key" in run.data.tags}
    folders = list((harness.folder / "results" / "runs" / "alibi" / "alibi").glob("*/metrics.jsonl"))
    assert len(folders) == len(children)
    for path in folders:
        steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
        assert steps == sorted(set(steps))
        run = children[path.parent.name]
        assert [p.step for p in client.get_metric_history(run.info.run_id, "loss")] == steps
        assert run.info.status == "FINISHED"


def test_ctrl_c_stops_with_one_sentence_and_leaves_no_process(harness, text):
    steps = ("task.steps=100000", "task.schedule_steps=100000")
    driver = harness.start(
        "run", "method=alibi/alibi", *TRAINING, *steps, f"data.corpus={text}", "tracking=off"
    )
    wait_for(lambda: halfway(harness))
    os.kill(driver.pid, signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "repeat the command" in said
    assert "Traceback" not in said
    wait_for(lambda: not workers(harness), 30)


def test_a_run_that_takes_too_long_is_stopped_and_says_which_limit(harness, text):
    steps = ("task.steps=100000", "task.schedule_steps=100000", "limits.minutes=0.05")
    words = ("run", "method=alibi/alibi", *TRAINING, *steps, f"data.corpus={text}", "tracking=off")
    done = harness(*words, code=1)
    assert "timeout: stopped after 0.05 minutes: raise limits.minutes" in done.stderr
    wait_for(lambda: not workers(harness), 30)


def test_a_run_that_wants_too_much_memory_is_an_oom_and_the_next_one_runs(harness, text):
    words = ("run", "-m", "method=alibi/alibi", "task.width=16,200000", "budget=smoke", f"data.corpus={text}")
    done = harness(*words, "limits.memory_gb=16", "tracking=off", code=1)
    assert "1 finished; 0 already there; 1 failed" in done.stderr
    assert "oom" in done.stderr
