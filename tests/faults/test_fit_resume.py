"""A training killed outright, again and again, ends with the weights of one that never was."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.fit import checkpoint_step

pytestmark = pytest.mark.fault

TRAINING = """
import hashlib, json, sys
from pathlib import Path
import numpy as np, torch
from torch import nn
from torch.nn import functional as F
from harness.data.batches import Batches
from harness.fit import checkpoint_step, fit, seed_everything

folder, every = Path(sys.argv[1]), float(sys.argv[2])
seed_everything(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Embedding(50, 64), nn.Dropout(0.1), nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 50))
tokens = np.random.default_rng(0).integers(0, 50, size=10_000).astype(np.uint16)
points = folder / "points.jsonl"
kept = points.read_text().splitlines() if points.exists() else []
from_step = checkpoint_step(folder / "checkpoint")
kept = [line for line in kept if line.endswith("}") and json.loads(line)["step"] <= from_step]
points.write_text("".join(line + chr(10) for line in kept))

def log(step, **values):
    with points.open("a") as file:
        file.write(json.dumps({"step": step, **values}) + chr(10))

def step(model, batch):
    return F.cross_entropy(model(batch["input_ids"]).flatten(0, 1), batch["labels"].flatten())

fit(model, Batches(tokens, 32, 16, 0), step, steps=1500, learning_rate=3e-3, warmup=20, device="cpu",
    checkpoint=folder / "checkpoint", checkpoint_seconds=every, log=log)
weights = torch.cat([p.detach().flatten() for p in model.parameters()]).numpy().tobytes()
(folder / "done.json").write_text(json.dumps({"weights": hashlib.sha256(weights).hexdigest(), "from": from_step}))
"""


def start(folder: Path, every: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(folder), str(every)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen, folder: Path) -> dict:
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    return json.loads((folder / "done.json").read_text())


def kill_beyond(process: subprocess.Popen, folder: Path, step: int) -> int:
    """Kill the process outright when it has a checkpoint beyond `step`; return that checkpoint's step."""
    until = time.monotonic() + 120
    while checkpoint_step(folder / "checkpoint") <= step:
        assert process.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.005)
    time.sleep(0.05)  # so that steps beyond the checkpoint are lost
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return checkpoint_step(folder / "checkpoint")


def test_a_training_killed_twice_ends_bit_identical_to_one_never_killed(tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    expected = finish(start(straight, 1e9), straight)
    first = kill_beyond(start(killed, 0.1), killed, 0)
    second = kill_beyond(start(killed, 0.1), killed, first)
    assert 0 < first < second < 1500
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
