"""The idea and nothing else: an example is a pair of examples, mixed; so is its label.

Zhang, Cisse, Dauphin, Lopez-Paz (2018), section 2: x = w x_i + (1 - w) x_j and y = w y_i + (1 - w) y_j with w
drawn from Beta(alpha, alpha). As in the authors' code, one weight a batch, and partners from the same batch.
"""

from __future__ import annotations

from torch import Tensor


def mix(values: Tensor, partners: Tensor, weight: float) -> Tensor:
    """Return (batch, ...) values mixed with those of their partners: (batch,) row numbers."""
    return weight * values + (1 - weight) * values[partners]
