"""The idea and nothing else: how far down tokens are kept depends on how sure the model is.

Nguyen et al. (2024), section 3: with p_max the probability of the most probable token, keep those with
p >= p_base * p_max and draw from them. In this order: the temperature first, as the authors' code has it.
"""

from __future__ import annotations

from torch import Tensor


def min_p(scores: Tensor, base: float) -> Tensor:
    """Return (rows, vocabulary) scores with -inf for tokens below `base` times the row's largest probability."""
    p = scores.softmax(dim=-1)
    return scores.masked_fill(p < base * p.amax(dim=-1, keepdim=True), float("-inf"))
