"""What a run would cost: parameters from the meta device, the rest by formula. Made stages cost nothing again."""

from __future__ import annotations

from typing import Any

import torch

from harness import Plan, Run
from harness_longskywork.models import small
from harness_longskywork.settings import Order, Scaling, Task
from harness_longskywork.training import FORMS, PIECE

FORM = {0.0: " as cells", 0.5: " as both", 1.0: " as records"}
FORMULA = (
    "FLOPs = 6 x parameters x tokens + 12 x layers x width x row length x tokens; memory = parameters x (4 weight + 4 "
    "gradient + 8 AdamW) bytes + activations of the largest step, 34 x layers x width bytes a token (with "
    "gradient checkpointing 4) + 8 x vocabulary bytes for each token whose logits are kept"
)


def plan(run: Run) -> Plan:
    """Price all stages of a method, for the small model, or at full budget for one of Qwen2.5 1.5B's shape."""
    task = run.task
    with torch.device("meta"):
        model: Any = qwen_1_5b() if run.budget == "full" else small(task, task.vocabulary + 217)
    total = sum(p.numel() for p in model.parameters())
    config = model.config.get_text_config()
    layers, width, vocabulary = config.num_hidden_layers, config.hidden_size, config.vocab_size
    embeddings = 2 * vocabulary * width if not config.tie_word_embeddings else vocabulary * width
    parts = stages(task, run.method)
    tokens = sum(steps * rows * length for steps, rows, length in parts.values())
    flops = sum(
        (6 * total + 12 * layers * width * length) * steps * rows * length
        for steps, rows, length in parts.values()
    )
    each = layers * width * (4 if task.gradient_checkpointing else 34)
    largest = max(
        (
            rows * length * each + rows * min(length, PIECE) * 8 * vocabulary
            for _, rows, length in parts.values()
        ),
        default=0,
    )
    return Plan(
        parameters=total,
        parameters_without_embeddings=total - embeddings,
        tokens=tokens,
        flops=float(flops),
        memory_bytes=total * 16 + largest,
        formula=FORMULA,
        notes=(
            *(f"{name}: {s * r * n:,} tokens, rows of {n:,}" for name, (s, r, n) in parts.items()),
            "one row at a time (fit.micro_batch=1) lowers the activations accordingly",
        ),
    )


def qwen_1_5b() -> Any:
    """Return a model of Qwen2.5 1.5B's shape."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape: dict[str, Any] = {
        "vocab_size": 151_936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
        "num_attention_heads": 12, "num_key_value_heads": 2, "tie_word_embeddings": True,
    }  # fmt: skip
    return Qwen2ForCausalLM(Qwen2Config(**shape))


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
