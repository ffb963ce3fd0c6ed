"""What a training would cost: rollouts are priced apart, since they are most of it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from harness import Plan
from harness.nn.pricing import shaped
from harness_score.addition import small
from harness_score.settings import Estimator, Score, Task, Trains

FORMULA = (
    "FLOPs = parameters x (2 x sampled tokens and prompts read + 6 x tokens trained on + 2 x tokens the base scores); "
    "memory = weights, gradients and Adam's two (16 bytes a trained weight) + the base (4, none with LoRA) + the "
    "larger of the rollouts' cache and the step's logits and activations"
)
PROMPT = {"math": 200, "number": 150, "code": 250}  # tokens of a prompt, about
CORRECTION = {"math": 80, "number": 60, "code": 50}


def plan(run: Any) -> Plan:
    """Price a run: of Qwen2.5-1.5B's shape at budget=full, else of the small base."""
    task, method = run.task, run.method
    with torch.device("meta"):
        model: Any = shaped("Qwen/Qwen2.5-1.5B") if run.budget == "full" else small(task, 16)
    total = sum(p.numel() for p in model.parameters())
    config = model.config
    embeddings = model.get_input_embeddings().weight.numel()
    made, read, trained = tokens(task, method)
    forward = 2 * total
    flops = forward * (made + read) + 3 * forward * trained + forward * trained
    updated = lora_parameters(model, task.lora_rank) if task.lora_rank else total
    memory = 4 * total + 12 * updated + (0 if task.lora_rank else 4 * total)
    prompt, answer, between = lengths(task)
    rows, columns = (run.micro_batch or task.prompts) * task.samples, prompt + 2 * answer + between
    cache = 8 * config.num_hidden_layers * key_width(config) * rows * columns
    models = 3 if method.kl is Estimator.exact else 2  # whose logits are kept
    each = 34 * config.num_hidden_layers * config.hidden_size + 8 * models * config.vocab_size
    most = max(cache, each * rows * columns)
    return Plan(
        parameters=total,
        parameters_without_embeddings=total - embeddings,
        tokens=trained,
        flops=float(flops),
        memory_bytes=memory + most,
        formula=FORMULA,
        notes=(
            f"rollouts: {made:,} tokens are sampled one after another and {read:,} read, with a cache of "
            f"{cache / 2**30:.2f} GiB; they are {forward * (made + read) / max(flops, 1):.0%} of the FLOPs, and more "
            "of the time: sampling reaches a small share of a GPU's peak",
            f"{rows:,} episodes of up to {columns:,} tokens go through at once; fit.micro_batch=1 (one problem's) "
            f"would take {(memory + most * task.samples / rows) / 2**30:.2f} GiB",
        ),
    )


def lengths(task: Task) -> tuple[int, int, int]:
    """Return the tokens of a prompt, of an answer, and of what stands between the answers."""
    name = task.prompt.name
    if name == "addition":
        return 2 * task.digits + 2, task.digits + 1, 1
    return PROMPT[name], task.answer_tokens, CORRECTION[name]


def tokens(task: Task, method: Score) -> tuple[int, int, int]:
    """Return the tokens sampled, read as prompts, and trained on, in the whole training."""
    prompt, answer, between = lengths(task)
    if method.trains is Trains.nothing:
        return 0, 0, 0
    looks = math.ceil(task.steps / task.validate_every) * task.validation_problems
    if method.trains is Trains.policy:
        episodes = task.steps * task.prompts * task.samples
        made = episodes * answer * method.turns + looks * 2 * answer
        read = task.steps * task.prompts * prompt + episodes * between * (method.turns - 1) + looks * prompt
        again = episodes * (prompt + answer) if method.blank else 0
        length = prompt + answer + (between + answer) * (method.turns - 1)
        return made, read + again, episodes * length + again
    rounds, turns = (3, 2) if method.trains is Trains.star else (1, 1)
    episodes = rounds * task.train_problems * task.sft_samples
    made = episodes * answer * turns + looks * 2 * answer
    read = rounds * task.train_problems * prompt + looks * prompt
    return made, read, task.sft_steps * task.sft_batch * (prompt + 2 * answer + between)


def key_width(config: Any) -> int:
    """Return the width of a layer's keys, which grouped heads make smaller than the model's."""
    heads = config.num_attention_heads
    return int(config.hidden_size // heads * (getattr(config, "num_key_value_heads", None) or heads))


def lora_parameters(model: nn.Module, rank: int) -> int:
    """Count A and B of every linear layer but the output."""
    return sum(
        rank * (m.in_features + m.out_features)
        for name, m in model.named_modules()
        if isinstance(m, nn.Linear) and "lm_head" not in name
    )
