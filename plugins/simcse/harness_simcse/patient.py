"""The encoder that a method works on: the given model, cut as the task says, its dropout set.

`task.layers=0` keeps only the model's word vectors, averaged: the most anisotropic encoder there is, and one
that two cores train in seconds. With `task.trained=linear` the encoder is frozen and a linear layer over it,
which starts as the identity, is what learns. Only what was trained is saved; the rest is the model's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.errors import UsageError
from harness.nn.encoder import POOLER, Encoder, StaticEmbedding, dense, load_encoder
from harness_simcse.settings import Head, Objective, SimCSE, Task, Trained

LEARNS = (Objective.unsupervised, Objective.supervised, Objective.library)


def patient(method: SimCSE, task: Task, folder: Path, trust_remote_code: bool = False) -> Encoder:
    """Return the encoder of `folder` as this method starts from it, on the CPU."""
    pooling = method.pooling or task.pooling
    encoder = load_encoder(folder, pooling=pooling, prompt=task.prompt, trust_remote_code=trust_remote_code)
    if not method.whole:
        encoder = cut(encoder, task.layers)
    return fitted(encoder, method, task)


def fitted(encoder: Encoder, method: SimCSE, task: Task) -> Encoder:
    """Give an encoder its dropout and its layer on top, and freeze what does not learn."""
    if method.dropout is not None:
        set_dropout(encoder, method.dropout)
    pooler = getattr(encoder.model, "pooler", None)
    if encoder.pooling != POOLER and isinstance(pooler, nn.Module):
        pooler.requires_grad_(False)  # nothing reads it: several processes would wait for its gradient
    if method.objective in LEARNS and task.trained is Trained.linear:
        encoder.requires_grad_(False)
        encoder.head = nn.Sequential(identity(width(encoder)))
    elif method.objective in LEARNS and method.head is Head.kept:
        encoder.head = nn.Sequential(new_head(width(encoder)))
    return encoder


def cut(encoder: Encoder, layers: int | None) -> Encoder:
    """Keep the first `layers` layers: all of them for None, for 0 the word vectors alone."""
    if layers is None:
        return encoder
    model = encoder.model
    if isinstance(model, StaticEmbedding):
        if layers:
            raise UsageError("this model has no layers to cut: set task.layers=0")
        return encoder
    if layers == 0:
        weight = model.get_input_embeddings().weight.detach()  # type: ignore[operator]
        words = StaticEmbedding(weight, dropout=0.1)
        return Encoder(words, encoder.tokenizer, "mean", prompt=encoder.prompt).eval()
    config: Any = model.config
    total = config.num_hidden_layers
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == total]
    if layers > total or not stacks:
        raise UsageError(f"the model has {total} layers: set task.layers to 0 up to that, or null for all")
    del stacks[0][layers:]
    config.num_hidden_layers = layers
    return encoder


def set_dropout(module: nn.Module, p: float) -> None:
    """Set every dropout of a model, also those that attention keeps as a number."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = p
        for name in ("attention_dropout", "dropout_prob"):
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, p)


def new_head(size: int) -> nn.Sequential:
    """Return the paper's layer over [CLS]: linear and tanh, new (the model's own pooler is not used)."""
    head = dense(size, size)
    linear: Any = head[0]
    nn.init.normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    return head


def identity(size: int) -> nn.Sequential:
    """Return a linear layer that starts by changing nothing."""
    layer = dense(size, size, "Identity")
    linear: Any = layer[0]
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)
    return layer


def width(encoder: Encoder) -> int:
    """Return how many numbers a pooled vector has."""
    if isinstance(encoder.model, StaticEmbedding):
        return encoder.model.embedding.embedding_dim
    config: Any = encoder.model.config
    return int(config.hidden_size) * len(encoder.pooling.split("+"))


@torch.no_grad()
def save(encoder: Encoder, path: Path) -> None:
    """Write what differs from the given model: trained weights and the layer on top."""
    from safetensors.torch import save_file

    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in encoder.state_dict().items()
        if name in trained or name.startswith("head.")
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    save_file(state or {"nothing": torch.zeros(1)}, partial)
    partial.replace(path)


def load(run: Any, which: str = "last") -> Encoder:
    """Return the encoder that `train` left: after the last step, or the best one where one was chosen."""
    encoder = patient(run.method, run.task, model_folder(run), run.trust_remote_code)
    path = run.output_dir / f"{which}.safetensors"
    restore(encoder, path if path.exists() else run.output_dir / "last.safetensors")
    return encoder.to(run.device).eval()


def restore(encoder: Encoder, path: Path) -> None:
    """Put back what `save` wrote."""
    from safetensors.torch import load_file

    state = load_file(path)
    state.pop("nothing", None)
    if (
        encoder.head is None and "head.0.0.weight" in state
    ):  # whitening's layer, which may keep fewer directions
        rows, columns = state["head.0.0.weight"].shape
        encoder.head = nn.Sequential(dense(columns, rows, "Identity"))
    encoder.load_state_dict(state, strict=False)


def model_folder(run: Any) -> Path:
    """Return where the given model lies: `model=`'s, or the tiny one that `prepare` made without one."""
    return run.model.path if run.model else run.data_dir / "model"
