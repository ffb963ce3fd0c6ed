"""Two-turn episodes written by an engine that has the base's weights, and how near it is to the trainer's.

Only what is sampled from the base can come from there: the answers of the base itself, and the traces that pair_sft
is trained on. A policy that is trained samples from weights that no server has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engines import Ask, Engine, Written, gap
from harness.errors import UsageError
from harness_score.episodes import Episodes, Turns
from harness_score.settings import Trains

COMPARED = 8  # prompts whose completions are compared
GAPS = ("engine_gap_mean", "engine_gap_largest")


def refuse(run: Any) -> None:
    """Raise UsageError where a run with an engine would sample from weights that the engine does not have."""
    if run.task.engine and (run.method.trains not in (Trains.nothing, Trains.pair_sft) or run.method.blank):
        raise UsageError(
            f"{run.name} samples from the weights that it trains, and task.engine has those of the base: leave "
            "task.engine out for it, and use it with base and pair_sft"
        )


def opened(run: Any, tokenizer: Any) -> Engine | None:
    """Return the engine of a run; None where transformers samples."""
    if not run.task.engine:
        return None
    found: Engine = run.engine(run.task.engine, tokenizer)
    return found


def compared(run: Any, model: Any, tokenizer: Any, turns: Turns, problems: Sequence[dict[str, Any]]) -> None:
    """Measure how far the engine's log-probabilities are from those of the base that is here, and say it.

    Raises HarnessError where the engine has other weights, and where it tells no log-probabilities.
    """
    engine = opened(run, tokenizer)
    if engine is None:
        for name in GAPS:
            run.absent(name)
        return
    prompts = [row["ids"] for row in problems[:COMPARED]]
    ask = Ask(turns.first, ends=turns.ends, words=turns.words, log_probs=True)
    found = gap(model, prompts, engine.complete(prompts, ask, seeds=range(len(prompts))))
    print(f"{run.engines['engine']['name']}: {found}", flush=True)
    run.measure("engine_gap_mean", found.mean)
    run.measure("engine_gap_largest", found.largest)


def asked(
    engine: Engine,
    prompts: Tensor,
    turns: Turns,
    *,
    samples: int = 1,
    temperature: float = 1.0,
    seeds: Sequence[int] | Tensor = (),
    only_first: bool = False,
) -> Episodes:
    """Return what `episodes.sample` returns, written by an engine; each row draws by a seed of its own."""
    rows = [row[row >= 0].tolist() for row in prompts.cpu() for _ in range(samples)]
    chosen = [int(seed) for seed in seeds] or list(range(len(prompts)))
    draws = [
        np.random.default_rng([seed, n]).integers(2**31, size=2).tolist()
        for seed in chosen
        for n in range(samples)
    ]

    def answers(before: list[list[int]], longest: int, turn: int) -> list[Written]:
        ask = Ask(longest, temperature, ends=turns.ends, words=turns.words)
        return engine.complete(before, ask, seeds=[draw[turn] for draw in draws])

    first = answers(rows, turns.first, 0)
    second: list[Written] = []
    if not only_first:
        before = [[*row, *one.tokens, *turns.correction] for row, one in zip(rows, first, strict=True)]
        second = answers(before, turns.second, 1)
    return columns(prompts.repeat_interleave(samples, 0), turns, first, second)


def columns(prompts: Tensor, turns: Turns, first: Sequence[Written], second: Sequence[Written]) -> Episodes:
    """Lay answers out as [x1 | y1 | p1 | y2], as `Episodes` has it; what ended an answer is its end token, unseen."""
    rows = len(prompts)
    blocks = [block(first, turns)]
    if second:
        between = torch.tensor(turns.correction).expand(rows, -1)
        nothing = torch.zeros_like(between, dtype=torch.bool)
        blocks += [(between, ~nothing, nothing), block(second, turns)]
    device = prompts.device
    tokens = torch.cat([prompts.clamp(min=0), *(t.to(device) for t, _, _ in blocks)], dim=1)
    seen = torch.cat([prompts >= 0, *(s.to(device) for _, s, _ in blocks)], dim=1)
    masks = []
    at = prompts.shape[1]
    for own, (_, _, mask) in enumerate(blocks):
        if own != 1:  # the correction prompt is nobody's answer
            whole = torch.zeros_like(seen)
            whole[:, at : at + mask.shape[1]] = mask.to(device)
            masks.append(whole)
        at += mask.shape[1]
    last = second or first
    cut = torch.tensor([[not a.ended, not b.ended] for a, b in zip(first, last, strict=True)], device=device)
    return Episodes(tokens, seen, masks[0], masks[1] if second else torch.zeros_like(seen), cut)


def block(answers: Sequence[Written], turns: Turns) -> tuple[Tensor, Tensor, Tensor]:
    """Return an answer's columns: tokens with the end token, what later columns see of them, whose they are."""
    end = turns.ends[:1] or (0,)
    rows = [[*one.tokens, *(end if one.ended else ())] for one in answers]
    width = max(1, *map(len, rows))
    tokens = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    place = torch.arange(width)
    seen = place < torch.tensor([[len(one.tokens)] for one in answers])
    return tokens, seen, place < torch.tensor([[len(row)] for row in rows])
