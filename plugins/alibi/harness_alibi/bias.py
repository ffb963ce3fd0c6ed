"""ALiBi's idea: no position embedding anywhere; a query pays for the distance of the key it looks at.

    a_ij = softmax_j( q_i . k_j / sqrt(head_width)  -  m_h * (i - j) )

The slopes m_h are fixed, one a head, the same in every layer: sharp heads see near, flat ones far.
The bias is added after the scaling and is not scaled itself (footnote 10). The paper's code adds
m_h * j instead, equal after a causal softmax; we keep the distance, which small floats can hold.
"""

import operator

import torch
from torch import Tensor

from harness.errors import UsageError


def slopes(heads: int, device: torch.device | None = None) -> Tensor:
    """Return each head's slope, (heads,) float32: from 2^(-8/heads) in equal ratios down to 2^-8.

    Where `heads` is not a power of two: those of the power below, then every second one of the power
    above, in this order (the official `get_slopes`, not in the paper). They are made on `device`: copied there in each
    step they would be waited for, and kept they would outlive a count with tensors that have no values. Raises
    UsageError for what is no number of heads.
    """
    heads = _count(heads, "heads", 1)
    below = 2 ** (heads.bit_length() - 1)
    return torch.cat([_geometric(below, device), _geometric(2 * below, device)[::2][: heads - below]])


def _geometric(heads: int, device: torch.device | None) -> Tensor:
    return 2.0 ** (
        -8 / heads * torch.arange(1, heads + 1, dtype=torch.float32, device=device)
    )  # exact exponents


def alibi_bias(heads: int, query_length: int, key_length: int) -> Tensor:
    """Return what is added to the scaled scores, (heads, query_length, key_length) float32.

    The queries are the last `query_length` of `key_length` tokens, as in decoding with a cache, so the
    last query's own key gets zero. Keys after a query get a positive value: mask them. Raises UsageError where there
    are more queries than keys.
    """
    query_length, key_length = _count(query_length, "query_length", 0), _count(key_length, "key_length", 0)
    if query_length > key_length:
        raise UsageError(
            f"query_length={query_length} is more than key_length={key_length}: the queries are the last of the keys"
        )
    query = torch.arange(key_length - query_length, key_length)
    distance = query[:, None] - torch.arange(key_length)  # (query_length, key_length)
    return -slopes(heads)[:, None, None] * distance


def _count(value: int, name: str, least: int) -> int:
    """Return a whole number; a truth value, though Python counts with it, is none."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise UsageError(f"{name}={value} is no count: give a whole number, {least} or more")
    return number
