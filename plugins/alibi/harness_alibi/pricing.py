"""What a training run would cost: parameters from the meta device, the rest by formula."""

from __future__ import annotations

import torch

from harness import Plan, Run
from harness_alibi.training import decoder

FORMULA = (
    "FLOPs = 6 x parameters x tokens + 12 x layers x width x L x tokens; "
    "memory = parameters x (4 weight + 4 gradient + 8 AdamW or 4 NAG) bytes "
    "+ activations of about 34 x layers x width bytes a token + logits of 2 x 4 x vocabulary bytes a token"
)


def plan(run: Run) -> Plan:
    """Price a run of this task: exact parameter counts, and FLOPs and memory by `FORMULA`."""
    task = run.task
    vocabulary = task.vocabulary if task.tokenizer == "words" else 100  # printable characters
    with torch.device("meta"):
        model = decoder(run.method, task, vocabulary)
    total = sum(p.numel() for p in model.parameters())
    embeddings = vocabulary * task.width
    tokens = task.steps * task.batch_size * task.length
    attention = 12 * task.layers * task.width * task.length
    state = 12 if task.optimizer.name == "nag" else 16
    per_token = 34 * task.layers * task.width + 8 * vocabulary
    return Plan(
        parameters=total,
        parameters_without_embeddings=total - embeddings,
        tokens=tokens,
        flops=float((6 * total + attention) * tokens),
        memory_bytes=total * state + per_token * task.batch_size * task.length,
        formula=FORMULA,
        notes=(
            f"vocabulary of {vocabulary:,} tokens: {embeddings / 1e6:.1f} M embedding parameters, tied to the output",
            "the paper's 247 M model has the same layers under an adaptive input and softmax of 45.4 M instead",
        ),
    )
