"""`rerun=true` keeps a finished result until the new one is there, however the rerun ends."""

import json
import signal
from pathlib import Path

import pytest

from harness.runs.results import read_result
from harness.sweeps import again
from harness.sweeps.again import settle
from tests.papers.test_plugins import install
from tests.records import write_run

pytestmark = pytest.mark.fault

PLUGIN = '''
"""A paper whose score and end come from outside."""
import os
from dataclasses import dataclass
from harness import Method, Metric, Paper, hookimpl, setting

@dataclass
class Task:
    size: int = setting(3, "nothing")

@dataclass
class Data:
    pass

@dataclass
class How:
    how: int = setting(0, "nothing")

@hookimpl
def paper():
    return Paper(
        title="Again", authors="", year=2026, url="", task=Task, data=Data,
        methods={"one": Method(How(), "one", baseline=True)},
        metrics={"score": Metric("higher", "a number")}, claims=[], budgets={"smoke": {}, "small": {}, "full": {}},
    )

@hookimpl
def prepare(data_dir):
    (data_dir / "ready").touch()

@hookimpl
def train(run):
    print("scoring", os.environ["SCORE"])
    (run.output_dir / "score").write_text(os.environ["SCORE"])
    run.log(1, loss=float(os.environ["SCORE"]))
    run.checkpoint.mkdir(exist_ok=True)
    if os.environ["END"] == "raises":
        raise LookupError("nothing to be found")
    if os.environ["END"] == "killed":
        os.kill(os.getpid(), 9)

@hookimpl
def evaluate(run, split):
    return {"score": float((run.output_dir / "score").read_text())}
'''


@pytest.fixture
def ran(harness, monkeypatch):
    """A run that has finished with a score of 1, and how to repeat it."""
    install(harness.folder, "again", PLUGIN)
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    words = ("run", "method=again/one", "budget=smoke", "device=cpu")

    def run(*more: str, score: int, end: str = "well", code: int | None = 0):
        return harness(*words, *more, code=code, SCORE=str(score), END=end)

    run(score=1)
    return run


def stands(harness, score: float) -> Path:
    """Check that a result of this score is what everybody reads; return its folder."""
    (row,) = json.loads(harness("status", "--json").stdout)
    assert row["state"] == "finished"
    folder = Path(row["folder"])
    result = read_result(folder)
    assert result is not None
    assert result.metrics == {"score": score}
    assert float((folder / "output" / "score").read_text()) == score
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["loss"] == score
    return folder


def test_a_rerun_that_fails_leaves_the_result_of_before_and_says_so(harness, ran):
    done = ran("rerun=true", score=2, end="raises", code=1)
    assert "LookupError: nothing to be found; the finished result of before stands" in done.stderr
    log = Path(done.stderr.partition("    log: ")[2].splitlines()[0])
    assert "scoring 2" in log.read_text()
    stands(harness, 1)
    assert "1 already there" in ran(score=3).stderr
    assert "1 finished" in ran("rerun=true", score=4).stderr
    folder = stands(harness, 4)
    assert not (folder / "again").exists()


@pytest.mark.parametrize("isolate", ["true", "false"])  # the run is killed, or the whole command
def test_a_rerun_that_is_killed_leaves_the_result_of_before_and_the_next_one_goes_on(harness, ran, isolate):
    done = ran("rerun=true", f"isolate={isolate}", score=2, end="killed", code=None)
    if isolate == "true":
        assert "ended by SIGKILL" in done.stderr
        assert "; the finished result of before stands" in done.stderr
    else:
        assert done.returncode == -signal.SIGKILL
    folder = stands(harness, 1)
    assert (folder / "again" / "checkpoint").is_dir()
    told = ran(score=3).stderr
    assert "1 already there" in told
    assert "a rerun came to no end, and the result of before stands" in told
    assert "1 finished" in ran("rerun=true", score=4).stderr
    assert not (stands(harness, 4) / "again").exists()


def test_a_rerun_of_what_failed_begins_anew(harness, ran):
    ran("seed=1", score=1, end="raises", code=1)
    assert "1 finished" in ran("seed=1", "rerun=true", score=2).stderr
    rows = json.loads(harness("status", "--json").stdout)
    assert [row["state"] for row in rows] == ["finished", "finished"]


@pytest.mark.parametrize("after", range(8))
def test_a_kill_while_the_new_takes_the_place_of_the_old_is_made_good(tmp_path, monkeypatch, after):
    """Stopped after each of its steps: what is read is the old result or the new one, and the next start settles it."""
    old = write_run(tmp_path, "toy", 0, {"accuracy": 0.25}, curve={"loss": [2.0]}).folder
    (old / "code.diff").write_text("what was changed then")
    new = write_run(tmp_path / "elsewhere", "toy", 0, {"accuracy": 0.5}, curve={"loss": [1.0, 0.5]}).folder
    new.rename(old / "again")
    steps = iter(range(after))

    class Killed(BaseException):
        pass

    def counted(function):
        def step(*words):
            if next(steps, None) is None:
                raise Killed
            return function(*words)

        return step

    with monkeypatch.context() as patched:
        patched.setattr(again, "_remove", counted(again._remove))
        patched.setattr(again.os, "replace", counted(again.os.replace))
        patched.setattr(again.shutil, "rmtree", counted(again.shutil.rmtree))
        try:
            settle(old)
        except Killed:
            found = read_result(old)
            assert found is not None
            assert found.metrics["accuracy"] in (0.25, 0.5)
    settle(old)
    found = read_result(old)
    assert found is not None
    assert found.metrics == {"accuracy": 0.5}
    assert not (old / "code.diff").exists()
    assert len((old / "metrics.jsonl").read_text().splitlines()) == 2
