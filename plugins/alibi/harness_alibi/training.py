"""Train one small decoder at length L; only its positions differ between methods.

A retrofit starts from a trained model with rotary positions instead: the one given, or a small Llama that is trained
here first, as a stage that all retrofits and seeds share.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import Run
from harness.data.batches import Batches
from harness.errors import UsageError
from harness.fit import fit, recipe, seed_everything, trial_step
from harness.nn.decoder import Decoder
from harness_alibi import positions  # noqa: F401  (makes position="alibi" known to the decoder)
from harness_alibi.settings import Alibi, Optimizer, Retrofit, Task

BASE_SEED = 0
BASE = (  # the task's settings that decide the small Llama
    *("length", "width", "layers", "heads", "feedforward", "attention_dropout", "optimizer", "learning_rate"),
    *("weight_decay", "warmup", "clip", "batch_size", "steps", "schedule_steps"),
)


def decoder(method: Alibi, task: Task, vocabulary: int) -> Decoder:
    """Return an untrained decoder with this method's positions."""
    options = vars(method) if method.position == "alibi" else {}
    options = {name: value for name, value in options.items() if name not in ("position", "window")}
    return Decoder.of(task, vocabulary, position=method.position, position_options=options)


def train(run: Run[Task, Any]) -> None:
    """Train on random windows of L tokens (of method.window times L), the same ones for every method of a seed."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.data_dir / "tokenizer")
    tokens = np.load(run.data_dir / "train.npy", mmap_mode="r")
    if isinstance(run.method, Retrofit):
        _retrofit(run, tokens, len(tokenizer))
    else:
        seed_everything(run.seed)
        model = decoder(run.method, run.task, len(tokenizer))
        rows, length = windows_of(run.task, run.method)
        batches = Batches(tokens, length=length, batch_size=rows, seed=run.seed)
        run.fit(model, batches, step, **options(run.task))
        model.save_pretrained(run.output_dir)
    tokenizer.save_pretrained(run.output_dir)


def options(task: Task) -> dict[str, Any]:
    """Return how a task trains a model from nothing, as options of `fit`."""
    found = recipe(task)
    if task.optimizer is Optimizer.nag:  # fairseq's default momentum
        found["optimizer"] = functools.partial(torch.optim.SGD, momentum=0.99, nesterov=True)
    return found


def _retrofit(run: Run[Task, Retrofit], tokens: np.ndarray, vocabulary: int) -> None:
    """Change the base's positions and train it on for the task's steps, its rate falling to nothing."""
    from harness_alibi.models import config_of, save
    from harness_alibi.retrofit import refuse, retrofitted

    task, method = run.task, run.method
    inputs = {
        "settings": {name: getattr(getattr(task, name), "name", getattr(task, name)) for name in BASE},
        "data": run.data_dir.name,
        "device": run.device,
        "precision": run.precision,
    }
    folder = run.base(lambda to: _base(run, tokens, vocabulary, to), inputs)
    if run.model is not None:
        refuse(config_of(folder), run.model.name)
    rows, length = windows_of(task, method)
    seed_everything(run.seed)
    model = retrofitted(folder, method, task.length)
    batches = Batches(tokens, length=length, batch_size=rows, seed=run.seed)
    more = {"learning_rate": method.learning_rate, "schedule_steps": task.steps}
    run.fit(model, batches, step, **{**recipe(task), **more})
    save(model, run.output_dir)


def windows_of(task: Task, method: Alibi | Retrofit) -> tuple[int, int]:
    """Return how many windows a method's step has and how long they are: as many tokens as the task's, in all."""
    times = min(method.window, task.batch_size)
    if times < 1 or task.batch_size % times:
        raise UsageError(
            f"method.window={method.window} does not divide the {task.batch_size} windows of a step: choose a divisor"
        )
    return task.batch_size // times, times * task.length


def _base(run: Run[Task, Retrofit], tokens: np.ndarray, vocabulary: int, to: Path) -> None:
    """Train the small Llama with rotary positions as the task trains its own decoders."""
    from harness_alibi.retrofit import small

    task = run.task
    seed_everything(BASE_SEED)
    model = small(task, vocabulary)
    batches = Batches(tokens, length=task.length, batch_size=task.batch_size, seed=BASE_SEED)
    fit(
        model,
        batches,
        step,
        device=run.device,
        precision=run.precision,
        progress=lambda done, total, **more: run.progress(done, total, note="the shared base", **more),
        **options(task),
    )
    model.save_pretrained(to)


def step(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the mean loss of predicting each next token of a batch of windows."""
    logits = model(input_ids=batch["input_ids"], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch["labels"].flatten())


def training_step(run: Run[Task, Any], device: str) -> None:
    """Do one whole step on random tokens of the task's shape (for the contract kit)."""
    shape = (2, run.task.length)
    if not isinstance(run.method, Retrofit):
        trial_step(functools.partial(decoder, run.method, run.task), step, shape, device)
        return
    # Without a mask transformers looks into the positions for packed texts, and meta tensors hold nothing.
    causal = torch.ones(shape[1], shape[1], dtype=torch.bool, device=device).tril().expand(2, 1, -1, -1)

    def masked(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return step(functools.partial(model, attention_mask=causal), batch)

    trial_step(functools.partial(_untrained, run.method, run.task), masked, shape, device)


def _untrained(method: Retrofit, task: Task, vocabulary: int) -> Any:
    from harness_alibi.retrofit import replace_rotary, small

    model = small(task, vocabulary)
    if method.position == "alibi":
        replace_rotary(model)
    return model
