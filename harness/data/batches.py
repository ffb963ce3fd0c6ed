"""Batches without end, of windows of a token array or of rows: batch n is a function of the seed and n alone.

So every method of a seed sees the same batches, and going on after a stop needs one number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from harness.data.packing import demand

if TYPE_CHECKING:
    from torch import Tensor


class Counted:
    """An endless iterator that only has to know how many batches it has given."""

    drawn = 0

    def __iter__(self) -> Self:
        return self

    def state_dict(self) -> dict[str, Any]:
        """Return where the iterator is."""
        return {"drawn": self.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where another iterator of the same seed was."""
        self.drawn = state["drawn"]


class Batches(Counted):
    """An endless iterator of `{"input_ids", "labels"}`, each (batch, length) int64.

    `labels[:, t]` is the token that follows `input_ids[:, t]`: already shifted, what transformers'
    models take as `shift_labels`. Raises HarnessError where the text is shorter than one window.
    """

    def __init__(self, tokens: np.ndarray, length: int, batch_size: int, seed: int) -> None:
        demand(tokens, length + 1)
        self.tokens, self.length, self.batch_size, self.seed = tokens, length, batch_size, seed

    def __next__(self) -> dict[str, Tensor]:
        import torch

        random = np.random.default_rng([self.seed, self.drawn])
        self.drawn += 1
        first = random.integers(len(self.tokens) - self.length, size=self.batch_size)
        places = first[:, None] + np.arange(self.length + 1)  # (batch, length + 1)
        found = torch.from_numpy(self.tokens[places].astype(np.int64))
        return {"input_ids": found[:, :-1].contiguous(), "labels": found[:, 1:].contiguous()}


class Shuffled(Counted):
    """An endless iterator of `make([row, ...])`: every row once a pass, each pass in an order of its own.

    A batch may reach into the next pass; with `whole` a pass gives whole batches alone, and the rows left over
    wait for the next order. `seed` is a number, or several. `rows` must be at least a batch for whole ones.
    """

    def __init__(
        self,
        rows: Sequence[Any],
        batch_size: int,
        seed: int | Sequence[int],
        make: Callable[[list[Any]], Any] = list,
        whole: bool = False,
    ) -> None:
        self.rows, self.batch_size, self.make = rows, batch_size, make
        self.seed = [seed] if isinstance(seed, int) else list(seed)
        self.a_pass = len(rows) // batch_size * batch_size if whole else len(rows)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __next__(self) -> Any:
        places = self.places(self.drawn)
        self.drawn += 1
        return self.make([self.rows[place] for place in places])

    def places(self, batch: int) -> list[int]:
        """Return which rows batch number `batch` has."""
        first = batch * self.batch_size
        return [self._at(place) for place in range(first, first + self.batch_size)]

    def _at(self, place: int) -> int:
        number, within = divmod(place, self.a_pass)
        if self._order[0] != number:
            order = np.random.default_rng([*self.seed, number]).permutation(len(self.rows))
            self._order = (number, order)
        return int(self._order[1][within])


def in_order(
    rows: Sequence[Any], batch_size: int, make: Callable[[Sequence[Any]], Any] = list
) -> Iterator[Any]:
    """Yield `make([row, ...])` of all rows once, in their order: for judging."""
    for start in range(0, len(rows), batch_size):
        yield make(rows[start : start + batch_size])
