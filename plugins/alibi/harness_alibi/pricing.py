"""What a training run would cost: parameters from the meta device, the rest by formula."""

from __future__ import annotations

from typing import Any

import torch

from harness import Plan, Run
from harness.nn.pricing import halved, plan_of, tokens_of
from harness_alibi.settings import Retrofit, Task
from harness_alibi.training import decoder, step, windows_of


def plan(run: Run[Task, Any]) -> Plan:
    """Price a run of this task."""
    task = run.task
    vocabulary = task.vocabulary if task.tokenizer == "words" else 100  # printable characters
    if isinstance(run.method, Retrofit):
        return _retrofit(run, vocabulary)
    with torch.device("meta"):
        model = decoder(run.method, task, vocabulary)
    rows, length = windows_of(task, run.method)
    return plan_of(
        model,
        [(task.steps, rows, length)],
        state=4 if task.optimizer.name == "nag" else 8,
        **_counted(run, vocabulary, rows),
        notes=(
            _words(vocabulary, task.width),
            f"{rows} windows of {length:,} tokens a step",
            "the paper's 247 M model has the same layers under an adaptive input and softmax of 45.4 M instead",
        ),
    )


def _retrofit(run: Run[Task, Retrofit], vocabulary: int) -> Plan:
    """Price a retrofit: of the model given, or of the small Llama and the training that it needs first."""
    from transformers import AutoModelForCausalLM

    from harness_alibi.models import config_given
    from harness_alibi.retrofit import refuse, small

    task = run.task
    ahead = [(task.steps, *windows_of(task, run.method))]
    if run.model is not None:
        config = config_given(run.model)
        refuse(config, run.model.name)
        with torch.device("meta"):
            model = _changed(AutoModelForCausalLM.from_config(config), run.method)
        counted = _counted(run, config.vocab_size, ahead[0][1])
        return plan_of(model, ahead, **counted, notes=(f"{run.model.name}, trained on",))
    with torch.device("meta"):
        model = _changed(small(task, vocabulary), run.method)
    first = (task.steps, task.batch_size, task.length)
    return plan_of(
        model,
        [first, *ahead],
        **_counted(run, vocabulary, task.batch_size),
        notes=(
            _words(vocabulary, task.width),
            "half of it trains the small Llama that all retrofits and seeds share",
        ),
    )


def _changed(model: Any, method: Retrofit) -> Any:
    """Return a model with the positions that a retrofit trains."""
    from harness_alibi.retrofit import replace_rotary

    if method.position == "alibi":
        replace_rotary(model)
    return model


def _counted(run: Run, vocabulary: int, rows: int) -> dict[str, Any]:
    """Return what `plan_of` counts a step's memory by."""
    return {
        "step": step,
        "batch": tokens_of(vocabulary),
        "precision": run.precision,
        "rows": run.micro_batch or rows,
        "levers": {"fit.micro_batch": halved(run.micro_batch or rows)},
    }


def _words(vocabulary: int, width: int) -> str:
    embeddings = f"{vocabulary * width / 1e6:.1f} M embedding parameters, tied to the output"
    return f"vocabulary of {vocabulary:,} tokens: {embeddings}"
