"""What a training run would cost: parameters from the meta device, the rest by formula."""

from __future__ import annotations

import torch

from harness import Plan, Run
from harness.nn.pricing import plan_of
from harness_alibi.settings import Alibi, Task
from harness_alibi.training import decoder


def plan(run: Run[Task, Alibi]) -> Plan:
    """Price a run of this task."""
    task = run.task
    vocabulary = task.vocabulary if task.tokenizer == "words" else 100  # printable characters
    with torch.device("meta"):
        model = decoder(run.method, task, vocabulary)
    return plan_of(
        model,
        [(task.steps, task.batch_size, task.length)],
        state=4 if task.optimizer.name == "nag" else 8,
        notes=(
            f"vocabulary of {vocabulary:,} tokens: {vocabulary * task.width / 1e6:.1f} M embedding parameters, "
            "tied to the output",
            "the paper's 247 M model has the same layers under an adaptive input and softmax of 45.4 M instead",
        ),
    )
