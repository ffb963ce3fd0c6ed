"""What a training would cost: rollouts are priced apart, since they are most of it."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import nn

from harness import Plan
from harness.nn.bases import config_of
from harness.nn.pricing import copies, halved, held, recomputes, size_of, with_recomputing
from harness_score.addition import small
from harness_score.credit import credit
from harness_score.episodes import Episodes
from harness_score.policies import Policy
from harness_score.settings import Score, Task, Trains
from harness_score.training import episode_loss

FORMULA = (
    "FLOPs = parameters x (2 x sampled tokens and prompts read + 6 x tokens trained on, 8 where activations are made "
    "again, + 2 x tokens the base scores); "
    "memory = weights, gradients and Adam's two (16 bytes a trained weight) + the base (4, none with LoRA); with "
    "them lie either the rollouts' cache or a step's activations and logits, counted on tensors without content"
)
PROMPT = {"math": 200, "number": 150, "code": 250}  # tokens of a prompt, about
CORRECTION = {"math": 80, "number": 60, "code": 50}


def plan(run: Any) -> Plan:
    """Price a run: of the model that it starts from, or of the small base."""
    task, method = run.task, run.method
    both = Both(run)
    size, config = size_of(both.shape), both.shape.config.get_text_config()
    total = size.parameters
    made, read, trained = tokens(task, method)
    forward = 2 * (total - size.looked_up)
    again = 4 if recomputes(both.policy) else 3
    flops = forward * (made + read) + again * forward * trained + forward * trained
    updated = sum(p.numel() for p in both.policy.parameters() if p.requires_grad)
    adapter = updated if task.lora_rank else 0
    kept = {"weights": 4 * (total + adapter), "optimiser states": 8 * updated}
    if not task.lora_rank:
        kept["base"] = 4 * total
    prompt, answer, between = lengths(task)
    problems, columns = at_once(run), prompt + 2 * answer + between
    rows = problems * task.samples
    cache = (2 if run.precision == "bfloat16" else 4) * 2 * config.num_hidden_layers * key_width(config)
    cache *= rows * columns
    step, batch = functools.partial(both_loss, run), functools.partial(episodes_of, run, config.vocab_size)
    held_now = (0, 0)
    if trained:
        held_now = held(both, step, batch, problems, columns, run.precision, config.vocab_size)
    memory = {
        "training": {
            **kept, "gradients": 4 * updated, "activations": held_now[0], "logits": held_now[1],
        },
        "generating": {**kept, "cache for generation": cache, "logits": 4 * rows * config.vocab_size},
    }  # fmt: skip
    return Plan(
        parameters=total,
        parameters_without_embeddings=total - size.embeddings,
        tokens=trained,
        flops=float(flops),
        memory_bytes=max(sum(parts.values()) for parts in memory.values()),
        formula=FORMULA,
        notes=(
            f"rollouts: {made:,} tokens are sampled one after another and {read:,} read; they are "
            f"{forward * (made + read) / max(flops, 1):.0%} of the FLOPs, and more of the time: sampling reaches a "
            "small share of a GPU's peak",
            f"{rows:,} episodes of up to {columns:,} tokens go through at once",
        ),
        memory=memory,
        levers=with_recomputing(
            {"fit.micro_batch": halved(problems), "task.lora_rank": [] if task.lora_rank else [64, 16]},
            both.policy,
        ),
        gathered=2 * 4 * size.block,
    )


class Both(nn.Module):
    """The policy and its base on the meta device; of `shape`, which carries no adapter."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        task = run.task

        def one() -> Any:
            if run.model is not None:
                return copies(config_of(run.model))
            with torch.device("meta"):
                return small(task, 16)

        policy = one()
        if task.lora_rank:
            from peft import LoraConfig, get_peft_model

            rank = task.lora_rank
            with torch.device("meta"):
                policy = get_peft_model(
                    policy,
                    LoraConfig(
                        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
                    ),
                )
        self.policy = policy  # the first, so that its blocks are those that make their activations again
        self.base = None if task.lora_rank else one().requires_grad_(False)
        self.shape = one()


def both_loss(run: Any, both: Any, batch: dict[str, Any]) -> Any:
    """Return the loss that a policy is trained on, of both turns, with the base asked too."""
    task, tokens = run.task, batch["input_ids"]
    prompt, answer, between = lengths(task)
    columns = torch.arange(tokens.shape[1]).expand(tokens.shape)
    first = (columns >= prompt) & (columns < prompt + answer)
    second = columns >= prompt + answer + between
    seen = torch.ones_like(tokens, dtype=torch.bool)
    given = torch.rand(len(tokens) // task.samples, task.samples)
    weights = credit(given, given, stage=2, alpha=run.method.alpha, beta1=0.01, beta2=0.1)
    shown = (tokens, seen) if run.method.blank else (None, None)
    cut = torch.zeros(len(tokens), 2, dtype=torch.bool)
    episodes = Episodes(tokens, seen, first, second, cut, *shown)
    return episode_loss(both.policy, Policy(both.policy, both.base), episodes, weights, run.method, prompt)[0]


def episodes_of(run: Any, vocabulary: int, problems: int, columns: int) -> dict[str, Any]:
    """Return tokens of so many problems' episodes."""
    return {"input_ids": torch.randint(vocabulary, (problems * run.task.samples, columns))}


def at_once(run: Any) -> int:
    """Return how many problems go through at once."""
    return min(run.micro_batch or run.task.prompts, run.task.prompts)


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
