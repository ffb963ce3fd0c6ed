"""A run of several processes comes to what one process comes to; process 0 alone writes."""

import json
import os
import subprocess
import sys

import psutil
import pytest

from harness.runs.processes import SERVED

BUDGET = ("tuned=false", "budget=smoke", "device=cpu", "tracking=off")
DECODERS = {  # of every paper that trains through the loop; RDASS's alone has dropout, whose masks follow the shares
    "alibi/retrofit": (),
    "iclm/in_context_masked": (),
    "longskywork/cip_synl": (),
    "lora/lora_r8": ("data.train=builtin:python",),
    "magpie/self_instruct": ("task.batch_size=16",),
    "neftune/plain": (),
    "score/score": (),
    "simcse/no_dropout": (),
}


def result_of(folder) -> tuple:
    (path,) = (folder / "runs").rglob("result.json")
    return path.parent, json.loads(path.read_text())


def losses(folder) -> dict:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {(row["step"], key): row[key] for row in rows for key in row if key.rpartition("/")[2] == "loss"}


def same(one, two, sampled: bool = False) -> None:
    """Compare the runs of one and of several processes; a text that is `sampled` may turn at the last digit."""
    (alone, one), (folder, two) = result_of(one), result_of(two)
    assert two["status"] == "finished"
    assert two["run_key"] == one["run_key"]
    assert sampled or two["metrics"] == pytest.approx(one["metrics"], rel=1e-3, abs=1e-4)
    if (alone / "metrics.jsonl").exists():
        assert losses(folder) == pytest.approx(losses(alone), abs=1e-5)
    assert len((folder / "starts.jsonl").read_text().splitlines()) == 1
    assert not list(folder.glob("rank-*"))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "more"), DECODERS.items())
def test_shards_of_a_papers_model_learn_what_one_process_learns(harness, method, more):
    words = (f"method={method}", *more, *BUDGET)
    harness("run", *words, "results=one")
    harness("run", *words, "processes=2", "fit.shard=true", "results=two")  # both make the stages
    same(harness.folder / "one", harness.folder / "two", sampled=method.startswith("score/"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [(), ("fit.shard=true", "fit.offload=true", "fit.checkpoint_activations=true")]
)
def test_copies_in_two_processes_and_shards_in_four_write_what_one_process_does(harness, text, more):
    words = ("method=alibi/alibi", f"data.corpus={text}", *BUDGET)
    harness("run", *words, "results=one")
    harness("run", *words, f"processes={4 if more else 2}", *more, "results=two")
    same(harness.folder / "one", harness.folder / "two")


REFUSED = {
    "fit.shard=true": "fit.shard=true shares a model out among processes, and this run has one",
    "fit.offload=true": "fit.offload=true moves shards, and nothing is sharded",
    "processes=2 fit.offload=true": "nothing is sharded: add fit.shard=true",
    "processes=2 isolate=false": "leave isolate=false out",
    "processes=500": "cannot be shared by 500 processes",
    "processes=0": "processes=0 is out of range",
}


@pytest.mark.parametrize("words", REFUSED)
def test_processes_that_a_run_cannot_use_are_refused_before_anything_starts(harness, words):
    done = harness("run", "method=alibi/alibi", *BUDGET, *words.split(), code=2)
    assert REFUSED[words] in done.stderr
    assert not list(harness.folder.rglob("result.json"))


@pytest.mark.parametrize("method", ["lora/base", "rdass/reference_only"])
def test_processes_are_refused_for_a_method_that_trains_nothing(harness, method):
    done = harness("run", f"method={method}", *BUDGET, "processes=2", code=2)
    assert f"{method} trains no model, so processes=2 would do nothing" in done.stderr


def test_commands_that_torchrun_started_must_share_the_processes_evenly(harness):
    words = ("run", "method=alibi/alibi", *BUDGET)
    on_two = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    done = harness(*words, "processes=3", code=2, **on_two)
    assert "2 commands start this run's processes, and processes=3 is no multiple of that" in done.stderr
    done = harness(*words, "-m", "processes=2", "seed=0,1", code=2, **on_two)
    assert "several machines make one run at a time" in done.stderr
    done = harness(*words, "processes=2", code=2, LOCAL_WORLD_SIZE="2", **on_two)
    assert "start one (--nproc-per-node=1)" in done.stderr


@pytest.mark.slow
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


@pytest.mark.fault
def test_a_process_that_is_killed_fails_the_run_by_name_and_fewer_take_it_up(harness, text):
    import subprocess
    import sys
    import time

    words = (
        "method=alibi/alibi",
        f"data.corpus={text}",
        "task.steps=600",
        "fit.checkpoint_seconds=0",
        *BUDGET,
    )
    command = [sys.executable, "-m", "harness", "run", *words, "processes=3", "fit.shard=true"]
    run = subprocess.Popen(command, cwd=harness.folder, stderr=subprocess.PIPE, text=True)
    while not list((harness.folder / "results/runs").glob("*/*/*/checkpoint/step-*")):
        assert run.poll() is None
        time.sleep(0.1)
    log = str(next((harness.folder / "results/runs").glob("*/*/*/log.txt")))
    ranks = [
        p for p in psutil.Process(run.pid).children(recursive=True) if log in [f.path for f in p.open_files()]
    ]
    assert len(ranks) == 3
    max(ranks, key=lambda p: p.pid).kill()
    assert "SIGKILL" in run.communicate(timeout=120)[1]
    folder, result = result_of(harness.folder / "results")
    assert result["error"]["type"] in ("signal", "peer_lost")
    kept = int(next((folder / "checkpoint").glob("step-*")).name.removeprefix("step-"))
    harness("run", *words, "processes=2", "fit.shard=true")
    (folder, result) = result_of(harness.folder / "results")
    assert result["status"] == "finished"
    steps = [step for step, _ in losses(folder)]
    assert kept > 0
    assert steps == sorted(set(steps))
    assert steps[-1] == 600


def test_a_fork_server_whose_starter_is_gone_ends_before_it_imports_anything():
    """Its starter may be killed before the kernel was asked to tell: then nobody would."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    served = {**os.environ, SERVED: str(gone.pid)}
    words = "import sys; served = 'multiprocessing.forkserver'; import harness.runs.served.warm"
    server = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", words], env=served, capture_output=True, text=True
    )
    assert server.returncode == 1
    assert "harness" in server.stderr
    assert "torch" not in server.stderr
