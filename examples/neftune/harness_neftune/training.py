"""Tune the given model, or the small one, with noise or without; leave what was tuned."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from harness import Run
from harness.data.batches import Shuffled
from harness.data.jsonl import read_jsonl
from harness.data.pairs import Pair, padded, pairs
from harness.fit import recipe, seed_everything, trial_step
from harness.nn import Decoder
from harness.nn.bases import load_model
from harness.nn.losses import next_token_loss
from harness.nn.weights import load_trained, save_trained
from harness_neftune.noise import noisy
from harness_neftune.settings import Neftune, Task

TUNED = "tuned.safetensors"


def train(run: Run[Task, Neftune]) -> None:
    """Tune on the training pairs; every method of a seed sees the same batches."""
    if not run.method.tunes:
        for name in ("train_tokens_per_second", "train_peak_memory"):
            run.absent(name, "nothing is trained")
        return
    seed_everything(run.seed)
    model = opened(load_model(run.base()), run.task.layers)
    batches = Shuffled(encoded(run, "train"), run.task.batch_size, run.seed, padded)
    run.fit(model, batches, partial(step, alpha=run.method.alpha), **recipe(run.task))
    save_trained(model, run.output_dir / TUNED)


def step(model: Any, batch: dict[str, Tensor], alpha: float) -> Tensor:
    """Return the mean loss of a batch's responses, with noise on what the model reads."""
    if alpha:
        embed = getattr(model, "module", model).get_input_embeddings()
        given = noisy(embed(batch["input_ids"]), batch["attention_mask"], alpha)
        batch = {"inputs_embeds": given, **{name: batch[name] for name in ("attention_mask", "labels")}}
    return next_token_loss(model, batch)


def opened(model: Any, layers: int) -> Any:
    """Let the last `layers` be trained, or all of the model at 0."""
    first = model.config.num_hidden_layers - layers
    for name, parameter in model.named_parameters():
        found = re.search(r"\blayers\.(\d+)\.", name)
        parameter.requires_grad_(not layers or (found is not None and int(found[1]) >= first))
    return model


def tuned(run: Run[Task, Neftune]) -> Any:
    """Return the model as `train` left it, ready to be judged."""
    model = opened(load_model(run.base(), run.device), run.task.layers)
    if run.method.tunes:
        load_trained(model, run.output_dir / TUNED)
    return model


def encoded(run: Run[Task, Neftune], part: str) -> list[Pair]:
    """Return the pairs of a part as tokens of the model's own tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(run.base())
    return pairs(read_jsonl(run.data_dir / f"{part}.jsonl"), tokenizer, run.task.length)


def training_step(run: Run[Task, Neftune], device: str) -> None:
    """Do one whole step of the small model on random tokens (for the contract kit)."""
    task, shape = run.task, (2, run.task.base_length)
    trial_step(
        lambda vocabulary: Decoder.of(task, vocabulary, "base_", position="rotary"),
        partial(step, alpha=run.method.alpha),
        shape,
        device,
        attention_mask=torch.ones(shape, dtype=torch.long, device=device),
    )
