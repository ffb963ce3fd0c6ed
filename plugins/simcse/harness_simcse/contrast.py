"""SimCSE's idea: a sentence and itself under another dropout mask are a pair; the batch's others are not.

    l_i = - log  exp(cos(h_i, h'_i) / t) / sum_j exp(cos(h_i, h'_j) / t)

h and h' are two passes of the same sentence through the same encoder in training mode. With supervision h' is
an entailed sentence, and contradicted ones, h-, join the sum. The loss looks from the rows only (N - 1
negatives, 2N - 1 with h-): the symmetric form made no difference to the authors.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def unsupervised_loss(z1: Tensor, z2: Tensor, temperature: float = 0.05, first: int = 0) -> Tensor:
    """Return the mean loss of finding row i's pair, z2[first + i], among all of z2.

    z1 is (n, width), z2 (m, width) with m >= first + n; m > n where other processes' rows are in it.
    """
    return cross_entropy(cosines(z1, z2) / temperature, positives(z1, first))


def supervised_loss(
    z1: Tensor,
    z2: Tensor,
    z3: Tensor,
    temperature: float = 0.05,
    hard_negative_weight: float = 0.0,
    first: int = 0,
) -> Tensor:
    """Return the mean loss of finding z2[first + i] among all of z2 and of the contradictions z3, (m, width).

    `hard_negative_weight` is added to the logit of a row's own contradiction: w stands for a factor e^w on its
    term of the sum.
    """
    own = torch.zeros(len(z1), len(z3), device=z1.device)
    own[torch.arange(len(z1), device=z1.device), positives(z1, first)] = hard_negative_weight
    logits = torch.cat([cosines(z1, z2) / temperature, cosines(z1, z3) / temperature + own], dim=1)  # (n, 2m)
    return cross_entropy(logits, positives(z1, first))


def cosines(x: Tensor, y: Tensor) -> Tensor:
    """Return the cosine of every row of x with every row of y, float32: (n, width), (m, width) -> (n, m)."""
    return normalize(x.float(), dim=-1) @ normalize(y.float(), dim=-1).T


def positives(z1: Tensor, first: int) -> Tensor:
    """Return the column of each row's pair, (n,)."""
    return first + torch.arange(len(z1), device=z1.device)
