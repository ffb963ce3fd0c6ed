"""Near duplicates go before the walk: it would put them side by side, and a model would learn to copy.

Without this step the paper's method is worse than random (8.3 against 8.2; with it 7.3, its ablation on
deduplication). The paper prints no threshold. Its code compares first characters on the finished path. Here a
document is left out only for one that is kept, in file order: chains of likeness take nothing along. With an encoder
likeness is the cosine; without one it is counted on shingles, since TF-IDF's few directions take all documents of a
subject for one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness_iclm import shingles
from harness_iclm.search import empty_index, normalised

COSINE, SHARED = 0.95, 0.8  # of an encoder's vectors; of shingles
NEAR = 10  # kept documents that a search gives, to compare with exactly
BLOCK = 1024  # documents compared with each other at once
MANY = 0.05  # the share left out from which one had better look


@dataclass(frozen=True)
class Copies:
    """Which documents stay, rising (kept,); which do not (dropped,), for which kept one, and how alike they are."""

    kept: np.ndarray
    dropped: np.ndarray
    of: np.ndarray
    similarity: np.ndarray

    def numbered(self, numbers: np.ndarray) -> Copies:
        """Return the same of documents that have these numbers."""
        return Copies(numbers[self.kept], numbers[self.dropped], numbers[self.of], self.similarity)


def demand(threshold: float) -> None:
    """Raise UsageError for a threshold that no likeness can have; 0 means the usual one."""
    if not 0 <= threshold <= 1:
        raise UsageError(
            f"threshold={threshold} is no likeness of near duplicates: use one above 0, or 1 to leave none out "
            f"(0 means {COSINE} of an encoder's cosines, {SHARED} of shared shingles)"
        )


def by_shingles(texts: Iterable[str], threshold: float, scratch: Path) -> Copies:
    """Return the near copies among texts by their shingles (Jaccard), from `threshold` on; 0: 0.8, 1: none.

    `scratch` is a file to keep shingles in meanwhile, 8 bytes each.
    """
    demand(threshold)
    if threshold == 1:
        return _copies(np.full(sum(1 for _ in texts), -1), np.empty(0))
    found = shingles.copies(*shingles.write(texts, scratch), threshold or SHARED)
    scratch.unlink()
    return _copies(*found)


def by_cosine(
    embeddings: np.ndarray,
    threshold: float = COSINE,
    index: str = "auto",
    probes: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Copies:
    """Return the documents with a cosine above `threshold` to a kept one before them; 0: 0.95, 1: none.

    Kept ones alone are in the index, so the most alike of them is enough to know. A row of zeros is nobody's
    copy. Raises UsageError for a threshold that is no cosine.
    """
    demand(threshold)
    threshold = threshold or COSINE
    vectors = normalised(embeddings)
    of, alike = np.full(len(vectors), -1), np.zeros(len(vectors))
    if threshold == 1 or len(vectors) < 2:
        return _copies(of, alike)
    searcher = empty_index(vectors, index, probes)
    kept = np.empty(0, np.int64)
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        if len(kept):
            near = searcher.search(block, min(NEAR, len(kept)))[1]
            cosines = np.einsum("rd,rkd->rk", block, vectors[kept[near]])  # compressed ones are not exact
            cosines = np.where(near < 0, -1.0, cosines)
            place = cosines.argmax(axis=1)[:, None]
            nearest = np.take_along_axis(kept[near], place, 1)[:, 0]
            highest = np.take_along_axis(cosines, place, 1)[:, 0]
        else:
            nearest, highest = np.full(len(block), -1), np.full(len(block), -1.0)
        own = np.tril(block @ block.T, -1)
        stays = np.minimum(highest, 1.0) <= threshold
        for i in np.flatnonzero((np.minimum(own.max(axis=1), 1.0) > threshold) | ~stays):
            before = np.where(stays[:i], own[i, :i], -1.0)
            if before.max(initial=-1.0) > highest[i]:
                nearest[i], highest[i] = start + before.argmax(), before.max()
            stays[i] = min(highest[i], 1.0) <= threshold
        rows = start + np.flatnonzero(~stays)
        of[rows], alike[rows] = nearest[~stays], np.minimum(highest[~stays], 1.0)
        kept = np.append(kept, start + np.flatnonzero(stays))
        searcher.add(block[stays])
        if progress:
            progress(start + len(block), len(vectors))
    return _copies(of, alike)


def deduplicate(
    embeddings: np.ndarray,
    threshold: float = COSINE,
    index: str = "auto",
    probes: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> np.ndarray:
    """Return the numbers of the documents that `by_cosine` keeps, rising, (kept,) int64."""
    return by_cosine(embeddings, threshold, index, probes, progress).kept


def _copies(of: np.ndarray, alike: np.ndarray) -> Copies:
    dropped = np.flatnonzero(of >= 0)
    return Copies(np.flatnonzero(of < 0), dropped, of[dropped], alike[dropped] if len(dropped) else alike[:0])


def table(copies: Copies, ids: Sequence[str]) -> Any:
    """Return what was left out as a table of arrow: document, id, kept, kept_id, similarity."""
    import pyarrow as pa

    return pa.table(
        {
            "document": copies.dropped,
            "id": pa.array([ids[i] for i in copies.dropped], pa.string()),
            "kept": copies.of,
            "kept_id": pa.array([ids[i] for i in copies.of], pa.string()),
            "similarity": copies.similarity,
        }
    )


def warning(dropped: int, documents: int, setting: str) -> str:
    """Return a sentence where more than 5 % of the documents were left out, else nothing."""
    if dropped <= MANY * documents:
        return ""
    return (
        f"{dropped:,} of {documents:,} documents ({dropped / documents:.0%}) are left out as near duplicates: "
        f"duplicates.parquet says which and for which; {setting} 1 leaves none out"
    )


def warn(dropped: int, documents: int, setting: str) -> None:
    """Tell people on stderr where many documents were left out."""
    if said := warning(dropped, documents, setting):
        print(f"harness: {said}", file=sys.stderr)
