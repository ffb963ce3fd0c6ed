"""A full disk, results that may only be read, a cache that is gone: told by name, and no finished run is lost."""

import json
import subprocess

import pytest

from tests.faults.test_failures import PLUGIN
from tests.papers.test_plugins import install

pytestmark = pytest.mark.fault

SMOKE = ("budget=smoke", "device=cpu")


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


FILLS = '''
"""A paper whose runs fill the disk to its last byte, and then need it in a way of their own."""
import os
from dataclasses import dataclass
from harness import Items, Method, Metric, Paper, hookimpl, setting

@dataclass
class Task:
    size: int = setting(3, "nothing")

@dataclass
class Data:
    pass

@dataclass
class How:
    need: str = setting("", "what the disk is needed for then")

NEEDS = ("calm", "file", "torch", "safetensors", "log", "items", "result")

@hookimpl
def paper():
    return Paper(
        title="Fills", authors="", year=2026, url="", task=Task, data=Data,
        methods={need: Method(How(need), need, baseline=need == "calm") for need in NEEDS},
        metrics={"score": Metric("higher", "a number")}, claims=[], budgets={"smoke": {}, "small": {}, "full": {}},
    )

@hookimpl
def prepare(data_dir):
    (data_dir / "ready").touch()

@hookimpl
def train(run):
    import safetensors.torch, torch
    if run.method.need == "calm" or "FILL" not in os.environ:
        return
    with open(run.folder / "filler", "wb", buffering=0) as file:
        for size in (2**16, 2**10, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                pass
    match run.method.need:
        case "file": (run.output_dir / "x").write_text("x" * 100_000)
        case "torch": torch.save(torch.zeros(100_000), str(run.output_dir / "model.pt"))
        case "safetensors": safetensors.torch.save_file({"a": torch.zeros(100_000)}, run.output_dir / "a.safetensors")
        case "log":
            for _ in range(1000): print("x" * 1000)

@hookimpl
def evaluate(run, split):
    if run.method.need == "result":
        return {"score": 1.0}
    return {"score": Items({"value": [float(i) for i in range(10_000)]}, [str(i) for i in range(10_000)])}
'''


@pytest.mark.parametrize("tracking", ["off", ""], ids=["untracked", "tracked"])
@pytest.mark.parametrize("need", ["file", "torch", "safetensors", "log", "items", "result"])
def test_a_disk_full_to_its_last_byte_is_told_by_name_with_log_journal_and_store_on_it(
    harness, monkeypatch, tiny_disk, need, tracking
):
    if tracking == "" and need not in ("file", "result"):
        pytest.skip("the store's own part is tried with two of the ways")
    install(harness.folder, "fills", FILLS)
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    settings = ("budget=smoke", "device=cpu", f"results={tiny_disk}/results", f"tracking.uri={tracking}")
    harness("run", "method=fills/calm", *settings)
    words = ("run", f"method=fills/{need}", *settings)
    done = harness(*words, code=1, FILL="yes")
    assert "Traceback" not in done.stderr
    assert f"fills/{need} seed 0" in done.stderr
    assert "disk_full: " in done.stderr or "(No space left on device)" in done.stderr
    assert "put results= on another" in done.stderr
    assert "exit code" not in done.stderr
    rows = json.loads(harness("status", "--json", "--results", f"{tiny_disk}/results").stdout)
    assert [row["state"] for row in rows if row["method"] == "calm"] == ["finished"]
    subprocess.run(["mount", "-o", "remount,size=30m", str(tiny_disk)], check=True)
    assert "1 finished" in harness(*words).stderr


def test_results_that_may_only_be_read_are_named_and_still_tell_what_is_there(harness, text, tiny_disk):
    words = ("run", "method=alibi/alibi", *SMOKE, f"data.corpus={text}", f"results={tiny_disk}/results")
    harness(*words, "tracking=off")
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    done = harness(*words, "seed=1", "tracking=off", code=1)
    assert "cannot be written (Read-only file system)" in done.stderr
    assert "Traceback" not in done.stderr
    (row,) = json.loads(harness("status", "--json", "--results", f"{tiny_disk}/results").stdout)
    assert row["state"] == "finished"
    (card,) = json.loads(harness("report", "alibi", "--json", "--results", f"{tiny_disk}/results").stdout)
    assert [method["seeds"] for method in card["methods"]] == [[0]]


def test_a_cache_that_vanishes_under_a_run_is_named_and_made_again_by_the_next_start(harness, monkeypatch):
    losing = PLUGIN.replace(
        'print("the last words")',
        """
    import pathlib, shutil
    lost = pathlib.Path(run.folder.parent) / "lost"
    if run.method.end == "well" and run.seed == 1 and not lost.exists():
        shutil.rmtree(run.stages_dir)
        lost.touch()
""",
    ).replace("    return {", "    (run.data_dir / 'ready').read_text()\n    return {")
    install(harness.folder, "ways", losing)
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    words = ("run", "-m", "method=ways/well", "seed=0,1", "tracking=off", "hydra.launcher.n_jobs=1")
    done = harness(*words, code=1)
    assert "1 finished; 0 already there; 1 failed" in done.stderr
    assert "FileNotFoundError" in done.stderr
    assert "/ready" in done.stderr
    states = {row["seed"]: row["state"] for row in json.loads(harness("status", "--json").stdout)}
    assert states == {0: "finished", 1: "failed"}
    assert "1 finished; 1 already there; 0 failed" in harness(*words).stderr
