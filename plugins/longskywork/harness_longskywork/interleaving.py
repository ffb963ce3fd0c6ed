"""Chunk-interleaved pretraining: short documents, cut and dealt out so that each must be continued from afar.

    A, B, C  ->  A1 B1 C1  A2 B2 C2          (2 chunks: "CIP-2")

Whole documents fill a window; each is cut at random points, since a fixed point would be learnt; the first
chunks come in order, then the second ones. No mark stands between chunks: what one continues is to be found
by content. The document at a window's end is divided there and its rest opens the next window, so windows are
exactly full and every token is used once. Only lengths are read: what comes out are places, not tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from harness.errors import UsageError


class Piece(NamedTuple):
    """Tokens `start` to `stop` of the document with this number in the stream."""

    document: int
    start: int
    stop: int


def interleave(documents: Iterable[Sized], window: int, chunks: int, seed: int) -> Iterator[list[Piece]]:
    """Yield the pieces of each window, in their order: `window` tokens each, the last one what remains.

    `documents` are token sequences, or anything with a length (`range(n)`). One chunk is concatenation. A part
    of a document with fewer tokens than `chunks`, at a window's edge, is cut into single tokens. Raises
    UsageError for a window that cannot hold a chunk of each kind and for a document shorter than `chunks`.
    """
    if chunks < 1 or window < chunks:
        raise UsageError(
            f"a window of {window} tokens cannot hold {chunks} chunks: raise window or lower chunks"
        )
    random = np.random.default_rng(seed)
    group: list[Piece] = []
    room = window
    for number, document in enumerate(documents):
        length, start = len(document), 0
        if length < chunks:
            raise UsageError(
                f"document {number} has {length} tokens, fewer than its {chunks} chunks: "
                "leave such documents out, join them, or lower chunks"
            )
        while start < length:
            stop = min(length, start + room)
            group.append(Piece(number, start, stop))
            room -= stop - start
            start = stop
            if not room:
                yield _deal(group, chunks, random)
                group, room = [], window
    if group:
        yield _deal(group, chunks, random)


def _deal(group: list[Piece], chunks: int, random: np.random.Generator) -> list[Piece]:
    """Cut each piece at random points and return first chunks, second chunks and so on."""
    rounds: list[list[Piece]] = [[] for _ in range(chunks)]
    for document, start, stop in group:
        wanted = min(chunks, stop - start)
        cuts = np.sort(random.choice(stop - start - 1, wanted - 1, replace=False)) if wanted > 1 else ()
        edges = [start, *(start + 1 + int(cut) for cut in cuts), stop]
        for turn, (first, last) in enumerate(pairwise(edges)):
            rounds[turn].append(Piece(document, first, last))
    return [piece for turn in rounds for piece in turn]


def restore(windows: Iterable[list[Piece]]) -> dict[int, list[tuple[int, int]]]:
    """Return for each document its tokens' places in the stream of windows, as (place, document offset) runs.

    The inverse of `interleave`: runs come in the document's order, whatever lay between them.
    """
    found: dict[int, list[tuple[int, int, int]]] = {}
    place = 0
    for pieces in windows:
        for document, start, stop in pieces:
            found.setdefault(document, []).append((start, stop, place))
            place += stop - start
    return {
        number: [(place + i, start + i) for start, stop, place in sorted(runs) for i in range(stop - start)]
        for number, runs in found.items()
    }


def distances(pieces: list[Piece]) -> list[int]:
    """Return how many tokens lie between each chunk of a window and the next chunk of its document."""
    ends: dict[int, int] = {}
    found, place = [], 0
    for document, start, stop in pieces:
        if document in ends:
            found.append(place - ends[document])
        place += stop - start
        ends[document] = place
    return found
