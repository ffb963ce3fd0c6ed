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
