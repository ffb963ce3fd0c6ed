"""The orders that in-context pretraining is compared with: random, nearest neighbours, clusters."""

from __future__ import annotations

import numpy as np

from harness_iclm.search import normalised


def shuffle(documents: int, seed: int = 0) -> np.ndarray:
    """Return all documents in a random order: what pretraining does by default."""
    return np.random.default_rng(seed).permutation(documents)


def nearest_first(ids: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return documents at random, each followed by its own neighbours: the paper's kNN baseline.

    As many as there are documents, so most appear several times and many never. `ids` is (documents, k).
    """
    documents, k = ids.shape
    heads = np.random.default_rng(seed).permutation(documents)[: -(-documents // (k + 1))]
    rows = np.concatenate([heads[:, None], ids[heads]], axis=1).ravel()
    return rows[rows >= 0][:documents]


def clusters(embeddings: np.ndarray, size: int = 20, seed: int = 0) -> np.ndarray:
    """Return the documents cluster by cluster, at random within each: spherical k-means of about `size` each."""
    import faiss

    vectors = normalised(embeddings)
    documents, width = vectors.shape
    kmeans = faiss.Kmeans(
        width, max(1, documents // size), niter=20, spherical=True, seed=seed + 1, min_points_per_centroid=1
    )
    kmeans.train(vectors)
    nearest = kmeans.index.search(vectors, 1)[1][:, 0]
    random = np.random.default_rng(seed)
    rank = random.permutation(kmeans.k)[nearest]
    found: np.ndarray = np.lexsort(np.stack([random.random(documents), rank]))
    return found
