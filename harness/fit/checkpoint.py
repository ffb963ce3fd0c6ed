"""Where an interrupted fit goes on from: a folder `step-<n>` that is there whole or not at all.

It holds `shared.pt` (weights, optimiser, counts) and for every process `process-<i>.pt` (the place in
the data, the random generators). Of a sharded fit weights and optimiser lie in safetensors instead, a file a process,
by torch.distributed.checkpoint. Either is read by any number of processes, sharded or not. It is written under a
hidden name, flushed to disk and renamed, names and all, before the older one goes: one is whole after a power cut too,
and only the newest is kept. torch reads it back with weights_only, so nothing in it can run.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.fit.sharding import shared_out


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
    shards: dict[str, Tensor] | None = None,
) -> None:
    """Write the checkpoint of `step` and remove older ones; every process calls it, `wait` joins them.

    `shared` is written by process 0, `own` by each: plain values and tensors only. Of `shards` each writes its part.
    """
    whole = folder / f"step-{step:09d}"
    partial = folder / f".{whole.name}"
    if process == 0:
        for left in folder.glob(".step-*"):
            shutil.rmtree(left)
        partial.mkdir(parents=True)
        _write(partial / "shared.pt", shared)
    wait()
    if shards:
        _write_shards(partial, shards)
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
        for file in partial.glob("*.safetensors"):
            _flush(file)
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

    `shared` comes on `device`. Its "random" set with `set_random_state`, the fit goes on as if never stopped. Where
    more processes go on than wrote it, they take turns in whose `own` they get.
    """
    found = _newest(folder)
    if found is None:
        return None
    wrote = len(list(found.glob("process-*.pt")))
    if torch.device(device).type == "cpu":  # torch.load does not know accelerate's cpu:0
        device = "cpu"
    return _read(found / "shared.pt", device), _read(found / f"process-{process % wrote}.pt")


def held(model: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what a sharded fit keeps: what is no tensor of the optimiser's, and every tensor by a name of its own."""
    state = optimiser.state_dict()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    tensors = {
        f"model/{name}": tensor.detach()
        for name, tensor in (*model.named_parameters(), *_kept_buffers(model))
        if name not in frozen
    }
    rest: dict[int, dict[str, Any]] = {}
    for place, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{place}/{name}"] = value
            else:
                rest.setdefault(place, {})[name] = value
    return {"state": rest, "param_groups": state["param_groups"]}, tensors


def take_up(folder: Path, shared: dict[str, Any], model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Fill model and optimiser, sharded or not, from the newest checkpoint, whose `shared` is read already."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    now = dict(model.state_dict())
    if "model" in shared:
        kept, state = shared["model"], shared["optimizer"]
    else:
        found = _newest(folder)
        assert found is not None
        kept, state = _read_shards(found, shared["optimizer"], now, parameters)
    kept = {name: shared_out(tensor, now[name]) if name in now else tensor for name, tensor in kept.items()}
    model.load_state_dict(kept, strict=False)  # frozen parameters are not in it
    for place, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                values[name] = shared_out(value, parameters[int(place)])
    optimiser.load_state_dict(state)


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
        shards = list(path.glob("*.safetensors"))
        if (
            path / "shared.pt" in files
            and all(zipfile.is_zipfile(file) for file in files)
            and not any(map(_torn, shards))
        ):
            return path
    return None


def _kept_buffers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    names = {name for name, _ in model.named_buffers()}
    return ((name, tensor) for name, tensor in model.state_dict().items() if name in names)


def _write_shards(folder: Path, tensors: dict[str, Tensor]) -> None:
    import torch.distributed.checkpoint as dcp

    dcp.save(tensors, storage_writer=dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True))


def _read_shards(
    folder: Path, rest: dict[str, Any], now: dict[str, Tensor], parameters: list[nn.Parameter]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a model's and an optimiser's state from shards, cut as `now` and `parameters` are."""
    import torch.distributed.checkpoint as dcp

    reader = dcp.HuggingFaceStorageReader(str(folder))
    tensors: dict[str, Any] = {}
    entry: Any  # a tensor's: safetensors hold nothing else
    for key, entry in reader.read_metadata().state_dict_metadata.items():
        kind, name, *_ = key.split("/")
        like = now[name] if kind == "model" else parameters[int(name)]
        options: dict[str, Any] = {"dtype": entry.properties.dtype, "device": like.device}
        alike = like.shape == entry.size
        tensors[key] = torch.empty_like(like, **options) if alike else torch.empty(entry.size, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one process alone is what is meant
        dcp.load(tensors, storage_reader=reader)
    kept, state = {}, {int(place): dict(values) for place, values in rest["state"].items()}
    for key, tensor in tensors.items():
        kind, name, *more = key.split("/")
        if kind == "model":
            kept[name] = tensor
        else:
            state.setdefault(int(name), {})[more[0]] = tensor
    return kept, {"state": state, "param_groups": rest["param_groups"]}


def _torn(path: Path) -> bool:
    """Say whether a safetensors file is shorter than its header says."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"):
            return False
    except (SafetensorError, OSError):
        return True


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
