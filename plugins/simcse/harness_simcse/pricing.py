"""What a training run would cost: parameters from the meta device, the rest by formula."""

from __future__ import annotations

from typing import Any

import torch

from harness import Plan
from harness.nn.pricing import Size, plan_of
from harness_simcse.settings import Objective, Trained

FORMULA = (
    "tokens = steps x batch x views x max_length (an upper bound: batches are padded to their longest only); "
    "FLOPs = 6 x parameters without embeddings x tokens; memory = parameters x 16 bytes (weight, gradient, AdamW) "
    "+ activations of about 34 x layers x width bytes a token of a batch (or of fit.micro_batch rows)"
)
BAND = (
    "the paper's 76.25 (BERT-base, average of 7) was reproduced by others as 73.5 to 76.3: expect that band"
)


def plan(run: Any) -> Plan:
    """Price a run: exact parameter counts, and tokens, FLOPs and memory by `FORMULA`."""
    from transformers import AutoConfig, AutoModel

    from harness_simcse.preparation import tiny_config

    method, task = run.method, run.task
    config = AutoConfig.from_pretrained(run.model.path) if run.model else tiny_config()
    if task.layers is not None:
        config.num_hidden_layers = task.layers
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    embeddings = model.get_input_embeddings().weight.numel()
    total = sum(p.numel() for p in model.parameters())
    width, layers = config.hidden_size, config.num_hidden_layers
    linear = task.trained is Trained.linear
    learns = width * (width + 1) if linear else total
    supervised = method.objective is Objective.supervised
    steps, batch = (
        (task.triplet_steps, task.triplet_batch_size) if supervised else (task.steps, task.batch_size)
    )
    views = 3 if supervised and method.hard_negatives else 2
    if method.objective in (Objective.nothing, Objective.whitening):
        steps = 0
    return plan_of(
        Size(total, embeddings, max(layers, 1), width, vocabulary=0),  # there are no logits
        [(steps, batch * views, task.max_length)],
        trained=learns,
        flops=6 * (learns if linear else total - embeddings),
        rows=min(run.micro_batch or batch, batch) * views,
        formula=FORMULA,
        notes=(BAND,) if run.budget == "full" else (),
    )
