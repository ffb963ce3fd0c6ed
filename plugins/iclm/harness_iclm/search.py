"""Neighbours: each document's k most similar ones by cosine, with faiss.

Exact for few documents, in lists (IVF) for more, compressed (PQ, the paper's) for the most. Vectors are
normalised first: the paper says cosine, its code forgets to. A document is no neighbour of its own; it is
told by its number, since duplicates and compression can put another first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.errors import UsageError

EXACT, LISTS = 50_000, 10_000_000  # documents up to which search is exact, and in uncompressed lists
PAPER = "IVF32768,PQ256"
PER_LIST = 48  # vectors a list is trained on; the paper's code
BATCH = 8192


def neighbours(
    embeddings: np.ndarray,
    k: int,
    index: str = "auto",
    probes: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return each document's `k` nearest others: ids (documents, k) int64, cosines (documents, k) float32.

    Most similar first, ties by id. Where lists hold too few, the rest is -1 with a cosine of -1. `index` is auto or
    a name of faiss's factory (Flat, IVF512,Flat ...) and `probes` how many lists are searched (0: 16, or
    the paper's 64 for 32,768). Raises UsageError for numbers that are none, or fewer documents than that.
    """
    vectors = normalised(embeddings)
    demand_neighbours(k, len(vectors))
    searcher = filled_index(vectors, index, probes, seed)
    return nearest(searcher, vectors, np.arange(len(vectors)), k, progress)


def demand_neighbours(k: int, documents: int) -> None:
    """Raise UsageError where so many neighbours cannot be had of so many documents."""
    if documents < 2:
        raise UsageError(
            f"{documents} document{'' if documents == 1 else 's'} cannot be neighbours: give at least two "
            "different ones"
        )
    if not 0 < k < documents:
        raise UsageError(
            f"{k} neighbours were asked of {documents} documents: ask for 1 to {documents - 1}, or give more"
        )


def demand_index(index: str, probes: int, width: int = 128, documents: int = 0) -> None:
    """Raise UsageError for an index that faiss does not know, or that this search or so few vectors cannot fill."""
    import faiss

    if probes < 0:
        raise UsageError(f"{probes} lists cannot be searched: use 1 or more, or 0 to choose by size")
    if index == "auto":
        return
    known = "use auto, Flat, IVF<lists>,Flat or IVF<lists>,PQ<bytes>"
    try:
        made = faiss.index_factory(width, index, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError:
        raise UsageError(
            f"{index!r} is no index that faiss can make of vectors of width {width}: {known}"
        ) from None
    lists = faiss.try_extract_index_ivf(made)
    if lists is None and not made.is_trained:
        raise UsageError(f"the index {index!r} is neither exact nor in lists: {known}")
    if lists is not None and 0 < documents < lists.nlist:
        raise UsageError(
            f"{documents:,} documents cannot fill the {lists.nlist:,} lists of {index!r}: use fewer lists, or auto"
        )


def empty_index(vectors: np.ndarray, index: str = "auto", probes: int = 0, seed: int = 0) -> Any:
    """Return a searcher for vectors at length 1 like these, trained on them where it must be, that holds none."""
    import faiss

    documents, width = vectors.shape
    demand_index(index, probes, width, documents)
    name = choose(documents) if index == "auto" else index
    searcher = faiss.index_factory(width, name, faiss.METRIC_INNER_PRODUCT)
    if not searcher.is_trained:
        lists = faiss.extract_index_ivf(searcher)
        lists.nprobe = probes or (64 if lists.nlist >= 32_768 else 16)
        lists.cp.seed = seed
        rows = np.random.default_rng(seed).permutation(documents)[: max(PER_LIST * lists.nlist, 2**12)]
        try:
            searcher.train(vectors[np.sort(rows)])
        except RuntimeError as error:  # codes of more values than there are vectors
            reason = str(error).rpartition(": ")[2].strip()
            raise UsageError(
                f"{documents:,} documents cannot train the index {name!r} ({reason}): use auto"
            ) from None
    return searcher


def filled_index(vectors: np.ndarray, index: str = "auto", probes: int = 0, seed: int = 0) -> Any:
    """Return a searcher that holds these vectors at length 1."""
    searcher = empty_index(vectors, index, probes, seed)
    searcher.add(vectors)
    return searcher


def nearest(
    searcher: Any,
    vectors: np.ndarray,
    wanted: np.ndarray,
    k: int,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `k` neighbours of the `wanted` documents (rising numbers), as `neighbours` does of all."""
    import faiss

    lists = faiss.try_extract_index_ivf(searcher)
    exact = lists is None or "PQ" not in type(faiss.downcast_index(lists)).__name__
    ids, cosines = np.empty((len(wanted), k), np.int64), np.empty((len(wanted), k), np.float32)
    for start in range(0, len(wanted), BATCH):
        part = slice(start, start + BATCH)
        rows = wanted[part]
        near, found = searcher.search(vectors[rows], k + 1)[::-1]
        if exact:  # again, so that a's cosine with b is b's with a, whatever the threads
            found = np.einsum("rd,rkd->rk", vectors[rows], vectors[near])
        found = np.minimum(found, 1.0)  # of copies, rounding can say more
        found = np.where((near < 0) | (near == rows[:, None]), -np.inf, found)
        order = np.lexsort((near, -found))[:, :k]
        ids[part], cosines[part] = (np.take_along_axis(x, order, axis=1) for x in (near, found))
        if progress:
            progress(start + len(rows), len(wanted))
    missing = np.isneginf(cosines)
    ids[missing], cosines[missing] = -1, -1.0
    return ids, cosines


def choose(documents: int) -> str:
    """Return the index for so many documents, by its name in faiss's factory."""
    if documents <= EXACT:
        return "Flat"
    return f"IVF{round(4 * documents**0.5)},Flat" if documents <= LISTS else PAPER


def normalised(embeddings: np.ndarray) -> np.ndarray:
    """Return the rows at length 1, float32; a row of zeros (an empty text) stays. UsageError for NaN."""
    vectors = np.array(embeddings, np.float32, order="C")
    if vectors.ndim != 2:
        raise UsageError(f"embeddings of shape {vectors.shape} are no table: give (documents, width)")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise UsageError(
            f"the embeddings of {len(bad)} documents are not finite, first of number {bad[0]}: "
            "fix the encoder or its precision, or leave those documents out"
        )
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors
