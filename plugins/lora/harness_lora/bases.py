"""The model that is adapted: any that `model=` names, or a small one trained here on general text.

Both are folders of transformers. The small one is a stage: made once, and shared by all methods and
seeds, so that intervals are conditional on it. Weights in GGUF are unpacked to float32, also once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.data.batches import Batches
from harness.errors import UsageError
from harness.fit import fit, seed_everything
from harness.nn.decoder import Decoder
from harness_lora.preparation import Form, form_of
from harness_lora.settings import Task

BASE_SEED = 0


def small(task: Task, vocabulary: int) -> Decoder:
    """Return the untrained small base: rotary positions, and an output layer of its own."""
    return Decoder.of(
        task, vocabulary, "base_", length=task.length, position="rotary", tie_word_embeddings=False
    )


def base_folder(run: Any) -> Path:
    """Return the folder of this run's base, making it if nobody has yet."""
    inputs: dict[str, Any] = {}
    if run.model is None:
        task = run.task
        names = ("length", "batch_size", *(name for name in vars(task) if name.startswith("base_")))
        inputs = {
            "settings": {name: getattr(task, name) for name in names},
            "text": run.data["general"].digest,
            "tokens": form_of(run.data_dir).digest,
            "precision": run.precision,
        }
    folder: Path = run.base(lambda folder: train_small(run, folder), inputs)
    return folder


def train_small(run: Any, folder: Path) -> None:
    """Train the small base on the general text and save it in `folder`."""
    from transformers import AutoTokenizer

    task, form = run.task, form_of(run.data_dir)
    if form.kind == "labels":
        raise UsageError("text with labels needs a pretrained model: add model=<hub id or folder>")
    tokenizer = AutoTokenizer.from_pretrained(run.data_dir / "tokenizer")
    tokens = np.load(run.data_dir / "general-train.npy", mmap_mode="r")
    seed_everything(BASE_SEED)
    model = small(task, len(tokenizer))
    fit(
        model,
        Batches(tokens, length=task.length, batch_size=task.batch_size, seed=BASE_SEED),
        next_token_loss,
        steps=task.base_steps,
        learning_rate=task.base_learning_rate,
        weight_decay=0.01,
        warmup=min(50, task.base_steps // 4),
        device=run.device,
        precision=run.precision,
        progress=lambda done, total, **more: run.progress(done, total, note="the shared base", **more),
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def next_token_loss(model: Any, batch: dict[str, Any]) -> Any:
    """Return the mean loss of predicting each next token; labels stand at their predictions, -100 is no target.

    The mean of each row counts alike, so that a batch may be cut into pieces.
    """
    import torch

    more = {"attention_mask": batch["attention_mask"]} if "attention_mask" in batch else {}
    logits = model(input_ids=batch["input_ids"], use_cache=False, **more).logits
    labels = batch["labels"]  # (rows, length)
    losses = torch.nn.functional.cross_entropy(
        logits.float().transpose(1, 2), labels, reduction="none", ignore_index=-100
    )
    return (losses.sum(dim=1) / (labels != -100).sum(dim=1).clamp(min=1)).mean()


def load_base(folder: str | Path, form: Form | None = None, revision: str | None = None) -> Any:
    """Load a base in float32: a classifier for data with labels, else a causal language model."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    options: dict[str, Any] = {"dtype": torch.float32, **({"revision": revision} if revision else {})}
    config = AutoConfig.from_pretrained(folder, **({"revision": revision} if revision else {}))
    if form is not None and form.kind == "labels":
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=len(form.labels), **options
        )
        if model.config.pad_token_id is None:
            model.config.pad_token_id = 0
        return model.eval()
    if form is None and any("SequenceClassification" in a for a in config.architectures or ()):
        return AutoModelForSequenceClassification.from_pretrained(folder, **options).eval()
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def run_base(run: Any) -> Any:
    """Load this run's base, called in adapters as others would call it."""
    model = load_base(base_folder(run), form_of(run.data_dir))
    if run.model is not None and run.model.kind == "hub":
        model.config._name_or_path = run.model.name.removeprefix("hub:").partition("@")[0]
        model.config._commit_hash = run.model.revision
    return model
