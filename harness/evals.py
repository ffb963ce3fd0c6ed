"""Judge a causal language model: perplexity in two protocols, memory at a distance, lm-eval's tasks.

`nll` scores exactly the same target tokens at every window length, so lengths can be compared token by
token. Flat perplexity is not long memory: `retrieval` measures what a model gains from having seen a
passage some distance ago. All return per-item numbers, so that intervals can be made from them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import UsageError
from harness.generate import inference

CausalLM = Callable[[Tensor], Any]  # ids (rows, length) -> something with logits (rows, length, vocabulary)


def nll(
    model: CausalLM,
    tokens: Sequence[int] | np.ndarray,
    length: int,
    *,
    targets: int,
    stride: int | None = None,
    batch_size: int = 8,
    device: str | torch.device = "cpu",
) -> np.ndarray:
    """Return the negative log-likelihood in nats of tokens 1 .. `targets`, (targets,) float32.

    A window of `length` tokens moves by `stride` and its last `stride` predictions are scored (all of the
    first window's). Without a stride the windows do not overlap: each token is scored once, with whatever
    context its own window gives it. Raises `UsageError` where there are too few tokens.
    """
    stride = stride or length
    if not 0 < stride <= length:
        raise UsageError(f"stride={stride} leaves tokens unscored: use 1 to {length}, the window's length.")
    if len(tokens) <= targets:
        raise UsageError(
            f"Scoring {targets} tokens needs a text of {targets + 1} and this one has {len(tokens)}: "
            "score fewer or give a longer text."
        )
    text = torch.as_tensor(np.asarray(tokens[: targets + 1], dtype=np.int64))
    windows = 1 + max(0, math.ceil((targets - length) / stride))
    # What fills up the last window lies after every scored token, where none of them can look.
    missing = (windows - 1) * stride + length - targets
    inputs = torch.nn.functional.pad(text[:-1], (0, missing)).unfold(0, length, stride)  # (windows, length)
    answers = torch.nn.functional.pad(text[1:], (0, missing)).unfold(0, length, stride)
    losses = []
    with inference(model):
        for start in range(0, windows, batch_size):
            rows = slice(start, start + batch_size)
            scored = torch.arange(length).expand(len(inputs[rows]), -1) >= length - stride
            if start == 0:
                scored = scored | (torch.arange(len(scored)) == 0)[:, None]
            losses.append(token_nll(model, inputs[rows], answers[rows], device)[scored])
    return torch.cat(losses)[:targets].numpy()


def token_nll(model: CausalLM, inputs: Tensor, answers: Tensor, device: str | torch.device) -> Tensor:
    """Return the loss of each answer, (rows, length) float32 on the CPU."""
    logits = model(inputs.to(device)).logits.float()
    return torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), answers.to(device), reduction="none"
    ).cpu()


def by_position(losses: np.ndarray, length: int, edges: Sequence[int]) -> dict[tuple[int, int], float]:
    """Return the mean of non-overlapping `losses` between each two `edges` of position in the window.

    Position 0 is the prediction with one token of context. `edges` rise from 0 to at most `length`; a
    bucket without tokens is left out.
    """
    position = np.arange(len(losses)) % length
    means = {}
    for low, high in itertools.pairwise(edges):
        inside = (low <= position) & (position < high)
        if inside.any():
            means[low, high] = float(losses[inside].mean(dtype=np.float64))
    return means
