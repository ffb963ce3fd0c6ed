"""The one optimisation loop: draw a batch, step, look around every few steps, survive being killed.

What a paper trains is its `step(model, batch) -> loss`; where the data come from is its `batches`.
Everything else is here once: device, precision, clipping, schedule, accumulation, several processes
(through accelerate; a model may be sharded over them), and checkpoints that resume bit-identically on CPU.
A look, every `log_every` steps, is the only moment the loop reads numbers back from the device: it checks
that they are finite, reports them, and writes a checkpoint when one is due.
"""

from __future__ import annotations

import functools
import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor, nn

from harness.errors import HarnessError, UsageError
from harness.fit.checkpoint import checkpoint_step as checkpoint_step
from harness.fit.checkpoint import held, load, save, set_random_state, take_up, trained_state
from harness.fit.sharding import Sharded, number, recomputed

Batch = dict[str, Tensor]


class Stateful(Protocol):
    """What `batches` must be: an endless iterator that can say where it is, in plain values or tensors.

    Without a checkpoint its `__next__` is enough.
    """

    def __next__(self) -> Batch: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class NonFiniteLoss(HarnessError):
    """The loss or its gradient is no longer a number; the last checkpoint is from before."""

    kind = "nan"

    def __init__(self, step: int, loss: float, learning_rate: float) -> None:
        super().__init__(
            f"the loss or its gradient stopped being finite at step {step} (loss {loss:g}, learning rate "
            f"{learning_rate:g}): lower the learning rate, warm up longer, clip, or use precision=float32"
        )
        self.step, self.learning_rate = step, learning_rate


@dataclass(frozen=True)
class Fitted:
    """What the whole fit took, over all its restarts and processes; without `input_ids` a row is a token."""

    steps: int
    tokens_per_second: float
    peak_memory_bytes: int  # allocated on the device; on a CPU the process's largest resident size
    seconds: float  # without the time to write checkpoints
    last_loss: float
    rows: int = 0
    tokens: int = 0


def recipe(task: Any) -> dict[str, Any]:
    """Return the options of `fit` that a task has as fields of its own: steps, rate, warm-up and so on."""
    names = ("steps", "schedule_steps", "learning_rate", "weight_decay", "warmup", "clip")
    return {name: getattr(task, name) for name in names if hasattr(task, name)}


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
    shard: bool = False,
    offload: bool = False,
    checkpoint_activations: bool = False,
    weigh: Callable[[Batch], Tensor] | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
    log: Callable[..., None] | None = None,
    progress: Callable[..., None] | None = None,
    log_every: int = 10,
) -> Fitted:
    """Train `model` in place; leave it in eval mode on the device it was trained on.

    `step` returns the scalar mean loss over the batch's rows, or over what `weigh(batch)` counts (`targets` where it
    is a mean over labels). `optimizer(params, lr=, weight_decay=)` is
    a torch class or a function like one (default AdamW); each group's own `lr` is the schedule's peak.
    The schedule ends at `schedule_steps` (default `steps`), so a long one can be stopped half-way.

    `micro_batch` rows go through at a time and several processes take a share of the rows each; both weigh by
    that count, so the gradient is the whole batch's. That is untrue of a loss that compares the rows of a batch
    (contrastive): leave `micro_batch` unset there.

    Several processes hold a copy of the model each; with `shard` they share weights, gradients and the optimiser's
    state out (FSDP2), and a step that calls the model other than alike in all of them does so inside `whole(model)`.
    `offload` lets shards wait in the processor's memory. With `checkpoint_activations` blocks compute their activations
    again in the backward pass. None of them changes what is learned.

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

    recomputing = ExitStack()
    recomputing.enter_context(recomputed(model, checkpoint_activations))
    sharded = Sharded(model, where, offload) if shard and processes > 1 else None
    model.train() if sharded else model.to(where).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = (optimizer or _adamw)(trained, lr=learning_rate, weight_decay=weight_decay)
    wrapped = sharded or accelerator.prepare_model(model)  # its optimizer wrapper would cost 0.2 ms a step
    vars(model).pop("_is_accelerate_prepared", None)  # or another fit would neither move nor wrap it
    mean_of = functools.partial(sharded, step) if sharded else functools.partial(step, wrapped)
    peaks = [group["lr"] for group in optimiser.param_groups]
    planned = schedule_steps or steps
    recipe = {
        "optimizer": type(optimiser).__name__,
        "parameters": sum(p.numel() for p in trained),
        "steps": steps,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "schedule_steps": planned,
        "warmup": warmup,
        "clip": clip,
    }

    done, given, tokens, seconds, loss = 0, 0, 0, 0.0, math.nan
    found = load(checkpoint, accelerator.process_index, where) if checkpoint else None
    if found:
        shared, own = found
        _same_fit(checkpoint, shared["recipe"], recipe)
        assert checkpoint is not None
        take_up(checkpoint, shared, model, optimiser)
        batches.load_state_dict(own["batches"])
        set_random_state(own["random"])
        done, tokens, seconds, loss = (shared[name] for name in ("step", "tokens", "seconds", "loss"))
        given = shared.get("rows", 0)  # a checkpoint of before has none
    if progress and main:
        progress(done, steps)

    unread: list[Tensor] = []  # (loss, gradient norm) of the steps since the last look
    started = saved = time.monotonic()
    while done < steps:
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * rate(done, planned, schedule, warmup)
        batch = _next(batches, done, steps)
        rows = _rows(batch)
        if rows < processes and not given:
            raise UsageError(
                f"a batch of {rows} rows cannot be shared by {processes} processes: use fewer of them"
            )
        share = _share(batch, rows, accelerator.process_index, processes)
        counted = weigh or _rows
        whole = float(counted(batch)) if accelerator.process_index < rows else math.inf
        most = max(-(-rows // processes), 1)  # the first process's rows
        turns = -(-most // (micro_batch or most))
        mean = _accumulate(accelerator, wrapped, share, whole, mean_of, micro_batch, turns, counted, bfloat16)
        norm = number(accelerator.clip_grad_norm_(trained, clip)) if clip else torch.zeros((), device=where)
        optimiser.step()
        optimiser.zero_grad()
        unread.append(torch.stack([mean, norm.detach().to(mean)]))
        given += rows
        tokens += batch["input_ids"].numel() if "input_ids" in batch else rows
        done += 1
        if done % log_every and done < steps:
            continue

        numbers = _numbers(accelerator, unread)
        for i, values in enumerate(numbers):
            if not all(map(math.isfinite, values)):
                at = done - len(numbers) + i + 1
                raise NonFiniteLoss(at, values[0], peaks[0] * rate(at - 1, planned, schedule, warmup))
        unread.clear()
        loss = numbers[-1][0]
        elapsed = seconds + time.monotonic() - started
        if main and log:
            gradient = {"gradient_norm": numbers[-1][1]} if clip else {}
            log(done, loss=loss, learning_rate=optimiser.param_groups[0]["lr"], **gradient)
        if main and progress:
            progress(done, steps, loss=loss, tokens_per_second=tokens / elapsed)
        if checkpoint is None:
            continue
        if main and time.monotonic() - saved >= checkpoint_seconds:
            accelerator.set_trigger()  # process 0's clock decides for all
        if accelerator.check_trigger() or done == steps:
            pause = time.monotonic()
            counts = {"step": done, "rows": given, "tokens": tokens, "seconds": elapsed, "loss": loss}
            if sharded:
                rest, shards = held(model, optimiser)
                weights = {"optimizer": rest}
            else:
                weights = {"model": trained_state(model), "optimizer": optimiser.state_dict()}
            save(
                checkpoint,
                done,
                {"recipe": recipe, **counts, **weights},
                {"batches": batches.state_dict()},
                accelerator.process_index,
                accelerator.wait_for_everyone,
                shards if sharded else None,
            )
            saved = time.monotonic()
            started += saved - pause

    seconds += time.monotonic() - started
    if sharded:
        optimiser.state.clear()  # room for the whole model
        sharded.join()
    recomputing.close()
    model.eval()
    per_second = tokens / seconds if seconds else 0.0
    return Fitted(steps, per_second, peak_memory(where), seconds, loss, given, tokens)


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
    pretends = hasattr(torch, "pretend")  # within the contract kit alone: harness.contract.pretend
    present = {
        **({"pretend": True} if pretends else {}),
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
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


def forget_processes() -> None:
    """Let accelerate begin anew in this process: alone, or on another device.

    From inside accelerate, as its `_shared_state` is; no public name gives them. Checked with accelerate 1.15.0.
    """
    AcceleratorState._reset_state(reset_partial_state=True)


def _accelerator(device: torch.device) -> Accelerator:
    # accelerate's state is one per process; two fits in a process may still ask for two devices.
    if PartialState._shared_state and PartialState().device.type != device.type:
        forget_processes()
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
    if accelerator.distributed_type.value in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        raise HarnessError("fit splits batches over processes, not models: launch without FSDP and DeepSpeed")
    return accelerator


def _adamw(parameters: list[nn.Parameter], lr: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=True)


def targets(batch: Batch) -> Tensor:
    """Return how many of `labels` (rows, length) a causal model is asked for: all but -100, from the second on."""
    return (batch["labels"][:, 1:] != -100).sum()


def _rows(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _same_fit(folder: Path | None, before: dict[str, Any], now: dict[str, Any]) -> None:
    for name, value in now.items():
        if before.get(name) != value:
            raise HarnessError(
                f"the checkpoint in {folder} is of another fit ({name} was {before.get(name)}, is {value}): "
                "give each fit a folder of its own, or delete this one to start over"
            )


def _next(batches: Stateful, done: int, steps: int) -> Batch:
    try:
        return next(batches)
    except StopIteration:
        raise HarnessError(
            f"the batches ended at step {done} of {steps}: make the iterator endless, or lower the steps"
        ) from None


def _numbers(accelerator: Accelerator, unread: list[Tensor]) -> list[list[float]]:
    """Read (loss, gradient norm) of each step from the device; every process adds its part of the loss."""
    read = torch.stack(unread)  # (steps, 2)
    if accelerator.num_processes > 1:
        read[:, 0] = accelerator.reduce(read[:, 0].contiguous(), "sum")
    numbers: list[list[float]] = read.tolist()
    return numbers


def _share(batch: Batch, rows: int, process: int, processes: int) -> Batch:
    """Return this process's rows of a batch that every process drew alike.

    One for which no row of a small batch is left gets the first, to count nothing: all must take the step.
    """
    if process >= rows:
        return {name: tensor[:1] for name, tensor in batch.items()}
    shares = min(rows, processes)
    return {name: tensor.tensor_split(shares)[process] for name, tensor in batch.items()}


def _accumulate(
    accelerator: Accelerator,
    model: nn.Module,
    share: Batch,
    whole: float,
    mean_of: Callable[[Batch], Tensor],
    micro_batch: int | None,
    turns: int,
    weigh: Callable[[Batch], Tensor | int],
    bfloat16: bool,
) -> Tensor:
    """Add the gradients of this process's rows, piece by piece; return their part of the mean loss.

    All processes take as many `turns`, since each gathers shards: one with fewer pieces repeats its last for nothing.
    """
    device, pieces = accelerator.device, list(_pieces(share, micro_batch))
    total = torch.zeros((), device=device)
    for i in range(turns):
        piece = pieces[min(i, len(pieces) - 1)]
        part = {name: tensor.to(device, non_blocking=True) for name, tensor in piece.items()}
        weight = float(weigh(piece)) / whole if whole and i < len(pieces) else 0.0
        with accelerator.no_sync(model) if i + 1 < turns else nullcontext():
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                mean = mean_of(part)
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
