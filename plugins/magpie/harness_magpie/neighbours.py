"""How near each instruction is to its nearest neighbour, and which ones say again what was said before.

Distances are squared (0 to 4 between unit vectors), as faiss reports them and as the paper's threshold of
0.05 is meant. Everything is exact, in blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.errors import HarnessError

REPEAT = 0.05  # squared: a cosine of 0.975
BLOCK = 2048
LOOKED_AT = 100_000  # pairs at a time


def neighbour_distances(vectors: Any) -> np.ndarray:
    """Return the squared distance of each row of (n, d) to the nearest other row, (n,); 0 for an exact copy.

    Raises HarnessError for an entry that is no number.
    """
    from scipy.sparse import issparse

    rows = vectors if issparse(vectors) else finite(np.asarray(vectors, dtype=np.float32))
    return between(rows, rows, same=True)[0]


def mark(rows: list[dict[str, Any]], vectors: Callable[[list[str]], Any]) -> None:
    """Add to rows the `distance` to the nearest other one, how often each `repeats`, the `first` of its group."""
    if not rows:
        return
    found = vectors([row["instruction"] for row in rows])
    for i, (row, distance, repeats, first) in enumerate(
        zip(rows, *between(found, found, same=True), strict=True)
    ):
        row |= {
            "distance": min(float(distance), 4.0),  # 4: of a row alone
            "repeats": int(repeats),
            "first": rows[min(i, int(first))]["id"],
        }


def hashed(texts: list[str]) -> Callable[[list[str]], Any]:
    """Return what gives some of these texts their unit TF-IDF vectors among all, sparse (n, 4096) float32.

    Words and word pairs, hashed to 4,096 places: for machines without a sentence encoder. The same text always gets
    the same vector within a set.
    """
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    counts = HashingVectorizer(n_features=4096, ngram_range=(1, 2), norm=None, alternate_sign=False)
    weights = TfidfTransformer().fit(counts.transform(texts))
    return lambda part: weights.transform(counts.transform(part)).astype(np.float32)


def between(rows: Any, others: Any, same: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each of `rows` (n, d) what is near among `others` (m, d), dense or sparse; `same` leaves out itself.

    The squared distance to the nearest, (n,), exact; how many lie within the threshold; the earliest of those, m for
    none. Dot products choose what is looked at: their rounding hides exact copies.
    """
    from scipy.sparse import issparse

    distance = np.full(rows.shape[0], np.inf)
    repeats, first = np.zeros(len(distance), dtype=np.int64), np.full(len(distance), others.shape[0])
    squares, theirs = _squares(rows), _squares(others)
    room = 1e-4 * max(float(squares.max(initial=0)), float(theirs.max(initial=0)), 1e-30)
    for start in range(0, len(distance), BLOCK):
        block = slice(start, min(start + BLOCK, len(distance)))
        dots = rows[block] @ others.T
        rough = squares[block, None] + theirs - 2 * (dots.toarray() if issparse(dots) else dots)
        if same:
            own = np.arange(block.start, block.stop)
            rough[own - start, own] = np.inf
        close = rough <= np.maximum(rough.min(axis=1, keepdims=True), REPEAT) + room
        if same:
            close[own - start, own] = False
        near, far = np.nonzero(close)
        for some in range(0, len(near), LOOKED_AT):  # one thing said again and again makes millions
            i, j = start + near[some : some + LOOKED_AT], far[some : some + LOOKED_AT]
            exact = _squares(rows[i] - others[j])
            np.minimum.at(distance, i, exact)
            again = exact < REPEAT
            np.add.at(repeats, i[again], 1)
            np.minimum.at(first, i[again], j[again])
    return distance, repeats, first


def finite(vectors: np.ndarray) -> np.ndarray:
    """Return the vectors. Raises HarnessError where an entry is no number."""
    if not np.isfinite(vectors).all():
        raise HarnessError("a vector has an entry that is not a number: the encoder failed on some text")
    return vectors


def _squares(rows: Any) -> np.ndarray:
    """Return the squared length of each row of a dense or a sparse matrix, (n,) float32."""
    from scipy.sparse import issparse

    squares = rows.power(2) if issparse(rows) else rows**2
    return np.asarray(squares.sum(axis=1), dtype=np.float32).ravel()


def unit(vectors: Any) -> np.ndarray:
    """Return the rows of (n, d) at length 1, float32."""
    made = np.asarray(vectors, dtype=np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True).clip(min=1e-12)


def encoded_vectors(
    encoder: str,
    texts: list[str],
    cache: Any,
    device: str,
    pooling: str = "",
    prompt: str | None = None,
    trusted: bool = False,
) -> np.ndarray:
    """Return unit vectors of a sentence encoder, (n, d) float32; `pooling`, `prompt` as `load_encoder` takes them.

    Raises HarnessError where the encoder gives an entry that is no number.
    """
    from harness.data.sources import resolve_model
    from harness.nn.encoder import load_encoder

    found = load_encoder(
        resolve_model(encoder, cache=cache).path,
        pooling=pooling or None,
        prompt=prompt,
        device=device,
        trust_remote_code=trusted,
    )
    return finite(unit(found.encode(texts)))
