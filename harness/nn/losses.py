"""The loss of next tokens, row by row, for tuning a causal language model and for judging it.

Labels stand at their predictions (`labels[:, t]` is the token after `input_ids[:, t]`) and -100 is no target. Each
row's mean counts alike, so a batch may be cut into pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.nn.generate import inference

INPUTS = ("input_ids", "inputs_embeds", "attention_mask", "position_ids")


def row_losses(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return the mean loss of each row's labels, (rows,) float32; 0 for a row without any."""
    given = {name: batch[name] for name in INPUTS if name in batch}
    logits = model(**given, use_cache=False).logits.float()  # (rows, length, vocabulary)
    labels = batch["labels"]
    each = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, reduction="none", ignore_index=-100
    )
    return each.sum(dim=1) / (labels != -100).sum(dim=1).clamp(min=1)


def next_token_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return the mean of the rows' losses: a step for `Run.fit`."""
    return row_losses(model, batch).mean()


def losses(model: Any, batches: Iterable[dict[str, Tensor]], device: str = "cpu") -> np.ndarray:
    """Return the loss of every row of `batches`, (rows,) float32, without training."""
    with inference(model):
        found = [row_losses(model, {n: t.to(device) for n, t in batch.items()}).cpu() for batch in batches]
    return torch.cat(found).numpy()
