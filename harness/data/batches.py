"""Random windows of a token array, without end: batch n is a function of the seed and n alone.

So every method of a seed sees the same batches, and going on after a stop needs one number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.packing import demand

if TYPE_CHECKING:
    from torch import Tensor


class Batches:
    """An endless iterator of `{"input_ids", "labels"}`, each (batch, length) int64.

    `labels[:, t]` is the token that follows `input_ids[:, t]`: already shifted, what transformers'
    models take as `shift_labels`. Raises HarnessError where the text is shorter than one window.
    """

    def __init__(self, tokens: np.ndarray, length: int, batch_size: int, seed: int) -> None:
        demand(tokens, length + 1)
        self.tokens, self.length, self.batch_size, self.seed = tokens, length, batch_size, seed
        self.drawn = 0

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> dict[str, Tensor]:
        import torch

        random = np.random.default_rng([self.seed, self.drawn])
        self.drawn += 1
        first = random.integers(len(self.tokens) - self.length, size=self.batch_size)
        places = first[:, None] + np.arange(self.length + 1)  # (batch, length + 1)
        found = torch.from_numpy(self.tokens[places].astype(np.int64))
        return {"input_ids": found[:, :-1].contiguous(), "labels": found[:, 1:].contiguous()}

    def state_dict(self) -> dict[str, Any]:
        """Return where the iterator is."""
        return {"drawn": self.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where another iterator of the same seed was."""
        self.drawn = state["drawn"]
