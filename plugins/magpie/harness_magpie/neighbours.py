"""How near each instruction is to its nearest neighbour, and which ones say again what was said before.

Distances are squared (0 to 4 between unit vectors), as faiss reports them and as the paper's threshold of
0.05 is meant. Everything is exact, in blocks; faiss does the same for large sets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.errors import HarnessError

REPEAT = 0.05  # squared: a cosine of 0.975
LARGE = 50_000
BLOCK = 2048
LOOKED_AT = 100_000  # pairs at a time


class Neighbours:
    """What is near each of n rows.

    `distance` (n,) squared, to the nearest other row (inf where there is none); `nearest` (n,) which row
    that is, -1 for none; `repeats` (n,) how many others lie within the threshold; `first` (n,) the earliest
    row of those and itself: a row is the first of its group when that is itself.
    """

    def __init__(self, n: int, threshold: float) -> None:
        self.threshold = threshold
        self.distance, self.nearest = np.full(n, np.inf), np.full(n, -1)
        self.repeats, self.first = np.zeros(n, dtype=np.int64), np.arange(n)

    def add(self, i: int, j: int, distance: float) -> None:
        """Take note that row j lies so far from row i."""
        if distance < self.distance[i]:
            self.distance[i], self.nearest[i] = distance, j
        if distance < self.threshold:
            self.repeats[i] += 1
            self.first[i] = min(self.first[i], j)


def neighbour_distances(vectors: Any) -> np.ndarray:
    """Return the squared distance of each row of (n, d) to the nearest other row, (n,); 0 for an exact copy."""
    return neighbours(vectors).distance


def neighbours(vectors: Any, repeat: float = REPEAT, engine: str = "auto") -> Neighbours:
    """Return the neighbours of each row of (n, d); `engine` is "blocks", "faiss", or "auto" by size."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise HarnessError("a vector has an entry that is not a number: the encoder failed on some text")
    found = Neighbours(len(rows), repeat)
    if engine == "auto":
        engine = "faiss" if len(rows) > LARGE and _faiss() else "blocks"
    if len(rows) > 1:
        (_by_faiss if engine == "faiss" else _by_blocks)(rows, found)
    return found


def _by_blocks(rows: np.ndarray, found: Neighbours) -> None:
    squares = (rows**2).sum(axis=1)
    scale = max(float(squares.max()), 1e-30)
    for start in range(0, len(rows), BLOCK):
        own = np.arange(start, min(start + BLOCK, len(rows)))
        rough = squares[own, None] + squares - 2 * rows[own] @ rows.T  # (block, n)
        # Its rounding hides exact copies: whatever lies near a bound is computed again from differences.
        rough[np.arange(len(own)), own] = np.inf
        close = rough < max(found.threshold, 0.0) + 1e-4 * scale
        close |= rough <= rough.min(axis=1, keepdims=True) + 1e-4 * scale
        block, other = np.nonzero(close)
        exact = ((rows[own[block]] - rows[other]) ** 2).sum(axis=1)
        for i, j, d in zip(own[block], other, exact, strict=True):
            found.add(int(i), int(j), float(d))


def _by_faiss(rows: np.ndarray, found: Neighbours) -> None:
    faiss = _faiss()
    if faiss is None:
        raise HarnessError("faiss is not installed: pip install faiss-cpu, or use the exact blocks")
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(rows)
    _, nearest = index.search(rows, min(3, len(rows)))  # among exact copies, rank 1 may be the row itself
    bounds, _, near = index.range_search(rows, found.threshold + 1e-4)
    for i in range(len(rows)):
        others = set(near[bounds[i] : bounds[i + 1]].tolist()) | set(nearest[i].tolist())
        for j in sorted(others - {i, -1}):
            found.add(i, int(j), float(((rows[i] - rows[j]) ** 2).sum()))


def mark(rows: list[dict[str, Any]], vectors: Callable[[list[str]], Any]) -> None:
    """Add to rows the `distance` to the nearest other one, how often each `repeats`, the `first` of its group."""
    if not rows:
        return
    near = neighbours(vectors([row["instruction"] for row in rows]))
    for i, row in enumerate(rows):
        row |= {
            "distance": min(float(near.distance[i]), 4.0),  # 4: of a row alone
            "repeats": int(near.repeats[i]),
            "first": rows[int(near.first[i])]["id"],
        }


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def hashed_vectors(texts: list[str]) -> np.ndarray:
    """Return unit TF-IDF vectors of words and word pairs, hashed to 4,096 places, (n, 4096) float32.

    For machines without a sentence encoder; the same text always gets the same vector within a set.
    """
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    counts = HashingVectorizer(
        n_features=4096, ngram_range=(1, 2), norm=None, alternate_sign=False
    ).transform(texts)
    return np.asarray(TfidfTransformer().fit_transform(counts).toarray(), dtype=np.float32)


def hashed(texts: list[str]) -> Callable[[list[str]], Any]:
    """Return what gives some of these texts, as a sparse matrix, the vectors that `hashed_vectors` gives them all."""
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
    """Return unit vectors of a sentence encoder, (n, d) float32; `pooling`, `prompt` as `load_encoder` takes them."""
    from harness.data.sources import resolve_model
    from harness.nn.encoder import load_encoder

    found = load_encoder(
        resolve_model(encoder, cache=cache).path,
        pooling=pooling or None,
        prompt=prompt,
        device=device,
        trust_remote_code=trusted,
    )
    made = np.asarray(found.encode(texts), dtype=np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True).clip(min=1e-12)
