"""The one optimisation loop: draw a batch, step, look around every few steps, survive being killed.

What a paper trains is its `step(model, batch) -> loss`; where the data come from is its `batches`.
Everything else is here once: device, precision, clipping, schedule, accumulation, several processes
(through accelerate), and checkpoints that resume bit-identically on CPU. A look, every `log_every`
steps, is the only moment the loop reads numbers back from the device: it checks that they are
finite, reports them, and writes a checkpoint when one is due.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor, nn

from harness.errors import HarnessError, UsageError

Batch = dict[str, Tensor]


class Stateful(Protocol):
    """What `batches` must be: an endless iterator that can say where it is, in plain values or tensors."""

    def __next__(self) -> Batch: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class NonFiniteLoss(HarnessError):
    """The loss or its gradient is no longer a number; the last checkpoint is from before."""

    def __init__(self, step: int, loss: float, learning_rate: float) -> None:
        super().__init__(
            f"the loss or its gradient stopped being finite at step {step} (loss {loss:g}, learning rate "
            f"{learning_rate:g}): lower the learning rate, warm up longer, clip, or use precision=float32"
        )
        self.step, self.learning_rate = step, learning_rate


@dataclass(frozen=True)
class Fitted:
    """What the whole fit took, over all its restarts; a batch without `input_ids` has a token a row."""

    steps: int
    tokens_per_second: float
    peak_memory_bytes: int  # allocated on the device; on a CPU the process's largest resident size
    seconds: float  # without the time to write checkpoints
    last_loss: float


def fit(
    model: nn.Module,
    batches: Stateful,
    step: Callable[[Any, Batch], Tensor],
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float = 0.0,
    schedule: Literal["cosine", "linear", "constant"] = "cosine",
    schedule_steps: int | None = None,
    warmup: int = 0,
    clip: float | None = 1.0,
    optimizer: Callable[..., torch.optim.Optimizer] | None = None,
    device: str = "auto",
    precision: str = "float32",
    micro_batch: int | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
    log: Callable[..., None] | None = None,
    progress: Callable[..., None] | None = None,
    log_every: int = 10,
) -> Fitted:
    """Train `model` in place; leave it in eval mode on the device it was trained on.

    `step` returns the scalar mean loss over the batch's rows. `optimizer(params, lr=, weight_decay=)` is
    a torch class or a function like one (default AdamW); each group's own `lr` is the schedule's peak.
    The schedule ends at `schedule_steps` (default `steps`), so a long one can be stopped half-way.

    `micro_batch` rows go through at a time and several processes take a share of the rows each; both
    weigh by rows, so the gradient is the whole batch's. That is untrue of a loss that compares the rows
    of a batch (contrastive) or divides by something else than rows: leave `micro_batch` unset there.

    `checkpoint` is a folder of this fit's own. A second call with it goes on where the first one was
    killed: `log(step, loss=, learning_rate=, ...)` is called only for steps after
    `checkpoint_step(checkpoint)`, every `log_every` steps and at the last. `progress(done, total, ...)`
    decides how to show. Raises NonFiniteLoss, and HarnessError when `batches` end or the folder is
    another fit's.
    """
    accelerator = _accelerator(pick_device(device))
    where, processes = accelerator.device, accelerator.num_processes
    bfloat16 = pick_precision(precision, where) == "bfloat16"
    main = accelerator.is_main_process
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)

    model.to(where).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    build = optimizer or _adamw
    wrapped, optimiser = accelerator.prepare(
        model, build(trained, lr=learning_rate, weight_decay=weight_decay)
    )
    peaks = [group["lr"] for group in optimiser.param_groups]
    last = schedule_steps or steps
    recipe = {
        "steps": steps,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "schedule_steps": last,
        "warmup": warmup,
        "clip": clip,
        "parameters": sum(p.numel() for p in trained),
        "processes": processes,
    }

    done, tokens, seconds, loss = 0, 0, 0.0, math.nan
    if checkpoint is not None:
        state = _load(checkpoint, accelerator.process_index, recipe, where)
        if state is not None:
            _load_trained(model, state["model"])
            optimiser.load_state_dict(state["optimizer"])
            batches.load_state_dict(state["batches"])
            done, tokens, seconds, loss = (state[k] for k in ("step", "tokens", "seconds", "loss"))
            _set_random_state(state["random"])
    if progress and main:
        progress(done, steps)

    unread: list[Tensor] = []  # (loss, gradient norm) of the steps since the last look
    started = saved = time.monotonic()
    while done < steps:
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * rate(done, last, schedule, warmup)
        try:
            batch = next(batches)
        except StopIteration:
            raise HarnessError(
                f"the batches ended at step {done} of {steps}: make the iterator endless, or lower the steps"
            ) from None
        rows = len(next(iter(batch.values())))
        tokens += batch["input_ids"].numel() if "input_ids" in batch else rows
        share = _share(batch, rows, accelerator.process_index, processes)
        total = _accumulate(accelerator, wrapped, share, rows, step, micro_batch, bfloat16)
        norm = accelerator.clip_grad_norm_(trained, clip) if clip else torch.zeros((), device=where)
        optimiser.step()
        optimiser.zero_grad()
        unread.append(torch.stack([total, norm.detach().to(total)]))
        done += 1

        if done % log_every and done < steps:
            continue
        read = torch.stack(unread)  # (steps since the last look, 2)
        if processes > 1:
            read[:, 0] = accelerator.reduce(read[:, 0].contiguous(), "sum")
        numbers = read.tolist()
        for behind, (value, gradient) in enumerate(reversed(numbers)):
            if not (math.isfinite(value) and math.isfinite(gradient)):
                at = done - behind
                raise NonFiniteLoss(at, value, peaks[0] * rate(at - 1, last, schedule, warmup))
        unread.clear()
        loss = numbers[-1][0]
        elapsed = seconds + time.monotonic() - started
        if main and log:
            extra = {"gradient_norm": numbers[-1][1]} if clip else {}
            log(done, loss=loss, learning_rate=optimiser.param_groups[0]["lr"], **extra)
        if main and progress:
            progress(done, steps, loss=loss, tokens_per_second=tokens / elapsed)
        if checkpoint is None:
            continue
        if main and time.monotonic() - saved >= checkpoint_seconds:
            accelerator.set_trigger()
        if done == steps or accelerator.check_trigger():
            pause = time.monotonic()
            shared = {
                "recipe": recipe,
                "step": done,
                "tokens": tokens,
                "seconds": elapsed,
                "loss": loss,
                "model": _trained_state(model),
                "optimizer": optimiser.state_dict(),
                "batches": batches.state_dict(),
            }
            _save(checkpoint, accelerator, shared)
            saved = time.monotonic()
            started += saved - pause

    seconds += time.monotonic() - started
    vars(model).pop("_is_accelerate_prepared", None)  # or a second fit would not move or wrap it
    model.eval()
    return Fitted(steps, tokens / seconds if seconds else 0.0, peak_memory(where), seconds, loss)


def rate(step: int, steps: int, schedule: str, warmup: int) -> float:
    """Return the share of the peak learning rate that step `step` (from 0) of `steps` uses.

    Warm-up rises linearly to 1 in `warmup` steps; then a half cosine, a line to 0, or 1 throughout.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    part = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 1.0 - part if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * part))


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's global generators, on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def pick_device(device: str) -> torch.device:
    """Return the device that `device` names; "auto" takes cuda, else mps, else cpu."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, here in present.items() if here))
    kind = device.split(":")[0]
    if not present.get(kind, False):
        here = ", ".join(name for name in present if present[name])
        raise UsageError(f"device {device!r} is not on this machine: use device=auto, or one of {here}")
    return torch.device(device)


def pick_precision(precision: str, device: torch.device) -> str:
    """Return "float32" or "bfloat16"; "auto" is bfloat16 on a GPU that has it."""
    if precision == "auto":
        return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    if precision not in ("float32", "bfloat16"):
        raise UsageError(f"precision {precision!r} is not known: use auto, float32 or bfloat16")
    return precision


def peak_memory(device: torch.device | str) -> int:
    """Return the most bytes allocated on `device` so far; on a CPU the process's largest resident size."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def checkpoint_step(folder: Path) -> int:
    """Return the step that a fit with this checkpoint folder would go on from; 0 where it would start."""
    found = _newest(folder)
    return int(found.name.removeprefix("step-")) if found else 0


def _accelerator(device: torch.device) -> Accelerator:
    # accelerate's state is one per process; two fits in a process may still ask for two devices.
    if PartialState._shared_state and PartialState().device.type != device.type:
        AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
    if accelerator.distributed_type.value in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        raise HarnessError("fit splits batches over processes, not models: launch without FSDP and DeepSpeed")
    return accelerator


def _adamw(parameters: list[nn.Parameter], lr: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=True)


def _share(batch: Batch, rows: int, process: int, processes: int) -> Batch:
    """Return this process's rows of a batch that every process drew alike."""
    if processes == 1:
        return batch
    if rows < processes:
        raise UsageError(
            f"a batch of {rows} rows cannot be shared by {processes} processes: use fewer of them"
        )
    return {name: tensor.tensor_split(processes)[process] for name, tensor in batch.items()}


def _accumulate(
    accelerator: Accelerator,
    model: nn.Module,
    share: Batch,
    rows: int,
    step: Callable[[Any, Batch], Tensor],
    micro_batch: int | None,
    bfloat16: bool,
) -> Tensor:
    """Add the gradients of this process's rows, piece by piece; return their part of the mean loss."""
    device, pieces = accelerator.device, list(_pieces(share, micro_batch))
    total = torch.zeros((), device=device)
    for i, piece in enumerate(pieces):
        part = {name: tensor.to(device, non_blocking=True) for name, tensor in piece.items()}
        weight = len(next(iter(part.values()))) / rows
        with accelerator.no_sync(model) if i + 1 < len(pieces) else nullcontext():
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                mean = step(model, part)
            # Gradients are averaged over processes: their number undoes that.
            accelerator.backward(mean * (weight * accelerator.num_processes))
        total += mean.detach() * weight
    return total


def _pieces(batch: Batch, micro_batch: int | None) -> Iterator[Batch]:
    if not micro_batch:
        yield batch
        return
    split = {name: tensor.split(micro_batch) for name, tensor in batch.items()}
    for parts in zip(*split.values(), strict=True):
        yield dict(zip(split, parts, strict=True))


# A checkpoint is a folder `step-<n>`: `shared.pt`, and `random-<process>.pt` for each process. It is
# written under a hidden name and renamed when whole. torch.load reads with weights_only: no pickle runs.


def _newest(folder: Path) -> Path | None:
    for path in sorted(folder.glob("step-*"), reverse=True):
        files = list(path.glob("*.pt"))
        if path / "shared.pt" in files and all(zipfile.is_zipfile(file) for file in files):
            return path
    return None


def _save(folder: Path, accelerator: Accelerator, shared: dict[str, Any]) -> None:
    whole = folder / f"step-{shared['step']:09d}"
    partial = folder / f".{whole.name}"
    if accelerator.is_main_process:
        for left in folder.glob(".step-*"):
            shutil.rmtree(left)
        partial.mkdir(parents=True)
        _write(partial / "shared.pt", shared)
    accelerator.wait_for_everyone()
    _write(partial / f"random-{accelerator.process_index}.pt", _random_state())
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(whole, ignore_errors=True)  # there only if it was torn
        os.replace(partial, whole)
        for old in folder.glob("step-*"):
            if old != whole:
                shutil.rmtree(old)


def _write(path: Path, value: dict[str, Any]) -> None:
    with path.open("wb") as file:
        torch.save(value, file)
        file.flush()
        os.fsync(file.fileno())


def _load(folder: Path, process: int, recipe: dict[str, Any], device: torch.device) -> dict[str, Any] | None:
    found = _newest(folder)
    if found is None:
        return None
    state = torch.load(found / "shared.pt", map_location=device, weights_only=True)
    for name, value in recipe.items():
        before = state["recipe"].get(name)
        if before != value:
            raise HarnessError(
                f"the checkpoint {found} is of another fit ({name} was {before}, is now {value}): "
                "give each fit a folder of its own, or delete it to start over"
            )
    state["random"] = torch.load(found / f"random-{process}.pt", map_location="cpu", weights_only=True)
    return state


def _trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Return buffers and trained parameters: frozen ones are as the caller made them, so not kept."""
    frozen = {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def _load_trained(model: nn.Module, state: dict[str, Tensor]) -> None:
    if state.keys() != _trained_state(model).keys():
        raise HarnessError("the checkpoint is of a model with other parameters: delete it to start over")
    model.load_state_dict(state, strict=False)


def _random_state() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def _set_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    if torch.backends.mps.is_available() and state["mps"] is not None:
        torch.mps.set_rng_state(state["mps"])
