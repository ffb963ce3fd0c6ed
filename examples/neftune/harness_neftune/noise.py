"""The idea and nothing else: in training, embeddings plus uniform noise of a fixed expected length.

Jain et al. (2023), algorithm 1: each entry of a row's embeddings gets noise from Uniform(-1, 1) times
alpha / sqrt(L d), with L the row's tokens and d the width. As in the authors' code, padding gets none.
"""

from __future__ import annotations

import torch
from torch import Tensor


def noisy(embeddings: Tensor, mask: Tensor, alpha: float) -> Tensor:
    """Return (rows, length, width) embeddings with noise where `mask` (rows, length) has a token."""
    lengths = mask.sum(dim=1) * embeddings.shape[-1]  # (rows,)
    most = alpha / lengths.sqrt()
    noise = torch.empty_like(embeddings).uniform_(-1, 1)
    return embeddings + noise * most[:, None, None] * mask[..., None]
