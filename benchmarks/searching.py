"""All neighbours of 200,000 vectors of width 384: our search beside scikit-learn and a plain faiss index.

Ours makes an index of lists, trains it and searches it for every vector. Brute force on all pairs would take ten
minutes a side, and its time is the same for every query, so both peers search a sample of queries among all
vectors and their time is counted for all. The vectors lie in clusters of a low dimension, as embeddings of text do;
the number of lists searched is the least power of two that finds 99 % of the true ten neighbours of the sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.measuring import Measured, Pairs, Target, in_turn, tell

K, RECALL = 10, 0.99


def vectors(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Return made-up embeddings at length 1: clusters in 24 dimensions, and a little noise in all of them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(2, count // 200), 24))
    low = centres[rng.integers(len(centres), size=count)] + 0.5 * rng.normal(size=(count, 24))
    found = low @ rng.normal(size=(24, width)) + 0.3 * rng.normal(size=(count, width))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of true neighbours that were found."""
    return float(
        np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), truth.tolist(), strict=True)])
    )


def fewest_probes(data: np.ndarray, sample: np.ndarray, truth: np.ndarray) -> tuple[int, float]:
    """Return how many lists have to be searched for the recall asked, and the recall they give."""
    import faiss
    from harness_iclm.search import choose

    # A coarser index tells it well enough, and trains in seconds; the recall is checked on what is timed.
    index: Any = faiss.index_factory(
        data.shape[1], choose(len(data)) if len(data) > 50_000 else "IVF8,Flat", 0
    )
    lists = faiss.extract_index_ivf(index)
    lists.cp.niter = 4
    index.train(data[:: max(1, len(data) // (39 * lists.nlist))])
    index.add(data)
    probes, found = 1, 0.0
    while found < RECALL and probes < lists.nlist:
        probes *= 2
        lists.nprobe = probes
        found = recall(without_self(index.search(data[sample], K + 1)[1], sample), truth)
        tell(f"{probes} lists searched: recall {found:.4f}")
    return probes, found


def without_self(ids: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Return ids, (n, K), without each query's own number."""
    return np.stack([row[row != own][:K] for row, own in zip(ids, sample, strict=True)])


def measure(toy: bool) -> Iterator[Measured]:
    """Time the search of everything, and brute force on a sample."""
    import faiss
    from harness_iclm.search import neighbours
    from sklearn.neighbors import NearestNeighbors

    faiss.omp_set_num_threads(1)
    count, width, asked = (600, 16, 40) if toy else (200_000, 384, 1000)
    data = vectors(count, width)
    sample = np.sort(np.random.default_rng(1).choice(count, asked, replace=False))
    flat = faiss.IndexFlatIP(width)
    flat.add(data)
    truth = without_self(flat.search(data[sample], K + 1)[1], sample)
    probes, _ = fewest_probes(data, sample, truth)
    recalls: list[float] = []

    def ours() -> None:
        ids, _ = neighbours(data, K, "IVF8,Flat" if toy else "auto", probes)
        recalls.append(recall(ids[sample], truth))

    def plain() -> None:
        index = faiss.IndexFlatIP(width)
        index.add(data)
        index.search(data[sample], K + 1)

    def brute() -> None:
        NearestNeighbors(n_neighbors=K + 1, metric="cosine", algorithm="brute").fit(data).kneighbors(
            data[sample]
        )

    what = f"neighbours, {count:,} x {width}, all of them, {probes} lists searched"
    peers = {"faiss IndexFlatIP": plain, "scikit-learn NearestNeighbors, brute force": brute}
    taken = in_turn({"ours": ours, **peers}, rounds=1 if toy else 5, warm=0)
    found = min(recalls)
    for name in peers:
        yield Pairs(taken["ours"], taken[name]).against(
            f"{what}: recall {found:.3f}", name, Target("at least", 1.0), theirs=asked / count,
            queries_of_the_peer=asked, recall=found, recall_met=found >= RECALL,
        )  # fmt: skip
