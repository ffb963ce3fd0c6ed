"""RDASS's idea: a summary should mean what the reference means *and* what the document means.

    s(p, r) = cos(v_p, v_r)      s(p, d) = cos(v_p, v_d)      RDASS = (s(p, r) + s(p, d)) / 2

v are sentence vectors of the predicted summary p, the reference r and the document d. One reference is not the
only right summary, and word overlap punishes a Korean word for its ending; vectors do neither. The mean is the
plain one: no weights, no rescaling. A cosine can be negative and is left so.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Scores:
    """RDASS of n summaries and its two halves, each (n,)."""

    rdass: np.ndarray
    reference: np.ndarray
    document: np.ndarray


def semantic_scores(document: Any, reference: Any, summary: Any) -> Scores:
    """Return the scores of n summaries from their vectors, (n, width) arrays or sparse matrices."""
    to_reference, to_document = cosine(summary, reference), cosine(summary, document)
    return Scores((to_reference + to_document) / 2, to_reference, to_document)


def cosine(a: Any, b: Any) -> np.ndarray:
    """Return the cosine of each row of a with the same row of b, (n,) float64; 0 with a zero vector."""
    lengths = np.sqrt(_dots(a, a) * _dots(b, b))
    return np.divide(_dots(a, b), lengths, out=np.zeros_like(lengths), where=lengths > 0)


def _dots(a: Any, b: Any) -> np.ndarray:
    if sparse.issparse(a):
        return np.asarray(a.multiply(b).sum(axis=1), dtype=float).ravel()
    return np.einsum("nw,nw->n", a, b, dtype=float)
