"""Texts to vectors: an encoder of the toolbox, anything else that has `encode`, or character TF-IDF.

`CharacterTfidf` needs no weights and sees no meaning, only shared stems: a floor for any Korean encoder, and what
is used where none can be had. Here too: what becomes of documents that are longer than an encoder reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from harness_rdass.overlap import normal
from harness_rdass.semantic import cosine

CHUNK = 512  # texts between two looks at the progress bar


class Encodes(Protocol):
    """What an encoder must have: `encode`, as the toolbox's Encoder and a SentenceTransformer do."""

    def encode(self, texts: Any) -> Any: ...


class CharacterTfidf:
    """Vectors of character 1- to 3-grams within words, 1 + log(count) times idf, unit length.

    N-grams are hashed, so that those which the background lacks count too, with the highest idf.
    """

    FEATURES = 2**20

    def __init__(self, background: Iterable[str]) -> None:
        self._count = HashingVectorizer(
            analyzer="char_wb", ngram_range=(1, 3), n_features=self.FEATURES, alternate_sign=False, norm=None
        )
        counts = self._count.transform([normal(text) for text in background])
        seen = np.bincount(counts.indices, minlength=self.FEATURES)  # texts that hold the n-gram
        self.idf = 1 + np.log((1 + counts.shape[0]) / (1 + seen))

    def encode(self, texts: Sequence[str]) -> sparse.csr_array:
        """Return (n, 2^20) sparse unit vectors."""
        found = sparse.csr_array(self._count.transform([normal(text) for text in texts]), dtype=float)
        found.data = (1 + np.log(found.data)) * self.idf[found.indices]
        lengths = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
        return sparse.csr_array(sparse.diags_array(1 / np.maximum(lengths, 1e-12)) @ found)


def limit(encoder: Any) -> int | None:
    """Return how many tokens an encoder reads; None where nothing limits it."""
    return getattr(encoder, "max_length", None) or getattr(encoder, "max_seq_length", None)


def vectors(
    encoder: Encodes, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
) -> Any:
    """Return the vectors of `texts`, (n, width), encoding each distinct text once.

    `progress(done, total)` counts distinct texts.
    """
    distinct = sorted(dict.fromkeys(texts), key=len, reverse=True)
    parts = []
    for start in range(0, len(distinct), CHUNK):
        parts.append(encoder.encode(distinct[start : start + CHUNK]))
        if progress:
            progress(min(start + CHUNK, len(distinct)), len(distinct))
    stack = sparse.vstack(parts, format="csr") if sparse.issparse(parts[0]) else np.concatenate(parts)
    place = {text: i for i, text in enumerate(distinct)}
    return stack[[place[text] for text in texts]]


def windows(encoder: Any, document: str) -> list[str]:
    """Return a document as texts that the encoder reads whole, cut between words.

    A single word beyond the limit stays whole and is cut by the encoder.
    """
    length = limit(encoder)
    if length is None:
        return [document]
    words = document.split()
    sizes = [len(row) for row in encoder.tokenizer(words, add_special_tokens=False)["input_ids"]]
    room = length - encoder.tokenizer.num_special_tokens_to_add()
    found: list[list[str]] = [[]]
    left = room
    for word, size in zip(words, sizes, strict=True):
        if size > left and found[-1]:
            found.append([])
            left = room
        found[-1].append(word)
        left -= size
    return [" ".join(part) for part in found]


def too_long(encoder: Any, documents: Sequence[str]) -> np.ndarray:
    """Say which documents have more tokens than the encoder reads, (n,) bool."""
    length = limit(encoder)
    if length is None:
        return np.zeros(len(documents), dtype=bool)
    tokenizer = encoder.tokenizer
    counts = {d: len(tokenizer(d, truncation=False, verbose=False)["input_ids"]) for d in set(documents)}
    return np.array([counts[document] > length for document in documents])


def document_vectors(parts: Sequence[Any], summaries: Any, how: str) -> Any:
    """Return one vector a document from those of its windows, (windows, width) each.

    "mean" is the mean of the unit vectors; "max" the window with the largest cosine to the summary.
    """
    found = []
    for i, part in enumerate(parts):
        if how == "mean":
            unit = part / np.linalg.norm(part, axis=1, keepdims=True)
            found.append(unit.mean(axis=0))
        else:
            found.append(part[cosine(part, np.broadcast_to(summaries[i], part.shape)).argmax()])
    return np.stack(found)
