"""Continue many prompts at once: what they share is read once, and rows that have ended leave the batch.

All instructions of a set continue one and the same template, so its keys and values are computed for one
row and copied to the others. A row's random numbers depend on the seed and its own number alone; on a CPU
the same rows in the same batch give the same tokens. An engine elsewhere (`harness.engines`) gets the prompts,
a seed each, and what it writes is ended here by the same rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.engines import Ask, Engine
from harness.errors import UsageError
from harness.nn.generate import choose, inference

TOGETHER = 8  # batches that an engine elsewhere is given at once
Over = Callable[[Sequence[int]], int] | None  # `harness.nn.turns.word_end`


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn: greedy at temperature 0; top_k is never used (0), unlike many defaults."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 48
    seed: int = 0


@dataclass(frozen=True)
class Continued:
    """The tokens that came, with the one that ended them unless it is an end token; whether they ended."""

    tokens: list[int]
    ended: bool


def continue_rows(
    model: Any,
    prompts: Sequence[Sequence[int]],
    numbers: Sequence[int],
    sampling: Sampling,
    ends: Collection[int],
    breaks: Collection[int] = (),
    over: Over = None,
) -> list[Continued]:
    """Continue each prompt until a token of `ends` (not kept) or `breaks` (kept), or `sampling.max_tokens`.

    `over` finds the words that end a turn in a row's tokens, which are kept. `numbers` are the rows' own, and
    with the seed decide their draws. `model` is a causal language model of transformers.
    Raises UsageError for an empty prompt.
    """
    if not all(prompts):
        raise UsageError("a prompt without tokens cannot be continued: give each at least one token")
    if not prompts:
        return []
    draws = np.stack([np.random.default_rng([sampling.seed, n]).random(sampling.max_tokens) for n in numbers])
    made: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    with inference(model):
        logits, cache, mask = prefill(model, prompts)
        alive = list(range(len(prompts)))
        positions = mask.sum(dim=1, keepdim=True)
        for step in range(sampling.max_tokens):
            draw = torch.as_tensor(draws[alive, step], dtype=torch.float32, device=logits.device)
            token = choose(logits.float(), draw, sampling.temperature, sampling.top_p)
            stay = []
            for place, (row, one) in enumerate(zip(alive, token.tolist(), strict=True)):
                if one not in ends:
                    made[row].append(one)
                if one in ends or one in breaks or (over and over(made[row]) >= 0):
                    ended[row] = True
                else:
                    stay.append(place)
            if not stay or step + 1 == sampling.max_tokens:
                break
            if len(stay) < len(alive):
                kept = torch.tensor(stay, device=logits.device)
                cache.batch_select_indices(kept)
                mask, positions, token = mask[kept], positions[kept], token[kept]
                alive = [alive[place] for place in stay]
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            out = model(
                input_ids=token[:, None],
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
            positions = positions + 1
            logits, cache = out.logits[:, -1], out.past_key_values
    return [Continued(*row) for row in zip(made, ended, strict=True)]


def asked_rows(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    numbers: Sequence[int],
    sampling: Sampling,
    ends: Collection[int],
    breaks: Collection[int] = (),
    over: Over = None,
    *,
    at_once: int,
    progress: Callable[[int, int], object] | None = None,
) -> list[Continued]:
    """Do what `continue_rows` does by an engine: the rows end alike, their draws are the engine's own."""
    ask = Ask(sampling.max_tokens, sampling.temperature, sampling.top_p, tuple(sorted(ends)))
    seeds = [int(np.random.default_rng([sampling.seed, n]).integers(2**31)) for n in numbers]
    made = engine.complete(prompts, ask, seeds=seeds, at_once=at_once, progress=progress)
    return [ended_at(one.tokens, one.ended, breaks, over) for one in made]


def ended_at(tokens: list[int], ended: bool, breaks: Collection[int], over: Over) -> Continued:
    """Return tokens up to the first of `breaks`, or up to that with which the words of `over` are whole."""
    for i, token in enumerate(tokens, 1):
        if token in breaks or (over and over(tokens[:i]) >= 0):
            return Continued(tokens[:i], True)
    return Continued(tokens, ended)


def prefill(model: Any, prompts: Sequence[Sequence[int]]) -> tuple[Any, Any, Any]:
    """Read the prompts; return the next token's logits (rows, vocabulary), the cache, the mask (rows, width).

    Their common beginning is read once, each different prompt once, and the results are copied to all rows.
    """
    different = list(dict.fromkeys(tuple(map(int, prompt)) for prompt in prompts))
    shared = common(different)
    place = {prompt: i for i, prompt in enumerate(different)}
    device = model.device
    head = torch.tensor([different[0][:shared]], dtype=torch.long, device=device)  # (1, shared)
    rest = [prompt[shared:] for prompt in different]
    width = max(map(len, rest))
    ids = torch.tensor([[0] * (width - len(r)) + list(r) for r in rest], device=device)
    own = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rest], device=device)
    cache = None
    if shared:
        cache = model(input_ids=head, use_cache=True).past_key_values
        cache.batch_select_indices(torch.zeros(len(different), dtype=torch.long, device=device))
    mask = torch.cat([torch.ones(len(different), shared, dtype=own.dtype, device=device), own], dim=1)
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0)[:, shared:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    rows = torch.tensor([place[tuple(map(int, prompt))] for prompt in prompts], device=device)
    out.past_key_values.batch_select_indices(rows)
    return out.logits[:, -1][rows], out.past_key_values, mask[rows]


def common(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many first tokens all prompts share, leaving each at least one of its own."""
    low, high = min(map(list, prompts)), max(map(list, prompts))
    most = min(map(len, prompts)) - 1
    for i in range(most):
        if low[i] != high[i]:
            return i
    return most


def in_batches(
    model: Any,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    ends: Collection[int],
    breaks: Collection[int] = (),
    *,
    over: Over = None,
    batch_size: int = 64,
    start: int = 0,
    tell: Callable[..., None] | None = None,
) -> Iterator[list[Continued]]:
    """Yield the continuations batch by batch, in order, from row `start` on, which begins a batch.

    `tell(done, total, tokens_per_second=)` hears of each. Batches are cut from row 0, whatever `start` is,
    so that going on gives the same rows. `model` may be an engine: then `batch_size` prompts are on their way at a
    time, and several such batches are asked for together, so that none waits for the slowest of each.
    """
    begun, tokens = time.monotonic(), 0
    elsewhere = isinstance(model, Engine)
    size = batch_size * TOGETHER if elsewhere else batch_size
    for first in range(start, len(prompts), size):
        numbers = range(first, min(first + size, len(prompts)))
        batch, rest = [prompts[i] for i in numbers], (numbers, sampling, ends, breaks, over)
        if elsewhere:

            def heard(done: int, _: int, first: int = first) -> None:
                if tell:
                    tell(first + done, len(prompts))

            rows = asked_rows(model, batch, *rest, at_once=batch_size, progress=heard)
        else:
            rows = continue_rows(model, batch, *rest)
        tokens += sum(len(row.tokens) for row in rows)
        if tell:
            tell(
                numbers[-1] + 1,
                len(prompts),
                tokens_per_second=round(tokens / (time.monotonic() - begun + 1e-9), 1),
            )
        yield rows


def refuse_sizes(**sizes: int) -> None:
    """Refuse a size below one, by the name of its option."""
    for name, size in sizes.items():
        if size < 1:
            raise UsageError(f"--{name.replace('_', '-')} {size} leaves nothing to write: give 1 or more")


def breaking_tokens(tokenizer: Any) -> set[int]:
    """Return the tokens whose text holds a line break: where the official scripts stop an instruction."""
    size = len(tokenizer)
    texts = tokenizer.batch_decode([[i] for i in range(size)])
    return {i for i, text in enumerate(texts) if "\n" in text}
