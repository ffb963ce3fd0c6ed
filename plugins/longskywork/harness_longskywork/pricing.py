"""What a run would cost: parameters from the meta device, the rest by formula. Made stages cost nothing again."""

from __future__ import annotations

from typing import Any

import torch

from harness import Plan, Run
from harness.nn.bases import config_of
from harness.nn.pricing import copies, halved, plan_of, tokens_of
from harness_longskywork.models import small, suited
from harness_longskywork.settings import Order, Scaling, Task
from harness_longskywork.training import FORMS, loss

FORM = {0.0: " as cells", 0.5: " as both", 1.0: " as records"}


def plan(run: Run) -> Plan:
    """Price all stages of a method: of the model that it starts from, or of the small one.

    Raises UsageError for a model that the method cannot lengthen.
    """
    task, parts = run.task, stages(run.task, run.method)
    if run.model is not None:
        config = config_of(run.model)
        suited(config, run.method)
        model: Any = copies(config)
    else:
        with torch.device("meta"):
            model = small(task, task.vocabulary + 217)
    if task.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    rows = run.micro_batch or max(task.batch_size, task.windows)
    return plan_of(
        model,
        list(parts.values()),
        step=loss,
        batch=tokens_of(model.config.get_text_config().vocab_size),
        precision=run.precision,
        activation=4 if task.gradient_checkpointing else 34,
        rows=rows,
        levers={
            "fit.micro_batch": halved(rows),
            "task.window": [task.window // 2**i for i in (1, 2, 3) if run.model],
        },
        notes=[f"{name}: {s * r * n:,} tokens, rows of {n:,}" for name, (s, r, n) in parts.items()],
    )


def stages(task: Task, method: Any) -> dict[str, tuple[int, int, int]]:
    """Return each stage's steps, rows a step and tokens a row."""
    found = {"copying warm-up": (task.copy_steps, task.batch_size, task.copy_length)}
    if method.base:
        found["single documents"] = (task.base_steps, task.batch_size, task.document)
    if method.order is not Order.none:
        found["long pretraining"] = (task.long_steps, task.windows, task.window)
    elif method.scaling is not Scaling.none:
        found["base scaled"] = (0, 0, 0)
    found["short tuning"] = (task.short_steps, task.batch_size, task.prose // 4 + 11)
    if method.synl_share > 0:
        for steps, (columns, share) in zip(task.synl_steps, FORMS, strict=True):
            length = task.rows * columns * 3 + 3 * task.questions
            if share == 1:
                length = task.rows * (1 + 2 * columns) + 4 * task.questions
            found[f"tables, {columns} columns{FORM[share]}"] = (
                steps,
                task.batch_size,
                length,
            )
    found["needles"] = (task.needle_steps, task.batch_size, task.prose + 11)
    return {name: part for name, part in found.items() if part[0]}
