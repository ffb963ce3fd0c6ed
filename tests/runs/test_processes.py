"""A run of several processes comes to what one process comes to; process 0 alone writes."""

import json

import pytest

pytestmark = pytest.mark.slow


def results(harness) -> dict[int, tuple]:
    found = {}
    for path in (harness.folder / "results" / "runs").rglob("result.json"):
        result = json.loads(path.read_text())
        found[result["config"]["processes"]] = path.parent, result
    return found


def same(harness) -> None:
    """Compare the runs of one and of two processes."""
    found = results(harness)
    (_, one), (folder, two) = found[1], found[2]
    assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-3)
    assert two["status"] == "finished"
    assert len((folder / "starts.jsonl").read_text().splitlines()) == 1
    assert not list(folder.glob("rank-*"))
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


def test_two_processes_train_evaluate_and_write_what_one_does(harness, text):
    words = ("method=alibi/alibi", "processes=1,2", "budget=smoke", "device=cpu", "tracking=off")
    harness("run", "-m", *words, f"data.corpus={text}")
    same(harness)


def test_a_stage_that_trains_is_made_by_all_processes_together(harness, text):
    words = ("method=lora/lora_r8", "tuned=false", "budget=smoke", "device=cpu", "tracking=off")
    corpus = (f"data.train={text}", f"data.general={text}")
    harness("run", "-m", *words, *corpus, "processes=2", "results=together")  # no stage is there
    (harness.folder / "together").rename(harness.folder / "results")
    harness("run", "-m", *words, *corpus, "processes=1", "results=alone")
    for path in (harness.folder / "alone" / "runs" / "lora" / "lora_r8").iterdir():
        path.rename(harness.folder / "results" / "runs" / "lora" / "lora_r8" / path.name)
    same(harness)


def test_when_one_of_them_dies_the_run_fails_by_name(harness):
    from tests.faults.test_failures import PLUGIN
    from tests.papers.test_plugins import install

    dying = PLUGIN.replace(
        'case "raises":', 'case "raises" if run.rank == 1: os._exit(9)\n        case "raises":'
    )
    install(
        harness.folder, "ways", dying.replace('raise LookupError("nothing to be found")', "time.sleep(60)")
    )
    words = ("run", "method=ways/raises", "processes=2", "device=cpu", "tracking=off")
    done = harness(*words, code=1, PYTHONPATH=str(harness.folder))
    assert "exit code 9" in done.stderr
