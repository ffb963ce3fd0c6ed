"""Windows: the documents in their order, cut every `window` tokens; then the windows are shuffled.

Relatedness is wanted inside a window, not between windows that follow each other or share a batch. Windows are
numbers (which document, from which of its tokens to which), so no text is ever rewritten.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.errors import UsageError


@dataclass(frozen=True)
class Windows:
    """Windows as pieces of documents: window w is `pieces[bounds[w]:bounds[w + 1]]`.

    `pieces` is (pieces, 3) int64: a document, and the first and the end of its tokens; `bounds` is
    (windows + 1,) int64.
    """

    pieces: np.ndarray
    bounds: np.ndarray

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, window: int) -> np.ndarray:
        return self.pieces[self.bounds[window] : self.bounds[window + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[window] for window in range(len(self)))

    @property
    def tokens(self) -> np.ndarray:
        """Return the tokens in each window, (windows,) int64."""
        ends = np.append(0, np.cumsum(self.pieces[:, 2] - self.pieces[:, 1]))
        return ends[self.bounds[1:]] - ends[self.bounds[:-1]]

    def holders(self) -> np.ndarray:
        """Return the window that holds each document whole, (documents,) int64, -1 for one in none."""
        found = np.full(self.pieces[:, 0].max(initial=-1) + 1, -1)
        found[self.pieces[:, 0]] = np.repeat(np.arange(len(self)), np.diff(self.bounds))
        return found

    def documents(self) -> np.ndarray:
        """Return the documents in the order in which they first appear, (documents,) int64."""
        first = np.unique(self.pieces[:, 0], return_index=True)[1]
        found: np.ndarray = self.pieces[np.sort(first), 0]
        return found

    def only(self, chosen: np.ndarray) -> Windows:
        """Return the windows of these numbers, in their order."""
        sizes = np.diff(self.bounds)[chosen]
        bounds = np.append(0, np.cumsum(sizes))
        rows = np.arange(bounds[-1]) + np.repeat(self.bounds[:-1][chosen] - bounds[:-1], sizes)
        return Windows(self.pieces[rows], bounds)


def windows(
    order: np.ndarray, lengths: np.ndarray, window: int, seed: int = 0, shuffled: bool = True
) -> Windows:
    """Cut the documents, laid end to end in `order`, every `window` tokens; shuffle the windows by `seed`.

    `lengths` (documents,) are in tokens. The last window may be shorter; no token is left out. A document
    without tokens is in no window, a long one in many. Raises UsageError for a window below one token.
    """
    if window < 1:
        raise UsageError(f"a window of {window} tokens holds nothing: use at least 1")
    order = np.asarray(order, np.int64)
    order = order[lengths[order] > 0]
    ends = np.cumsum(lengths[order], dtype=np.int64)  # (documents,)
    total = int(ends[-1]) if len(ends) else 0
    starts = ends - lengths[order]
    cuts = np.append(np.union1d(starts, np.arange(0, total, window)), total)[: None if total else 0]
    first, last = cuts[:-1], cuts[1:]
    place = np.searchsorted(starts, first, side="right") - 1
    pieces = np.stack([order[place], first - starts[place], last - starts[place]], axis=1)
    bounds = np.searchsorted(first, np.arange(0, total + window, window)[: -(-total // window) + 1])
    cut = Windows(pieces, bounds)
    if not shuffled:
        return cut
    return cut.only(np.random.default_rng(seed).permutation(len(cut)))


def whole_windows(order: np.ndarray, lengths: np.ndarray, window: int) -> Windows:
    """Fill windows with whole documents in `order`, for judging; one longer than a window is cut to it."""
    pieces: list[tuple[int, int, int]] = []
    bounds, filled = [0], 0
    for document in order:
        size = min(int(lengths[document]), window)
        if filled + size > window:
            bounds.append(len(pieces))
            filled = 0
        pieces.append((int(document), 0, size))
        filled += size
    return Windows(np.array(pieces, np.int64).reshape(-1, 3), np.array([*bounds, len(pieces)], np.int64))


def best_fit(
    order: np.ndarray, lengths: np.ndarray, window: int, seed: int = 0, shuffled: bool = True
) -> Windows:
    """Put whole documents in windows, the longest first, each in the fullest that has room (best-fit decreasing).

    Ding and others 2024 (arXiv:2404.10830, Algorithm 1), as trl's `bfd` with `split`: a document longer than
    a window gives full windows, its rest is packed as one. `order` decides among equal lengths. Windows are filled less
    than whole; none is cut where a document would fit. Raises UsageError for a window below one token.
    """
    if window < 1:
        raise UsageError(f"a window of {window} tokens holds nothing: use at least 1")
    pieces = [
        (int(d), first, min(first + window, int(lengths[d])))
        for d in np.asarray(order, np.int64)
        for first in range(0, int(lengths[d]), window)
    ]
    pieces.sort(key=lambda piece: piece[1] - piece[2])
    bins: list[list[tuple[int, int, int]]] = []
    room: list[int] = []  # different numbers of free tokens, rising
    free: dict[int, deque[int]] = {}  # bins that have so many, the oldest first
    for piece in pieces:
        size = piece[2] - piece[1]
        place = bisect_left(room, size)
        if place == len(room):
            left, chosen = window - size, len(bins)
            bins.append([])
        else:
            space = room[place]
            left, chosen = space - size, free[space].popleft()
            if not free[space]:
                del free[space], room[place]
        bins[chosen].append(piece)
        if left not in free and left:
            insort(room, left)
        if left:
            free.setdefault(left, deque()).append(chosen)
    bounds = np.append(0, np.cumsum([len(bin) for bin in bins])).astype(np.int64)
    packed = Windows(np.array([p for bin in bins for p in bin], np.int64).reshape(-1, 3), bounds)
    return packed.only(np.random.default_rng(seed).permutation(len(packed))) if shuffled else packed
