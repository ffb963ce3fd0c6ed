"""Score long windows in little memory: one pass through the body, and logits of a few tokens at a time.

A window of 16,384 tokens over 49,152 words has 3.2 GB of logits. The body's outcome is handed to the model again,
piece by piece, in the body's own place, so all that a family does to its logits (caps, scales) is done by its code.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from harness.errors import HarnessError

PIECE = 1024  # tokens whose logits are in memory at once


def logits_of(model: Any, ids: Tensor, pieces: list[slice]) -> Iterator[Tensor]:
    """Yield the logits of each of these pieces of `ids` (rows, length): (rows, piece, vocabulary) float32."""
    body = _body(model)
    if body is None:
        whole = model(input_ids=ids, use_cache=False).logits
        yield from (whole[:, piece].float() for piece in pieces)
        return
    made = body(input_ids=ids, use_cache=False)
    forward, asked = body.forward, 0
    try:
        for number, piece in enumerate(pieces, 1):

            def hand(*_: Any, piece: slice = piece, **__: Any) -> Any:
                nonlocal asked
                asked += 1
                return type(made)(last_hidden_state=made[0][:, piece])

            body.forward = hand
            logits = model(input_ids=ids[:, piece], use_cache=False).logits.float()
            if asked != number:
                raise HarnessError(
                    f"a {model.config.model_type} does not read its decoder as others do: not scored"
                )
            yield logits
    finally:
        body.forward = forward


def _body(model: Any) -> Any:
    """Return the module whose outcome the output layer reads; None where a model is one, as the harness's decoder."""
    body = model.get_decoder() if hasattr(model, "get_decoder") else None
    return None if body is model else body


def token_nll(model: Any, inputs: Tensor, answers: Tensor, device: str | torch.device) -> Tensor:
    """Return the loss of each answer, (rows, length) float32 on the CPU."""
    size = max(PIECE // len(inputs), 1)
    pieces = [slice(start, start + size) for start in range(0, inputs.shape[1], size)]
    losses = [
        torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), answers[:, piece].to(device), reduction="none"
        ).cpu()
        for piece, logits in zip(pieces, logits_of(model, inputs.to(device), pieces), strict=True)
    ]
    return torch.cat(losses, dim=1)


def last(model: Any, tokens: int) -> Any:
    """Return a model whose logits are those of each row's last `tokens` alone."""

    def forward(ids: Tensor) -> SimpleNamespace:
        (logits,) = logits_of(model, ids, [slice(max(ids.shape[1] - tokens, 0), ids.shape[1])])
        return SimpleNamespace(logits=logits)

    return forward
