"""A training killed outright, again and again, ends with the weights of one that never was."""

import hashlib
import json
import multiprocessing
import signal
import time
from pathlib import Path

import pytest

from harness.fit.checkpoint import checkpoint_step
from harness.runs.served import PRELOAD

pytestmark = pytest.mark.fault

STEPS = 1500

CONTEXT = multiprocessing.get_context("forkserver")  # torch is imported once, for all of them
CONTEXT.set_forkserver_preload(PRELOAD)


def train(folder: Path, every: float) -> None:
    """Train in a process of its own; say at the end what came out, and from which step it went on."""
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional as F

    from harness.data.batches import Batches
    from harness.fit import fit, seed_everything

    seed_everything(0)
    torch.set_num_threads(1)
    layers = (nn.Embedding(50, 64), nn.Dropout(0.1), nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 50))
    model = nn.Sequential(*layers)
    tokens = np.random.default_rng(0).integers(0, 50, size=10_000).astype(np.uint16)
    points = folder / "points.jsonl"
    kept = points.read_text().splitlines() if points.exists() else []
    from_step = checkpoint_step(folder / "checkpoint")
    kept = [line for line in kept if line.endswith("}") and json.loads(line)["step"] <= from_step]
    points.write_text("".join(line + "\n" for line in kept))

    def log(step, **values):
        with points.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    def step(model, batch):
        return F.cross_entropy(model(batch["input_ids"]).flatten(0, 1), batch["labels"].flatten())

    how = {"steps": STEPS, "learning_rate": 3e-3, "warmup": 20, "device": "cpu", "log": log}
    kept_at = {"checkpoint": folder / "checkpoint", "checkpoint_seconds": every}
    fit(model, Batches(tokens, 32, 16, 0), step, **how, **kept_at)
    weights = torch.cat([p.detach().flatten() for p in model.parameters()]).numpy().tobytes()
    ended = {"weights": hashlib.sha256(weights).hexdigest(), "from": from_step}
    (folder / "done.json").write_text(json.dumps(ended))


def start(folder: Path, every: float) -> multiprocessing.process.BaseProcess:
    process = CONTEXT.Process(target=train, args=(folder, every))
    process.start()
    return process


def finish(process: multiprocessing.process.BaseProcess, folder: Path) -> dict:
    process.join(180)
    assert process.exitcode == 0
    return json.loads((folder / "done.json").read_text())


def kill_beyond(process: multiprocessing.process.BaseProcess, folder: Path, step: int) -> int:
    """Kill the process outright when it has a checkpoint beyond `step`; return that checkpoint's step."""
    until = time.monotonic() + 120
    while checkpoint_step(folder / "checkpoint") <= step:
        assert process.exitcode is None, "the training ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.005)
    time.sleep(0.05)  # so that steps beyond the checkpoint are lost
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return checkpoint_step(folder / "checkpoint")


def test_a_training_killed_twice_ends_bit_identical_to_one_never_killed(tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    expected = finish(start(straight, 1e9), straight)
    first = kill_beyond(start(killed, 0.1), killed, 0)
    second = kill_beyond(start(killed, 0.1), killed, first)
    assert 0 < first < second < STEPS
    found = finish(start(killed, 0.1), killed)
    assert found == {"weights": expected["weights"], "from": second}
    assert (killed / "points.jsonl").read_text() == (straight / "points.jsonl").read_text()


def test_a_training_killed_while_it_writes_checkpoints_loses_none_that_was_whole(tmp_path):
    process = start(tmp_path, 0)  # a checkpoint at every look: most of the time goes into writing them
    last = kill_beyond(process, tmp_path, 30)
    for _ in range(3):
        process = start(tmp_path, 0)
        now = kill_beyond(process, tmp_path, last)
        assert now > last
        last = now
    left = [p.name for p in (tmp_path / "checkpoint").iterdir() if not p.name.startswith(".")]
    assert f"step-{last:09d}" in left
