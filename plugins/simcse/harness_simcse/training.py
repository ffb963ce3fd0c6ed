"""Contrast a batch's views, of which only the dropout masks (or a change of words) differ.

The loss compares rows, so a batch cannot be cut by accumulation. `fit.micro_batch` caches gradients instead: all
rows are embedded piece by piece without keeping activations, the loss sees the whole batch, and each piece is
embedded again, with the same dropout masks, when its gradient is due. Memory is that of one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from harness.data.jsonl import read_json
from harness.errors import UsageError
from harness.fit import seed_everything, trial_step, whole
from harness.nn.encoder import Encoder, dense
from harness.tools import write_json
from harness_simcse.contrast import supervised_loss, unsupervised_loss
from harness_simcse.gathering import gathered
from harness_simcse.patient import fitted, model_folder, new_head, patient, save, width
from harness_simcse.preparation import load_sets, test_set, tiny_config, validation_set
from harness_simcse.protocol import Pairs, correlation, cosines, vectors
from harness_simcse.sentences import Batches, augmentation
from harness_simcse.settings import Augmentation, Head, Objective, SimCSE, Task, Trained, WhitenOn
from harness_simcse.space import whitening

FITTED_ON = 20_000  # sentences are enough for a mean and a covariance


class Views(nn.Module):
    """Embeds a batch of views, (n, views, length) tokens -> (n, views, width), with the training head.

    `piece` rows go through at a time with their gradients cached; None: all at once.
    """

    def __init__(self, encoder: Encoder, head: nn.Module | None = None, piece: int | None = None) -> None:
        super().__init__()
        self.encoder, self.head, self.piece = encoder, head, piece

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        if not self.piece or self.piece >= len(input_ids):
            return self.embed(input_ids, attention_mask)
        pieces = zip(input_ids.split(self.piece), attention_mask.split(self.piece), strict=True)
        return torch.cat([checkpoint(self.embed, *piece, use_reentrant=False) for piece in pieces])

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the vectors of some rows; every view of a row is its own pass, with its own dropout mask."""
        flat = {"input_ids": input_ids.flatten(0, 1), "attention_mask": attention_mask.flatten(0, 1)}
        z = self.encoder.embed(flat)
        if self.head is not None:
            z = self.head(z)
        return z.unflatten(0, input_ids.shape[:2])


def loss_of(method: SimCSE) -> Callable[[Any, dict[str, Tensor]], Tensor]:
    """Return the step that `fit` takes: a batch of views -> the loss, negatives of all processes included."""

    def step(model: Any, batch: dict[str, Tensor]) -> Tensor:
        z = model(batch["input_ids"], batch["attention_mask"])  # (n, views, width)
        # With one view only, it is its own pair: one mask for both.
        others = [gathered(z[:, view]) for view in range(1, z.shape[1])] or [gathered(z[:, 0])]
        first = others[0][1]
        if len(others) == 1:
            return unsupervised_loss(z[:, 0], others[0][0], method.temperature, first)
        return supervised_loss(
            z[:, 0], others[0][0], others[1][0], method.temperature, method.hard_negative_weight, first
        )

    return step


def train(run: Any) -> None:
    """Leave `last.safetensors`, and `best.safetensors` with `best.json` where a step was chosen, in the output."""
    seed_everything(run.seed)
    method, task = run.method, run.task
    encoder = patient(method, task, model_folder(run), run.trust_remote_code)
    if method.objective is Objective.whitening:
        encoder.to(run.device)
        encoder.head = nn.Sequential(whitening_layer(encoder.encode(fitted_on(run))))
    elif method.objective is Objective.library:
        from harness_simcse.library import train_with_library

        encoder = train_with_library(run, encoder)
    elif method.objective in (Objective.unsupervised, Objective.supervised):
        contrast(run, encoder)
    save(encoder, run.output_dir / "last.safetensors")


def contrast(run: Any, encoder: Encoder) -> None:
    """Train `encoder` in place by this run's method, looking at the validation pairs on the way."""
    method, task = run.method, run.task
    model = views(encoder, method, task, run.micro_batch)
    supervised = method.objective is Objective.supervised
    rows = task.triplet_batch_size if supervised else task.batch_size
    if run.shard and run.micro_batch and rows % run.processes:
        raise UsageError(
            f"shards are gathered for each piece, and {run.processes} processes have unlike shares of {rows} rows: "
            "give a number of processes that divides them, or leave fit.micro_batch out"
        )
    batches = Batches(
        training_rows(run),
        encoder,
        task.triplet_batch_size if supervised else task.batch_size,
        run.seed,
        task.max_length,
        augmentation(method.augmentation, method.strength),
    )
    steps = task.triplet_steps if supervised else task.steps
    look = Looks(run, encoder)
    inner = loss_of(method)

    def step(wrapped: Any, batch: dict[str, Tensor]) -> Tensor:
        look(batches.drawn - 1)  # weights after that many steps
        return inner(wrapped, batch)

    # Not cut by `fit`, whose pieces could not see each other: `Views` cuts.
    replace(run, micro_batch=None).fit(
        model,
        batches,
        step,
        steps=steps,
        learning_rate=method.rate * (task.triplet_learning_rate if supervised else task.learning_rate),
        weight_decay=task.weight_decay,
        schedule="linear",
        clip=task.clip or None,
    )
    look(steps, last=True)


def views(encoder: Encoder, method: SimCSE, task: Task, piece: int | None) -> Views:
    """Return what is trained: the encoder and, where the method has one, a head for training alone."""
    head = None
    if task.trained is Trained.encoder and method.head is Head.train_only:
        head = new_head(width(encoder))
    return Views(encoder, head, piece)


def training_rows(run: Any) -> list[list[str]]:
    """Return what a batch is drawn from: a text for every view."""
    method = run.method
    if method.objective is not Objective.supervised:
        sentences = read_json(run.data_dir / "sentences.json")
        if method.augmentation is Augmentation.stranger:  # from half the file away: neighbours may be alike
            half = len(sentences) // 2
            return [list(pair) for pair in zip(sentences, sentences[half:] + sentences[:half], strict=True)]
        return [[text] for text in sentences] if method.same_mask else [[text, text] for text in sentences]
    rows: list[list[str]] = read_json(run.data_dir / "triplets.json")
    if not rows:
        raise UsageError(
            "data.triplets is empty: give a table of sent0, sent1, hard_neg, data.triplets=nli_for_simcse.csv "
            "(`harness simcse triplets` makes one from NLI data)"
        )
    if not method.hard_negatives:
        return [row[:2] for row in rows]
    if len(rows[0]) < 3:
        raise UsageError("data.triplets has no column hard_neg: add it, or set method.hard_negatives=false")
    return rows


class Looks:
    """Scores the encoder on the validation pairs every few steps, and keeps the best weights on disk."""

    def __init__(self, run: Any, encoder: Encoder) -> None:
        pairs = validation_set(load_sets(run.data_dir))
        self.run, self.encoder, self.pairs = run, encoder, pairs
        self.path = run.output_dir / "best.json"
        self.done = -1

    def __call__(self, step: int, last: bool = False) -> None:
        # A step may be seen twice: pieces of a batch, or again after a stop, with the same score.
        due = step > 0 and (step % self.run.task.look_every == 0 or last)
        if self.pairs is None or not due or step <= self.done:
            return
        self.done = step
        with whole(self.encoder):
            if self.run.rank == 0:
                self.look(step, self.pairs)

    def look(self, step: int, pairs: Pairs) -> None:
        """Score the encoder after `step` steps, and keep its weights if they are the best."""
        with torch.autocast(self.encoder.device.type, enabled=False):
            known = vectors(self.encoder.encode, [pairs])
        score = correlation(pairs, cosines(known, {"": pairs})[""])
        self.run.log(step, validation=score)
        best = read_json(self.path) if self.path.exists() else {"score": -2.0}
        if score > best["score"]:
            save(self.encoder, self.run.output_dir / "best.safetensors")
            write_json(self.path, {"step": step, "score": score})


def whitening_layer(x: np.ndarray) -> nn.Sequential:
    """Return whitening, fitted on the rows of x, as a layer: x W - mean W."""
    mean, w = whitening(x)
    layer = dense(w.shape[0], w.shape[1], "Identity")
    linear: Any = layer[0]
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(w.T))
        linear.bias.copy_(torch.from_numpy(-mean @ w))
    return layer


def fitted_on(run: Any) -> list[str]:
    """Return the sentences whose mean and covariance whitening takes."""
    if run.method.whiten_on is WhitenOn.sentences:
        return list(read_json(run.data_dir / "sentences.json")[:FITTED_ON])
    pairs = test_set(load_sets(run.data_dir))
    return [*pairs.first, *pairs.second]


def training_step(run: Any, device: str) -> None:
    """Do one whole step on random tokens of the task's shape (for the contract kit)."""
    from transformers import AutoConfig, AutoModel

    method, task = run.method, run.task
    number = 3 if method.objective is Objective.supervised and method.hard_negatives else 2
    shape = (4, 1 if method.same_mask else number, 8)

    def build(vocabulary: int) -> nn.Module:
        config = AutoConfig.from_pretrained(run.model.path) if run.model else tiny_config()
        encoder = Encoder(Unpadded(AutoModel.from_config(config)), NoText(), task.pooling)
        model = views(fitted(encoder, method, task), method, task, None).train()
        return model.requires_grad_(True)  # methods that train nothing do a step all the same

    mask = torch.ones(shape, dtype=torch.long, device=device)
    trial_step(build, loss_of(method), shape, device, attention_mask=mask)


class Unpadded(nn.Module):
    """A model that is told of no padding: transformers would look into the mask, and meta tensors hold nothing."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        return self.model(input_ids=input_ids)


class NoText:
    """A tokenizer for random tokens: all an `Encoder` asks of it at the start."""

    pad_token = ""
    padding_side = "right"
