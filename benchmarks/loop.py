"""What `fit` costs: 300 ALiBi steps through `run.fit`, tracked, beside the same loop written bare.

Tracked means a real run folder with curve, progress and checkpoint, and a process beside it that mirrors the curve
to an MLflow store, as a sweep's driver does. The bare loop clips, follows the same schedule and looks at the loss
as often; both come to the same loss. Imports, data and building the model are left out on both sides.
"""

from __future__ import annotations

import math
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measuring import CACHE, ROOT, Measured, Target, agree, interleaved, one_thread
from harness.runs.shapes import Config

MIRROR = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from harness.runs.mirror import Mirror
store = Mirror(sys.argv[2])
while True:
    for config in sorted(Path(sys.argv[1]).glob("*/config.json"), key=lambda path: int(path.parent.name))[-1:]:
        store.copy(config.parent)
    time.sleep(2)
"""


def prepared(task: Any) -> Path:
    """Return the folder of tokens that ALiBi's own `prepare` makes, made once."""
    from harness_alibi.preparation import prepare

    from harness.data.sources import resolve

    folder = CACHE / "alibi-data"
    if not folder.exists():
        made = folder.with_name(".alibi-data")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        prepare(task, {"corpus": resolve("builtin:python", cache=CACHE / "sources")}, None, made)
        made.rename(folder)
    return folder


def tracked(task: Any, data_dir: Path, folder: Path) -> tuple[float, float]:
    """Train in a run folder through `run.fit`; return the seconds of the loop, with its checkpoint, and the loss."""
    import numpy as np
    from harness_alibi.settings import Alibi
    from harness_alibi.training import decoder, step

    from harness.data.batches import Batches
    from harness.fit import recipe, seed_everything
    from harness.runs.files import digest, write_json
    from harness.runs.results import CONFIG, read_config
    from harness.runs.run import Run

    shutil.rmtree(folder, ignore_errors=True)
    run = Run(
        "alibi", "alibi", Alibi(), task, {}, None, "small", 0, "cpu", "float32", data_dir, folder / "output",
        folder / "stages", folder,
    )  # fmt: skip
    run.output_dir.mkdir(parents=True)
    config: Config = {
        "paper": "alibi", "name": "alibi", "method": asdict(run.method), "method_declared": True, "method_changes": {},
        "task": asdict(task), "task_digest": digest(asdict(task)), "data": {}, "model": "", "budget": "small",
        "seed": 0, "deterministic": False, "baseline": False, "device": "cpu", "precision": "float32",
    }  # fmt: skip
    write_json(folder / CONFIG, config)
    if read_config(folder) is None:
        raise RuntimeError("the settings of the run cannot be read, so nothing would be mirrored")
    seed_everything(0)
    model = decoder(run.method, task, vocabulary(data_dir))
    tokens = np.load(data_dir / "train.npy", mmap_mode="r")
    batches = Batches(tokens, task.length, task.batch_size, 0)
    began = time.perf_counter()
    fitted = run.fit(model, batches, step, **recipe(task))
    return time.perf_counter() - began, fitted.last_loss


def bare(task: Any, data_dir: Path) -> tuple[float, float]:
    """Train by a plain loop; return its seconds and the last loss."""
    import numpy as np
    import torch
    from harness_alibi.settings import Alibi
    from harness_alibi.training import decoder, step

    from harness.data.batches import Batches
    from harness.fit import seed_everything

    seed_everything(0)
    model = decoder(Alibi(), task, vocabulary(data_dir)).train()
    batches = Batches(np.load(data_dir / "train.npy", mmap_mode="r"), task.length, task.batch_size, 0)
    began = time.perf_counter()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=task.weight_decay, fused=True)
    told = 0.0
    for n in range(task.steps):
        part = min(1.0, (n - task.warmup) / (task.schedule_steps - task.warmup))
        rate = (n + 1) / task.warmup if n < task.warmup else 0.5 * (1 + math.cos(math.pi * part))
        optimizer.param_groups[0]["lr"] = task.learning_rate * rate
        loss = step(model, next(batches))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), task.clip)
        optimizer.step()
        optimizer.zero_grad()
        if (n + 1) % 10 == 0 or n + 1 == task.steps:
            told = loss.item()
    return time.perf_counter() - began, told


def points(store: Path) -> int:
    """Return how many points of curves a store of MLflow holds."""
    with sqlite3.connect(store) as held:
        (found,) = held.execute("SELECT count(*) FROM metrics WHERE key = 'loss'").fetchone()
    return int(found)


def vocabulary(data_dir: Path) -> int:
    """Return how many tokens the tokenizer of the prepared data has."""
    from transformers import AutoTokenizer

    return len(AutoTokenizer.from_pretrained(data_dir / "tokenizer"))


def measure(toy: bool) -> Iterator[Measured]:
    """Time both while a process mirrors what there is to mirror."""
    from harness_alibi.settings import Task

    one_thread()
    small = {
        "length": 8,
        "width": 16,
        "layers": 1,
        "heads": 2,
        "feedforward": 32,
        "batch_size": 4,
        "steps": 12,
        "warmup": 2,
    }
    task = Task(**(small if toy else {}))  # type: ignore[arg-type]
    data_dir = prepared(Task())
    losses: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as room:
        runs, uri = Path(room) / "runs", f"sqlite:///{room}/mlflow.db"
        words = [sys.executable, "-c", MIRROR, str(runs), uri, str(ROOT)]
        mirror = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        number = iter(range(1000))
        last = runs / "0"

        def ours() -> float:
            nonlocal last
            last = runs / str(next(number))
            taken, losses["ours"] = tracked(task, data_dir, last)
            return taken

        def theirs() -> float:
            taken, losses["theirs"] = bare(task, data_dir)
            return taken

        try:
            pairs = interleaved(ours, theirs, rounds=1 if toy else 5, warm=0)
            agree(losses["ours"], losses["theirs"], 1e-4, "the last loss")
            if mirror.poll() is not None:
                raise RuntimeError("the process that mirrors the runs ended before its time")
            if not toy and not points(Path(room) / "mlflow.db"):
                raise RuntimeError("nothing was mirrored while the loops ran")
        finally:
            mirror.kill()
            mirror.wait()
    what = f"training loop of {task.steps} ALiBi steps through fit, tracked, imports excluded"
    yield pairs.against(what, "the same loop bare", Target("at most", 1.03))
