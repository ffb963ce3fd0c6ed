"""Negatives from all processes, with gradients: what one process would compute, cut into shares.

A plain all_gather returns numbers without gradients, so a row would not learn from being another process's
negative. Here the gradient comes back: each process adds what every other one wants of its rows.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gathered(z: Tensor) -> tuple[Tensor, int]:
    """Return the rows of all processes in their order, (m, width), and where this process's begin."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return z, 0
    counts = torch.zeros(dist.get_world_size(), dtype=torch.long, device=z.device)
    counts[dist.get_rank()] = len(z)
    dist.all_reduce(counts)
    first = int(counts[: dist.get_rank()].sum())
    return _Gather.apply(z, first, int(counts.sum())), first


class _Gather(torch.autograd.Function):
    # Sums of zero-padded tensors, so that shares of unequal size need nothing special.

    @staticmethod
    def forward(ctx: Any, z: Tensor, first: int, total: int) -> Tensor:
        ctx.rows = slice(first, first + len(z))
        everyone = z.new_zeros(total, z.shape[1])
        everyone[ctx.rows] = z
        dist.all_reduce(everyone)
        return everyone

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        wanted = gradients[0].contiguous().clone()
        dist.all_reduce(wanted)
        return wanted[ctx.rows], None, None
