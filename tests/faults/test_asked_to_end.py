"""Ctrl-C, SIGTERM, SIGHUP, and a worker that is killed: one sentence, the right exit code, nobody left behind."""

import functools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest

from tests.faults.conftest import without_torch
from tests.faults.test_kills import start, started_as, wait_for, workers
from tests.papers.test_plugins import install

pytestmark = pytest.mark.fault

PLUGIN = '''
"""A paper that only waits."""
from dataclasses import dataclass
from harness import Claim, Method, Metric, Paper, difference, hookimpl, setting

@dataclass
class Task:
    seconds: float = setting(0.2, "how long a run takes")

@dataclass
class Data:
    pass

@dataclass
class How:
    level: float = setting(1.0, "what it scores")

@hookimpl
def paper():
    return Paper(
        title="Waiting", authors="", year=2026, url="", task=Task, data=Data,
        methods={"more": Method(How(2.0), "more"), "less": Method(How(), "less", baseline=True)},
        metrics={"score": Metric("higher", "a number")},
        claims=[Claim("more is more", difference("score", "more", "less"), "1")],
        budgets={"smoke": {}, "small": {}, "full": {}},
    )

@hookimpl
def prepare(data_dir):
    (data_dir / "ready").touch()

@hookimpl
def train(run):
    import time
    run.progress(1, 3)
    (run.folder / "training").touch()
    time.sleep(run.task.seconds)

@hookimpl
def evaluate(run, split):
    return {"score": run.method.level + run.seed / 100}
'''
SETTINGS = ("budget=smoke", "device=cpu", "task.seconds=600", "tracking=off")
COMMANDS = {
    "run": ("run", "method=waits/more", *SETTINGS),
    "run -m": ("run", "-m", "method=waits/more,waits/less", "seed=0,1", *SETTINGS),
    "decide": ("decide", "method=waits/more,waits/less", *SETTINGS),
}
GOES_ON, TAKES_UP = " to go on where it stopped", "; it takes up what it had kept, if anything"


@pytest.fixture
def waits(harness, monkeypatch):
    install(harness.folder, "waits", PLUGIN)
    without_torch(harness.folder)
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    monkeypatch.setenv("HARNESS_LEASES", str(harness.folder / "leases"))
    return harness


def training(harness) -> list:
    return list((harness.folder / "results" / "runs").glob("*/*/*/training"))


def asked(harness, driver, number: int, group: bool = False, fix: str = TAKES_UP) -> str:
    """Ask a command, or its whole group as a terminal does, to end; return what it said."""
    began = time.monotonic()
    (os.killpg if group else os.kill)(driver.pid, number)
    _, said = driver.communicate(timeout=60)
    took = time.monotonic() - began
    assert driver.returncode == 128 + number, said
    assert took < 5, said
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if "ended by" in line]
    assert line.startswith(f"harness: ended by {signal.Signals(number).name}: ")
    assert line.endswith(f"; repeat the command{fix}")
    wait_for(lambda: not workers(harness), 5)
    return line


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGHUP, True)],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM of all", "SIGHUP of all"],
)
def test_what_is_asked_to_end_says_what_stands_and_ends(waits, command, number, group):
    driver = waits.start(*COMMANDS[command])
    wait_for(lambda: training(waits))
    line = asked(waits, driver, number, group, GOES_ON)
    runs = {"run": 1, "run -m": 4, "decide": 2}[command]  # each method is tried with one seed first
    assert f"0 of {runs} runs are finished" in line
    assert not list((waits.folder / "results").rglob("result.json"))  # it is no failure of the run
    states = {row["state"] for row in json.loads(waits("status", "--json").stdout)}
    assert states == {"interrupted"}


def test_a_gate_that_is_asked_to_end_takes_its_programs_with_it(waits):
    (waits.folder / "train.py").write_text("import time\nopen('training', 'w')\ntime.sleep(600)\n")
    run = f"{shlex.quote(sys.executable)} -S train.py {{change}} {{seed}}"
    words = ("gate", "1", "2", "--run", run, "--better", "higher")
    for number in (signal.SIGTERM, signal.SIGINT):
        (waits.folder / "training").unlink(missing_ok=True)
        driver = waits.start(*words)
        wait_for((waits.folder / "training").exists)
        asked(waits, driver, number)


def test_a_tool_that_is_asked_to_end_promises_nothing_and_leaves_no_half_of_its_file(waits):
    driver = waits.start("longskywork", "tables", "--count", "1000000", "--out", "synl.jsonl")
    wait_for(lambda: list(waits.folder.glob(".synl.jsonl.*")))
    asked(waits, driver, signal.SIGTERM)
    assert not list(waits.folder.glob("*synl.jsonl*"))


SWALLOWS = """
import sys, time
from harness.commands.door.stopping import stopping, tell
from harness.errors import Stopped

try:
    with stopping():
        print("goes", flush=True)
        for _ in range(int(sys.argv[1])):
            try:
                time.sleep(60)
            except BaseException:
                pass
        try:
            time.sleep(60)
        finally:
            time.sleep(1.5)
            print("tidied", flush=True)
except Stopped as stop:
    tell(stop)
    raise SystemExit(128 + stop.number)
"""


@pytest.mark.parametrize("times", [0, 1, 3])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_a_library_swallows_is_raised_again_and_what_tidies_is_let_tidy(times, number):
    words = [sys.executable, "-c", SWALLOWS, str(times)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    heard = functools.partial(signal.signal, number, signal.SIG_DFL)  # also where this process hears of none
    with subprocess.Popen(words, **streams, preexec_fn=heard) as process:
        assert process.stdout.readline() == "goes\n"
        time.sleep(0.3)  # until it sleeps
        process.send_signal(number)
        time.sleep(0.3)
        process.send_signal(number)  # a further one changes nothing
        out, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number, said
    assert out == "tidied\n"
    assert said.count("ended by") == 1
    assert "Traceback" not in said


MAKES_ANOTHER = """
import time
from harness.commands.door.stopping import stopping, tell
from harness.errors import Stopped

try:
    with stopping():
        print("goes", flush=True)
        try:
            time.sleep(60)
        except BaseException:
            raise RuntimeError("the query was interrupted") from None
except Stopped as stop:
    tell(stop)
    raise SystemExit(128 + stop.number)
"""


def test_what_a_library_makes_of_a_signal_is_told_as_the_signal():
    words = [sys.executable, "-c", MAKES_ANOTHER]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "goes\n"
        time.sleep(0.3)  # until it sleeps
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert said.startswith("\nharness: ended by SIGTERM: ")
    assert "Traceback" not in said


def test_a_signal_that_nohup_has_hidden_changes_nothing(waits):
    (waits.folder / "train.py").write_text("import time\nopen('training', 'w')\ntime.sleep(600)\n")
    run = f"{shlex.quote(sys.executable)} -S train.py {{change}} {{seed}}"
    driver = start(waits, "gate", "1", "2", "--run", run, "--better", "higher", hidden=signal.SIGHUP)
    wait_for((waits.folder / "training").exists)
    os.kill(driver.pid, signal.SIGHUP)
    time.sleep(1)
    assert driver.poll() is None
    asked(waits, driver, signal.SIGTERM)


def test_a_joblib_worker_that_is_killed_is_told_as_such_and_the_same_command_goes_on(waits):
    words = ("run", "-m", "method=waits/more", "seed=0,1,2", "budget=smoke", "device=cpu", "tracking=off")
    words = (*words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "leases.cpus=2", "task.seconds=2")
    driver = waits.start(*words)
    wait_for(lambda: len(training(waits)) == 3)  # the last one has begun, so another is finished
    lines = {process: started_as(process) for process in workers(waits)}
    for process, line in lines.items():
        if "loky" in line and "tracker" not in line:
            process.kill()
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 1, said
    told = re.search(
        r"(\d) runs not started or broken off: a joblib worker was ended \(killed\?\): repeat", said
    )
    assert told, said
    broken = int(told[1])
    assert f"{3 - broken} finished; 0 already there; 0 failed; {broken} not started" in said
    wait_for(lambda: not workers(waits), 5)
    done = waits(*words)  # one that had just finished may not have been told of
    counted = re.search(r"(\d) finished; (\d) already there; 0 failed", done.stderr)
    assert counted, done.stderr
    assert int(counted[1]) + int(counted[2]) == 3
    assert int(counted[2]) >= 3 - broken
