"""What a training run would cost: parameters from the meta device, the rest by formula."""

from __future__ import annotations

from typing import Any

import torch

from harness import Plan
from harness.nn.bases import config_of
from harness.nn.encoder import POOLER, Encoder
from harness.nn.pricing import Size, copies, halved, plan_of
from harness_simcse.patient import cut, fitted
from harness_simcse.preparation import tiny_config
from harness_simcse.settings import Objective, Trained
from harness_simcse.training import NoText, Unpadded, loss_of, views

FORMULA = (
    "tokens = steps x batch x views x max_length (an upper bound: batches are padded to their longest only); "
    "FLOPs = 6 x parameters without embeddings x tokens; memory = parameters x 16 bytes (weight, gradient, AdamW) "
    "+ activations at the peak of a batch (or of fit.micro_batch rows), counted on tensors without content"
)
BAND = (
    "the paper's 76.25 (BERT-base, average of 7) was reproduced by others as 73.5 to 76.3: expect that band"
)


def plan(run: Any) -> Plan:
    """Price a run: exact parameter counts, and tokens, FLOPs and memory by `FORMULA`."""
    method, task = run.method, run.task
    config = config_of(run.model) if run.model else tiny_config()
    inner = copies(config, "AutoModel")
    total, embeddings = (
        sum(p.numel() for p in inner.parameters()),
        inner.get_input_embeddings().weight.numel(),
    )
    layers, width = config.num_hidden_layers, config.hidden_size
    encoder = Encoder(Unpadded(inner), NoText(), "cls" if task.pooling == POOLER else task.pooling)
    if task.layers is not None and not method.whole:
        with torch.device("meta"):
            encoder = Encoder(inner, NoText(), task.pooling)
            encoder = cut(encoder, task.layers)
            encoder.model = Unpadded(encoder.model) if task.layers else encoder.model
        layers, total = task.layers, sum(p.numel() for p in encoder.parameters())
    with torch.device("meta"):
        model = views(fitted(encoder, method, task), method, task, run.micro_batch)
    linear = task.trained is Trained.linear
    learns = width * (width + 1) if linear else total
    supervised = method.objective is Objective.supervised
    steps, batch = (
        (task.triplet_steps, task.triplet_batch_size) if supervised else (task.steps, task.batch_size)
    )
    number = 3 if supervised and method.hard_negatives else 2
    if method.objective in (Objective.nothing, Objective.whitening):
        steps = 0
    vocabulary = config.vocab_size

    def drawn(rows: int, length: int) -> dict[str, Any]:
        shape = (rows // number, number, length)
        return {"input_ids": torch.randint(vocabulary, shape), "attention_mask": torch.ones(shape).long()}

    held = min(run.micro_batch or batch, batch)
    return plan_of(
        model,
        [(steps, batch * number, task.max_length)],
        size=Size(total, embeddings, max(layers, 1), width, vocabulary=0),  # there are no logits
        trained=learns,
        flops=6 * (learns if linear else total - embeddings),
        step=loss_of(method) if steps and not linear else None,
        batch=drawn,
        precision=run.precision,
        rows=held * number,
        levers={"fit.micro_batch": halved(held)},
        formula=FORMULA,
        notes=(BAND,) if run.budget == "full" else (),
    )
