"""Train one small decoder at length L; only its positions differ between methods."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from harness import Run
from harness.data.batches import Batches
from harness.fit import recipe, seed_everything, trial_step
from harness.nn.decoder import Decoder
from harness_alibi import positions  # noqa: F401  (makes position="alibi" known to the decoder)
from harness_alibi.settings import Alibi, Optimizer, Task


def decoder(method: Alibi, task: Task, vocabulary: int) -> Decoder:
    """Return an untrained decoder with this method's positions."""
    options = vars(method) if method.position == "alibi" else {}
    options = {name: value for name, value in options.items() if name != "position"}
    return Decoder.of(task, vocabulary, position=method.position, position_options=options)


def train(run: Run[Task, Alibi]) -> None:
    """Train on random windows of L tokens, the same ones for every method of a seed."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.data_dir / "tokenizer")
    tokens = np.load(run.data_dir / "train.npy", mmap_mode="r")
    seed_everything(run.seed)
    model = decoder(run.method, run.task, len(tokenizer))
    batches = Batches(tokens, length=run.task.length, batch_size=run.task.batch_size, seed=run.seed)
    options = recipe(run.task)
    if run.task.optimizer is Optimizer.nag:  # fairseq's default momentum
        options["optimizer"] = functools.partial(torch.optim.SGD, momentum=0.99, nesterov=True)
    run.fit(model, batches, step, **options)
    model.save_pretrained(run.output_dir)
    tokenizer.save_pretrained(run.output_dir)


def step(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the mean loss of predicting each next token of a batch of windows."""
    logits = model(input_ids=batch["input_ids"], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch["labels"].flatten())


def training_step(run: Run[Task, Alibi], device: str) -> None:
    """Do one whole step on random tokens of the task's shape (for the contract kit)."""
    build = functools.partial(decoder, run.method, run.task)
    trial_step(build, step, (2, run.task.length), device)
