"""The loss that ties FWA-SBERT to a summariser: its decoder state shall be near its own text, far from another's.

    L = max(0, m + |h_p - v+| - |h_p - v-|)

h_p is the mean of the decoder's hidden states for a generated summary, so gradients reach both models; v+ is the
vector of its own reference (L_r) or document (L_d), v- that of any other example. The margin m and the euclidean
distance are Sentence-BERT's; RDASS's authors do not name theirs. Joint training itself is not here yet.
"""

from __future__ import annotations

from torch import Tensor


def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0) -> Tensor:
    """Return the mean loss of n triplets, each (n, width)."""
    near, far = (anchor - positive).norm(dim=1), (anchor - negative).norm(dim=1)
    return (margin + near - far).clamp(min=0).mean()
