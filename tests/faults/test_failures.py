"""A run never takes others with it: whatever ends it is told by name, and the next one runs."""

import json

import pytest

pytestmark = pytest.mark.fault

PLUGIN = '''
"""A paper whose methods fail in every way a process can."""
from dataclasses import dataclass
from harness import Method, Metric, Paper, hookimpl, setting

@dataclass
class Task:
    size: int = setting(3, "how much there is to do")

@dataclass
class Data:
    pass

@dataclass
class How:
    end: str = setting("well", "how the run ends")

ENDS = ("well", "raises", "leaves", "segfaults", "aborts", "hangs", "diverges")

@hookimpl
def paper():
    return Paper(
        title="Ways to fail", authors="", year=2026, url="", task=Task, data=Data,
        methods={end: Method(How(end), end, baseline=end == "well") for end in ENDS},
        metrics={"score": Metric("higher", "a number")}, claims=[], budgets={"smoke": {}, "small": {}, "full": {}},
    )

@hookimpl
def prepare(data_dir):
    (data_dir / "ready").touch()

@hookimpl
def train(run):
    import gc, os, signal, sys, time
    print("torch is there", "torch" in sys.modules, "and held still", gc.get_freeze_count() > 100_000)
    print("the last words")
    match run.method.end:
        case "raises": raise LookupError("nothing to be found")
        case "leaves": sys.exit(7)
        case "segfaults": os.kill(os.getpid(), signal.SIGSEGV)
        case "aborts": os.abort()
        case "hangs": time.sleep(3600)

@hookimpl
def evaluate(run, split):
    return {"score": float("nan") if run.method.end == "diverges" else 1.0}
'''

SAID = {
    "raises": ("LookupError", "nothing to be found"),
    "leaves": ("exit", "exit code 7"),
    "segfaults": ("signal", "SIGSEGV"),
    "aborts": ("signal", "SIGABRT"),
    "hangs": ("timeout", "raise limits.minutes"),
    "diverges": ("HarnessError", "'score' of diverges is nan"),
}


def test_each_way_to_fail_is_told_by_name_and_the_others_finish(harness):
    from tests.papers.test_plugins import install

    install(harness.folder, "ways", PLUGIN)
    methods = ",".join(f"ways/{end}" for end in ("well", *SAID))
    words = ("run", "-m", f"method={methods}", "limits.minutes=0.1", "budget=smoke")
    done = harness(*words, code=1, PYTHONPATH=str(harness.folder))
    assert "1 finished; 0 already there; 6 failed" in done.stderr
    for end, (kind, message) in SAID.items():
        (path,) = (harness.folder / "results" / "runs" / "ways" / end).glob("*/result.json")
        result = json.loads(path.read_text())
        assert result["status"] == "failed"
        assert result["error"]["type"] == kind
        assert message in result["error"]["message"]
        log = (path.parent / "log.txt").read_text()
        assert "torch is there True and held still True" in log  # else each run pays half a second more
        assert "the last words" in log
        assert f"{kind}: " in done.stderr
    states = json.loads(harness("status", "--json", PYTHONPATH=str(harness.folder)).stdout)
    assert sum(row["state"] == "failed" for row in states) == 6

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{harness.folder / 'results' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("ways").experiment_id])
    told = {run.data.tags["method"]: run for run in runs if "method" in run.data.tags}
    assert told["well"].info.status == "FINISHED"
    for end, (kind, _) in SAID.items():
        assert told[end].info.status == "FAILED"
        assert told[end].data.tags["error"].startswith(kind)
    (parent,) = [run for run in runs if "method" not in run.data.tags]
    assert parent.info.status == "FAILED"


def test_without_isolation_a_failure_is_still_that_runs_own(harness):
    from tests.papers.test_plugins import install

    install(harness.folder, "ways", PLUGIN)
    words = (
        "run",
        "-m",
        "method=ways/raises,ways/well",
        "isolate=false",
        "tracking=off",
        "hydra/launcher=basic",
    )
    done = harness(*words, code=1, PYTHONPATH=str(harness.folder))
    assert "1 finished; 0 already there; 1 failed" in done.stderr


def test_on_failure_stop_starts_nothing_more(harness):
    from tests.papers.test_plugins import install

    install(harness.folder, "ways", PLUGIN)
    words = (
        "run",
        "-m",
        "method=ways/raises,ways/well",
        "on_failure=stop",
        "tracking=off",
        "hydra/launcher=basic",
    )
    done = harness(*words, code=1, PYTHONPATH=str(harness.folder))
    assert "0 finished; 0 already there; 1 failed; 1 not started" in done.stderr
