"""Adapt the base: mark what the method trains, train it, keep only that.

A run leaves LoRA's adapter in PEFT's form, or for the other methods the tensors they trained; the base
itself is never written again. All methods of a seed see the same batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.batches import Batches, Shuffled
from harness.data.jsonl import read_jsonl
from harness.errors import UsageError
from harness.fit import seed_everything, trial_step
from harness.nn.losses import next_token_loss
from harness.nn.weights import load_trained, save_trained
from harness_lora.adapter import load_adapter, save_adapter
from harness_lora.bases import run_base, small
from harness_lora.heads import head_names
from harness_lora.injection import inject
from harness_lora.options import LoraConfig
from harness_lora.preparation import form_of
from harness_lora.rivals import add_adapters, add_prefix
from harness_lora.settings import Lora, Trains

TRAINED = "trained.safetensors"


def train(run: Any) -> None:
    """Train what `run.method` trains of the base, and leave it in `run.output_dir`."""
    model = run_base(run)
    seed_everything(run.seed)
    adapt(model, run.method)
    if run.method.trains is Trains.nothing:
        for name in ("train_peak_memory", "train_tokens_per_second"):
            run.absent(name, "nothing is trained")
    else:
        task = run.task
        run.fit(
            model,
            batches(run),
            step_for(form_of(run.data_dir).kind),
            steps=task.steps,
            learning_rate=learning_rate(run),
            weight_decay=task.weight_decay,
            schedule=task.schedule.name,
            warmup=task.warmup,
            clip=task.clip or None,
        )
    save(model, run.method, run.output_dir)


def learning_rate(run: Any) -> float:
    """Return the peak rate: the method's, scaled to the model's size."""
    whole = run.method.trains is Trains.everything
    scale = run.task.rate_scale * (run.task.full_rate_scale if whole else 1.0)
    return float(run.method.learning_rate * scale)


def adapt(model: nn.Module, method: Lora) -> nn.Module:
    """Let exactly those parameters be trained that `method` trains, and a classifier's new head always."""
    heads = head_names(model)
    if method.trains is Trains.lora:
        return inject(model, lora_config(method, heads))
    model.requires_grad_(method.trains is Trains.everything)
    if method.trains is Trains.adapters:
        add_adapters(model, method.bottleneck, method.rank)
    elif method.trains is Trains.prefix:
        add_prefix(model, method.prefix)
    for name, parameter in model.named_parameters():
        if any(name.startswith(f"{head}.") for head in heads):
            parameter.requires_grad_(method.trains is not Trains.nothing)
        elif method.trains is Trains.biases and name.endswith(".bias"):
            parameter.requires_grad_(True)
    if method.trains is Trains.head and not heads:
        model.get_output_embeddings().weight.requires_grad_(True)  # type: ignore[operator]
    trained = any(p.requires_grad for p in model.parameters())
    if method.trains is Trains.biases and not trained:
        raise UsageError("this model has no biases, so bitfit trains nothing of it: leave the method out")
    return model


def lora_config(method: Lora, heads: list[str]) -> LoraConfig:
    """Return a method's LoRA settings; a name, or names with commas between, are names and not a regex."""
    targets: str | tuple[str, ...] = method.targets
    if method.targets != "all-linear" and method.targets.replace("_", "").replace(",", "").isalnum():
        targets = tuple(method.targets.split(","))
    return LoraConfig(
        method.rank, method.alpha, method.dropout, targets, method.rslora, tuple(heads), dora=method.dora
    )


def save(model: nn.Module, method: Lora, folder: Path) -> None:
    """Write what was trained: an adapter folder, or `trained.safetensors` (nothing for the base as it is)."""
    if method.trains is Trains.lora:
        save_adapter(model, folder)
    else:
        save_trained(model, folder / TRAINED)


def load(run: Any) -> Any:
    """Return the adapted model of a run that was trained, in eval mode on its device."""
    model = run_base(run)
    if run.method.trains is Trains.lora:
        load_adapter(model, run.output_dir)
    else:
        adapt(model, run.method)
        load_trained(model, run.output_dir / TRAINED)
    return model.to(run.device).eval()


def batches(run: Any) -> Any:
    """Return the endless batches of this run's data and seed."""
    task, kind, share = run.task, form_of(run.data_dir).kind, run.method.share
    if kind == "text":
        tokens = np.load(run.data_dir / "train.npy", mmap_mode="r")
        used = tokens[: max(round(share * len(tokens)), task.length + 1)]
        return Batches(used, length=task.length, batch_size=task.batch_size, seed=run.seed)
    rows = read_jsonl(run.data_dir / "train.jsonl")
    return Shuffled(rows[: max(round(share * len(rows)), 1)], task.batch_size, run.seed, padded)


def padded(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Return right-padded `input_ids`, `attention_mask` (rows, length), and `labels`.

    For pairs `labels[:, t]` is the token after `input_ids[:, t]` where that is of the completion, else -100;
    for text with labels it is (rows,).
    """
    classes = "label" in examples[0]
    inputs = [e["ids"] if classes else e["ids"][:-1] for e in examples]
    width = max(map(len, inputs))
    ids = torch.zeros(len(inputs), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, (given, example) in enumerate(zip(inputs, examples, strict=True)):
        ids[row, : len(given)] = torch.tensor(given)
        mask[row, : len(given)] = 1
        if not classes:
            first = example["prompt"] - 1  # the last token of the prompt predicts the completion's first
            labels[row, first : len(given)] = torch.tensor(example["ids"][first + 1 :])
    if classes:
        labels = torch.tensor([e["label"] for e in examples])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def step_for(kind: str) -> Any:
    """Return `step(model, batch) -> loss` for this kind of data."""
    return class_loss if kind == "labels" else next_token_loss


def class_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return the mean cross-entropy of the labels."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return nn.functional.cross_entropy(logits.float(), batch["labels"])


def training_step(run: Any, device: str) -> None:
    """Do one whole step on random tokens of the task's shape (for the contract kit)."""
    trial_step(
        lambda vocabulary: adapt(small(run.task, vocabulary), run.method),
        next_token_loss,
        (2, run.task.length),
        device,
    )
