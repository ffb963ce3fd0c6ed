"""What a training run would cost: parameters from the meta device, the rest by formula."""

from __future__ import annotations

from typing import Any

import torch

from harness import Plan, Run
from harness.nn.pricing import plan_of
from harness_alibi.settings import Retrofit, Task
from harness_alibi.training import decoder, windows_of


def plan(run: Run[Task, Any]) -> Plan:
    """Price a run of this task."""
    task = run.task
    vocabulary = task.vocabulary if task.tokenizer == "words" else 100  # printable characters
    if isinstance(run.method, Retrofit):
        return _retrofit(run, vocabulary)
    with torch.device("meta"):
        model = decoder(run.method, task, vocabulary)
    return plan_of(
        model,
        [(task.steps, task.batch_size, task.length)],
        state=4 if task.optimizer.name == "nag" else 8,
        notes=(
            _words(vocabulary, task.width),
            f"{task.batch_size} windows of {task.length:,} tokens a step",
            "the paper's 247 M model has the same layers under an adaptive input and softmax of 45.4 M instead",
        ),
    )


def _retrofit(run: Run[Task, Retrofit], vocabulary: int) -> Plan:
    """Price a retrofit: of the model given, or of the small Llama and the training that it needs first."""
    from transformers import AutoModelForCausalLM

    from harness.nn.bases import config_of
    from harness_alibi.retrofit import refuse, small

    task = run.task
    ahead = [(task.steps, *windows_of(task, run.method))]
    if run.model is not None:
        config = config_of(run.model)
        refuse(config, run.model.name)
        with torch.device("meta"):
            return plan_of(
                AutoModelForCausalLM.from_config(config), ahead, notes=(f"{run.model.name}, trained on",)
            )
    with torch.device("meta"):
        model = small(task, vocabulary)
    first = (task.steps, task.batch_size, task.length)
    return plan_of(
        model,
        [first, *ahead],
        notes=(
            _words(vocabulary, task.width),
            "half of it trains the small Llama that all retrofits and seeds share",
        ),
    )


def _words(vocabulary: int, width: int) -> str:
    embeddings = f"{vocabulary * width / 1e6:.1f} M embedding parameters, tied to the output"
    return f"vocabulary of {vocabulary:,} tokens: {embeddings}"
