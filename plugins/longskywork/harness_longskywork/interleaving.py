"""Chunk-interleaved pretraining: short documents, cut and dealt out so that each must be continued from afar.

    A, B, C  ->  A1 B1 C1  A2 B2 C2          (2 chunks: "CIP-2")

Whole documents fill a window; each is cut at random points, since a fixed point would be learnt; the first
chunks come in order, then the second ones. No mark stands between chunks: what one continues is to be found
by content. The document at a window's end is divided there and its rest opens the next window, so windows are
exactly full and every token is used once. Only lengths are read: what comes out are places, not tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import pairwise
from typing import Any

import numpy as np

from harness.errors import UsageError


def interleave(
    documents: Iterable[Sized], window: int, chunks: int, seed: int, ahead: int = 1, least: int = 1
) -> Iterator[np.ndarray]:
    """Yield the pieces of each window, in their order: `window` tokens each, the last one what remains.

    A window is (pieces, 3) int64: tokens `start` to `stop` of the document with this number in the stream.
    `documents` are token sequences, or anything with a length (`range(n)`). One chunk is concatenation. No chunk is
    shorter than `least` tokens where its document, or the part of it that a window's edge makes, has so many for
    each; a shorter part is cut as evenly as it goes, one with fewer tokens than `chunks` into single tokens.
    Documents are read until they fill `ahead` windows: more is faster, and gives the same windows. Raises UsageError
    for a window that cannot hold a chunk of each kind and for a document shorter than `chunks`.
    """
    if chunks < 1:
        raise UsageError(f"a document cannot be cut into {chunks} chunks: use 1 (concatenation) or more")
    if window < chunks:
        raise UsageError(
            f"a window of {window} tokens cannot hold {chunks} chunks: raise window or lower chunks"
        )
    if least < 1:
        raise UsageError(f"a chunk of {least} tokens is none: ask for 1 or more")
    random = np.random.default_rng(seed)
    lengths: list[int] = []
    first = used = tokens = 0  # the number of lengths[0], how much of it is dealt out, and what is not of all
    for number, document in enumerate(documents):
        length = len(document)
        if length < chunks:
            raise UsageError(
                f"document {number} has {length} tokens, fewer than its {chunks} chunks: "
                "leave such documents out, join them, or lower chunks"
            )
        lengths.append(length)
        tokens += length
        if tokens >= max(ahead, 1) * window:
            tokens %= window
            yield from _deal(lengths, first, used, tokens, window, chunks, random, least)
            lengths, first, used = ([length], number, length - tokens) if tokens else ([], number + 1, 0)
    if tokens:
        yield from _deal(lengths, first, used, 0, window, chunks, random, least)


def _deal(
    lengths: list[int],
    first: int,
    used: int,
    left: int,
    window: int,
    chunks: int,
    random: np.random.Generator,
    least: int,
) -> Iterator[np.ndarray]:
    """Yield the windows of documents from number `first` on, without `used` tokens before and `left` after.

    All are cut at once, at places in their stream, where token 0 is the first that is dealt out.
    """
    ends = np.cumsum(lengths) - used  # of documents
    begins = np.concatenate([[-used], ends[:-1]])
    tokens = int(ends[-1]) - left
    stops = np.sort(np.concatenate([ends[:-1], np.arange(window, tokens, window), [tokens]]), kind="stable")
    stops = stops[np.diff(stops, prepend=0) > 0]  # of the parts that window edges make of documents
    starts = np.concatenate([[0], stops[:-1]])
    document = np.searchsorted(ends, starts, side="right")
    edges = (
        np.stack([starts, *(starts + _cuts(stops - starts, chunks, random, least)), stops]) - begins[document]
    )
    pieces = np.stack([np.broadcast_to(document + first, edges[1:].shape), edges[:-1], edges[1:]], axis=-1)
    order = np.argsort(np.tile(starts // window, chunks), kind="stable")  # by window, then chunk, then part
    pieces = pieces.reshape(-1, 3).take(order, axis=0)
    pieces = pieces.compress(pieces[:, 1] < pieces[:, 2], axis=0)
    places = np.cumsum(pieces[:, 2] - pieces[:, 1])
    bounds = [0, *(1 + np.searchsorted(places, np.arange(window, tokens, window))).tolist(), len(pieces)]
    yield from (pieces[low:high] for low, high in pairwise(bounds))


def _cuts(lengths: np.ndarray, chunks: int, random: np.random.Generator, least: int = 1) -> np.ndarray:
    """Return where parts of these lengths are cut, (chunks - 1, parts), in order: any places, all as likely.

    What each chunk has at `least` is set aside, the rest is cut. Floyd's sampling: draw j is from one place more than
    draw j - 1, and takes that one where it hits a place that is taken. A part too short for a cut more has it at its
    end.
    """
    aside = np.clip(lengths // chunks, 1, least) - 1  # of each chunk
    free = lengths - chunks * aside
    draws = random.random((len(lengths), chunks - 1)).T
    cuts = np.empty(draws.shape, np.int64)
    for j, draw in enumerate(draws):
        last = free - chunks + j + 1
        drawn = 1 + (draw * last).astype(np.int64)
        cuts[j] = np.where(last < 1, free, np.where((cuts[:j] == drawn).any(0), last, drawn))
    return np.sort(cuts, axis=0) + aside * np.arange(1, chunks)[:, None]


def gather(documents: Sequence[Any] | Mapping[int, Any], windows: Iterable[np.ndarray]) -> np.ndarray:
    """Return the tokens of windows as one array, window after window."""
    return np.concatenate(
        [
            documents[n][start:stop]
            for pieces in windows
            for n, start, stop in zip(*pieces.T.tolist(), strict=True)
        ]
    )


def distances(pieces: np.ndarray) -> list[int]:
    """Return how many tokens lie between each chunk of a window and the next chunk of its document."""
    ends: dict[int, int] = {}
    found, place = [], 0
    for document, start, stop in pieces.tolist():
        if document in ends:
            found.append(place - ends[document])
        place += stop - start
        ends[document] = place
    return found
