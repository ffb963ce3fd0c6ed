"""What an order is worth before any training: how similar documents are where a model will see them.

Adjacent and in-window similarity rank methods differently, so both are told, the second at the real window.
"""

from __future__ import annotations

import numpy as np

from harness_iclm.packing import Windows
from harness_iclm.search import normalised

AT_ONCE = 65_536  # documents whose vectors are looked up at once


def adjacent_similarity(embeddings: np.ndarray, order: np.ndarray) -> float:
    """Return the mean cosine of each document with the next one of `order`."""
    return _adjacent(normalised(embeddings), order)


def _adjacent(vectors: np.ndarray, order: np.ndarray) -> float:
    cosines = [
        np.einsum(
            "nd,nd->n",
            vectors[order[i + 1 : i + 1 + AT_ONCE]],
            vectors[order[i : i + AT_ONCE][: len(order) - 1 - i]],
        )
        for i in range(0, len(order) - 1, AT_ONCE)
    ]
    return float(np.concatenate(cosines).mean()) if cosines else 0.0


def measure(embeddings: np.ndarray, order: np.ndarray, packed: Windows) -> dict[str, float]:
    """Return what an order and its windows are worth.

    `adjacent_similarity`; `window_similarity`: of two different documents in one window, in the mean over
    windows that hold two; `between_similarity`: of documents in windows that follow each other;
    `documents_cut`: the share in more than one window; `documents_used`: the share in any.
    """
    vectors = normalised(embeddings)
    within, sums, places = [], [], []
    for window in packed:
        inside = np.unique(window[:, 0])
        places.append(inside)
        total, n = vectors[inside].sum(axis=0), len(inside)
        sums.append(total / n)
        if n > 1:
            within.append((total @ total - (vectors[inside] ** 2).sum()) / (n * (n - 1)))
    means = np.stack(sums)
    seen = np.bincount(np.concatenate(places), minlength=len(vectors))
    used = np.zeros(len(vectors), bool)
    used[order] = True
    return {
        "adjacent_similarity": _adjacent(vectors, order),
        "window_similarity": float(np.mean(within)) if within else 0.0,
        "between_similarity": float((means[1:] * means[:-1]).sum(axis=1).mean()) if len(means) > 1 else 0.0,
        "documents_cut": float((seen[used] > 1).mean()),
        "documents_used": float(used.mean()),
    }


def path_weight(ids: np.ndarray, cosines: np.ndarray, order: np.ndarray) -> tuple[float, int]:
    """Return the sum of the similarities along `order`, jumps counting nothing, and how many jumps it makes."""
    a, b = order[:-1], order[1:]
    forth, back = ids[a] == b[:, None], ids[b] == a[:, None]
    weights = np.where(forth, cosines[a], -np.inf).max(axis=1, initial=-np.inf)
    weights = np.maximum(weights, np.where(back, cosines[b], -np.inf).max(axis=1, initial=-np.inf))
    edges = np.isfinite(weights)
    return float(weights[edges].sum()), int((~edges).sum())
