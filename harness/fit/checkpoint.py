"""Where an interrupted fit goes on from: a folder `step-<n>` that is there whole or not at all.

It holds `shared.pt` (weights, optimiser, counts) and for every process `process-<i>.pt` (the place in
the data, the random generators). It is written under a hidden name, flushed to disk and renamed, names and
all, before the older one goes: one is whole after a power cut too, and only the newest is kept. torch reads
it back with weights_only, so nothing in it can run.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError


def checkpoint_step(folder: Path) -> int:
    """Return the step that a fit with this checkpoint folder would go on from; 0 where it would start."""
    found = _newest(folder)
    return int(found.name.removeprefix("step-")) if found else 0


def save(
    folder: Path,
    step: int,
    shared: dict[str, Any],
    own: dict[str, Any],
    process: int,
    wait: Callable[[], None],
) -> None:
    """Write the checkpoint of `step` and remove older ones; every process calls it, `wait` joins them.

    `shared` is written by process 0, `own` by each: plain values and tensors only.
    """
    whole = folder / f"step-{step:09d}"
    partial = folder / f".{whole.name}"
    if process == 0:
        for left in folder.glob(".step-*"):
            shutil.rmtree(left)
        partial.mkdir(parents=True)
        _write(partial / "shared.pt", shared)
    wait()
    mine = partial / f"process-{process}.pt"
    _write(mine, {**own, "random": _random_state()})
    try:
        _read(mine)
    except pickle.UnpicklingError:
        raise HarnessError(
            "the batches' state_dict() holds more than plain values and tensors, and could not be "
            "read back safely: return numbers, strings, lists and tensors"
        ) from None
    wait()
    if process == 0:
        shutil.rmtree(whole, ignore_errors=True)  # there only if it was torn
        _flush(partial)
        os.replace(partial, whole)
        _flush(folder)
        for old in folder.glob("step-*"):
            if old != whole:
                shutil.rmtree(old)


def load(
    folder: Path, process: int, device: torch.device | str
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return `shared` and this process's `own` of the newest whole checkpoint, or None.

    `shared` comes on `device`. Its "random" set with `set_random_state`, the fit goes on as if never stopped.
    """
    found = _newest(folder)
    if found is None:
        return None
    return _read(found / "shared.pt", device), _read(found / f"process-{process}.pt")


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Return buffers and trained parameters: frozen ones are as the caller made them, so not kept."""
    frozen = {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def set_random_state(state: dict[str, Any]) -> None:
    """Put every global random generator where it was."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    if torch.backends.mps.is_available() and state["mps"] is not None:
        torch.mps.set_rng_state(state["mps"])


def _random_state() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def _newest(folder: Path) -> Path | None:
    for path in sorted(folder.glob("step-*"), reverse=True):
        files = list(path.glob("*.pt"))
        # torch's files are zip archives, whose directory comes last: a torn one has none
        if path / "shared.pt" in files and all(zipfile.is_zipfile(file) for file in files):
            return path
    return None


def _write(path: Path, value: dict[str, Any]) -> None:
    with path.open("wb") as file:
        torch.save(value, file)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """Bring the names in a folder to disk: files that are there already may be nameless after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    found: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return found
