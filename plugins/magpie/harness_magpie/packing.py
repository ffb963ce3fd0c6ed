"""Pairs of question and answer as tokens, packed into rows; the loss is on answers alone.

Positions begin anew with each pair, and from that transformers builds a mask under which pairs of a row do
not see each other. So a packed pair has the loss it has alone; only padding is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.data.batches import Counted, Shuffled


@dataclass(frozen=True)
class Encoded:
    """A pair's tokens, of which the first `given` are the question's and no target."""

    ids: list[int]
    given: int


def pack(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Return which items lie in which row of `room` tokens: each in the first row that still has room.

    Raises ValueError for an item longer than a row.
    """
    rows: list[list[int]] = []
    left: list[int] = []
    for item, length in enumerate(lengths):
        if length > room:
            raise ValueError(f"item {item} has {length} tokens and a row has room for {room}")
        row = next((i for i, free in enumerate(left) if free >= length), None)
        if row is None:
            rows.append([])
            left.append(room)
            row = len(rows) - 1
        rows[row].append(item)
        left[row] -= length
    return rows


def as_rows(pairs: Sequence[Encoded], room: int | None) -> dict[str, Tensor]:
    """Return `input_ids`, `labels`, `position_ids` (rows, width) and `share` (rows,) of packed pairs.

    Without `room` each pair has a row of its own.

    `labels[:, t]` is the token after `input_ids[:, t]` where it is an answer's, else -100. `share` makes the
    mean over rows of (a row's loss summed, times its share) the mean over all answer tokens, so a batch may
    be cut into pieces.
    """
    lengths = [len(pair.ids) - 1 for pair in pairs]
    rows = pack(lengths, room) if room else [[i] for i in range(len(pairs))]
    width = max(sum(lengths[i] for i in row) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    positions = torch.zeros_like(ids)
    for r, row in enumerate(rows):
        at = 0
        for i in row:
            pair, length = pairs[i], lengths[i]
            ids[r, at : at + length] = torch.tensor(pair.ids[:-1])
            labels[r, at + pair.given - 1 : at + length] = torch.tensor(pair.ids[pair.given :])
            positions[r, at : at + length] = torch.arange(length)
            at += length
        positions[r, at:] = torch.arange(width - at)  # the padding is a segment of its own
    targets = (labels != -100).sum()
    share = torch.full((len(rows),), len(rows) / float(targets.clamp(min=1)))
    return {"input_ids": ids, "labels": labels, "position_ids": positions, "share": share}


class ByTokens(Counted):
    """An endless iterator of packed batches whose answers have `tokens` tokens, pass after pass in orders of their own.

    A batch ends with the pair that fills it, and what that pair has too many the next one has less: after n batches
    n times `tokens` were given, and at most one answer more.
    """

    def __init__(self, pairs: Sequence[Encoded], tokens: float, seed: int, room: int) -> None:
        self.pairs, self.tokens, self.room = pairs, tokens, room
        self._order = Shuffled(range(len(pairs)), 1, seed)
        self._cut: list[list[int]] = []  # the batches that were cut so far
        self._had = 0

    def __next__(self) -> dict[str, Tensor]:
        while len(self._cut) <= self.drawn:
            batch: list[int] = []
            while not batch or self._had < self.tokens * (len(self._cut) + 1):
                batch += next(self._order)
                self._had += len(self.pairs[batch[-1]].ids) - self.pairs[batch[-1]].given
            self._cut.append(batch)
        self.drawn += 1
        return as_rows([self.pairs[item] for item in self._cut[self.drawn - 1]], self.room)


def token_losses(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return the loss of each label, (rows, width) float32; 0 where there is none."""
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=batch.get("attention_mask"),  # None: transformers makes it from the positions
        position_ids=batch["position_ids"],
        use_cache=False,
    ).logits.float()
    return torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), batch["labels"], reduction="none", ignore_index=-100
    )


def own_mask(position_ids: Tensor) -> Tensor:
    """Return which tokens see which, (rows, 1, width, width) bool: earlier ones of the same pair and themselves."""
    pair = (position_ids == 0).cumsum(dim=1)  # (rows, width)
    same = pair[:, :, None] == pair[:, None, :]
    return (same & torch.ones_like(same).tril())[:, None]


def answer_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return the mean loss of the batch's answer tokens."""
    return (token_losses(model, batch).sum(dim=1) * batch["share"]).mean()
