"""Sample from any causal language model in batches, with a cache.

Each prompt draws its own uniform numbers, made from the seed, its tokens and how many equal prompts came
before it. So its sample does not depend on the order of the prompts, on the batch size or on the others
in its batch, except where rounding in batched arithmetic decides a near tie.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import UsageError

Process = Callable[
    [Tensor, Tensor], Tensor
]  # (ids so far, scores) -> scores, as transformers' LogitsProcessor


@contextmanager
def inference(model: Any) -> Iterator[None]:
    """Run the body without gradients and, where `model` is a module, without dropout."""
    training = getattr(model, "training", False)
    if training:
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if training:
            model.train()


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    eos_ids: Sequence[int] = (),
    batch_size: int = 32,
    process: Process | None = None,
    progress: Callable[..., object] | None = None,
    seeds: Sequence[int] = (),
) -> list[list[int]]:
    """Continue each prompt; return the new tokens, without the end token, in the order of the prompts.

    Greedy at temperature 0; otherwise from the smallest set of tokens whose probability reaches `top_p`.
    `process(ids, scores)` changes the scores, (rows, vocabulary) logits over the temperature, before a token is drawn:
    a `LogitsProcessor` of transformers or a function like one, `ids` being what there is so far, padded on the left.
    `progress(done, total)` is called after each batch. `seeds`, one a prompt, stand in place of those that are made
    from `seed` and the prompt. `model` is a transformers causal language model. Raises `UsageError` for an empty
    prompt.
    """
    if not all(prompts):
        raise UsageError("A prompt without tokens cannot be continued: give each at least one token.")
    if temperature < 0 or not 0 < top_p <= 1:
        raise UsageError(
            f"temperature={temperature} and top_p={top_p} give no distribution: take 0 or more, and above 0 up to 1."
        )
    keys = list(seeds) or prompt_seeds(prompts, seed)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # little padding in each batch
    made: dict[int, list[int]] = {}
    with inference(model):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            draws = np.stack([np.random.default_rng(keys[i]).random(max_new_tokens) for i in rows])
            tokens = _continue(
                model, [prompts[i] for i in rows], draws, temperature, top_p, set(eos_ids), process
            )
            made.update(zip(rows, tokens, strict=True))
            if progress:
                progress(len(made), len(prompts))
    return [made[i] for i in range(len(prompts))]


def prompt_seeds(prompts: Sequence[Sequence[int]], seed: int) -> list[int]:
    """Return a seed for each prompt that tells it from every other, equal ones by their turn."""
    turns: Counter[tuple[int, ...]] = Counter()
    keys = []
    for prompt in prompts:
        tokens = tuple(map(int, prompt))
        text = f"{seed} {turns[tokens]} {tokens}"
        keys.append(int.from_bytes(hashlib.sha256(text.encode()).digest()))
        turns[tokens] += 1
    return keys


def _continue(
    model: Any,
    prompts: Sequence[Sequence[int]],
    draws: np.ndarray,
    temperature: float,
    top_p: float,
    eos_ids: set[int],
    process: Process | None,
) -> list[list[int]]:
    """Continue one left-padded batch by one token for each column of `draws` (rows, steps)."""
    ids = pad_left(prompts).to(model.device)  # (rows, width)
    mask = (ids >= 0).long()
    inputs = {"input_ids": ids.clamp(min=0), "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
    ends = torch.tensor(sorted(eos_ids), device=model.device)
    ended = torch.zeros(len(prompts), dtype=torch.bool, device=model.device)
    takes = accepted(model)
    cache, made = None, []
    so_far = inputs["input_ids"]
    for draw in torch.from_numpy(draws.T).to(model.device, torch.float32):
        out = model(
            **{name: value for name, value in inputs.items() if name in takes},
            **({"logits_to_keep": 1} if "logits_to_keep" in takes else {}),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        cache = out.past_key_values
        scores = out.logits[:, -1].float() / (temperature or 1.0)
        if process is not None:
            scores = process(so_far, scores)
        token = choose(scores, draw, 1.0 if temperature else 0.0, top_p)
        made.append(token)
        so_far = torch.cat([so_far, token[:, None]], dim=1)
        ended |= torch.isin(token, ends)
        if ended.all():
            break
        inputs = {"input_ids": token[:, None], "position_ids": inputs["position_ids"][:, -1:] + 1}
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    rows = torch.stack(made, dim=1).tolist() if made else [[] for _ in prompts]
    return [list(itertools.takewhile(lambda t: t not in eos_ids, row)) for row in rows]


def log_probs(
    model: Any, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], *, batch_size: int = 32
) -> list[list[float]]:
    """Return the log-probability of each token of the answers, each behind its prompt, under `model`."""
    found: list[list[float]] = []
    with inference(model):
        for start in range(0, len(prompts), batch_size):
            pairs = list(zip(prompts, answers, strict=True))[start : start + batch_size]
            rows = [[*prompt, *answer] for prompt, answer in pairs]
            width = max(map(len, rows))
            ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=model.device)
            mask = torch.tensor(
                [[1] * len(row) + [0] * (width - len(row)) for row in rows], device=model.device
            )
            logits = model(input_ids=ids, attention_mask=mask).logits
            for row, (prompt, answer) in enumerate(pairs):
                first = len(prompt)
                told = logits[row, first - 1 : first - 1 + len(answer)].float().log_softmax(dim=-1)
                wanted = ids[row, first : first + len(answer), None]
                found.append(told.gather(-1, wanted)[:, 0].tolist())
    return found


def pad_left(prompts: Sequence[Sequence[int]]) -> Tensor:
    """Return prompts as one tensor, (rows, longest), -1 where there is nothing."""
    width = max(map(len, prompts))
    return torch.tensor([[-1] * (width - len(prompt)) + list(prompt) for prompt in prompts])


def accepted(model: Any) -> Collection[str]:
    """Return what the model's forward accepts; not every family counts positions from outside."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model  # inside peft's wrapper
    return inspect.signature(inner.forward).parameters


def choose(logits: Tensor, draw: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """Return one token a row, (rows,), by inverting the cumulative distribution at `draw` in [0, 1).

    `logits` is (rows, vocabulary); the most probable tokens come first and those past `top_p` are dropped.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    probability, order = (logits / temperature).softmax(dim=-1).sort(dim=-1, descending=True)
    below = probability.cumsum(dim=-1) - probability  # mass of the tokens before this one
    kept = below < top_p
    reach = torch.where(kept, probability, 0.0).cumsum(dim=-1)
    place = (reach <= draw[:, None] * reach[:, -1:]).sum(dim=-1, keepdim=True)
    last = kept.sum(dim=-1, keepdim=True) - 1  # a draw that float32 rounds to 1 reaches no further
    return order.gather(-1, place.minimum(last))[:, 0]
