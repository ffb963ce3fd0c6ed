"""Documents to vectors: any sentence encoder, or TF-IDF cut to its main directions where there is none.

The paper takes Contriever, the mean over the tokens of the first 512. TF-IDF + SVD needs no weights and no network;
it knows words, not meanings, and only languages that put blanks between them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.sources import Source
from harness.errors import UsageError

CHUNK = 4096  # texts an encoder is handed at once
LEARNED = 200_000  # documents of a larger corpus that TF-IDF's words and directions are learned from


@dataclass(frozen=True)
class Words:
    """What TF-IDF + SVD learned: the words, how rare each is, and the main directions, (dimensions, words)."""

    words: list[str]
    rarity: np.ndarray
    directions: np.ndarray


def tfidf(texts: Iterable[str], dimensions: int = 128, seed: int = 0) -> np.ndarray:
    """Return a vector a text, (texts, dimensions or fewer) float32; zeros for one without a known word.

    Raises UsageError where no text has a word.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(_counts(texts)[0])
    if min(weighted.shape) < 2:
        return np.asarray(weighted.toarray(), np.float32)
    dimensions = _at_most(dimensions, weighted)
    return TruncatedSVD(dimensions, random_state=seed).fit_transform(weighted).astype(np.float32)


def learn(texts: Iterable[str], dimensions: int = 128, seed: int = 0) -> Words:
    """Return what `tfidf` learns of these texts, for `apply` to use on those and on others."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    counts, words = _counts(texts)
    weights = TfidfTransformer(sublinear_tf=True).fit(counts)
    weighted = weights.transform(counts)
    if min(weighted.shape) < 2:
        return Words(words, weights.idf_, np.eye(len(words), dtype=np.float32))
    found = TruncatedSVD(_at_most(dimensions, weighted), random_state=seed).fit(weighted)
    return Words(words, weights.idf_, found.components_.astype(np.float32))


def apply(words: Words, texts: Iterable[str]) -> np.ndarray:
    """Return a vector a text along the directions learned, (texts, dimensions) float32."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    counter = CountVectorizer(stop_words="english", dtype=np.float32, vocabulary=words.words)
    weights = TfidfTransformer(sublinear_tf=True)
    weights.idf_ = words.rarity
    return np.asarray(weights.transform(counter.transform(texts)) @ words.directions.T, np.float32)


def _counts(texts: Iterable[str]) -> tuple[Any, list[str]]:
    """Return how often each text has each word, a sparse table, and the words."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(stop_words="english", dtype=np.float32)
    try:
        counts = counter.fit_transform(texts)
    except ValueError:
        raise UsageError("the documents hold no words: give others, or an encoder by model=") from None
    often = np.diff(counts.tocsc().indptr) >= 2  # a word of one document relates it to none
    chosen = np.flatnonzero(often) if often.any() else np.arange(counts.shape[1])
    return counts[:, chosen], counter.get_feature_names_out()[chosen].tolist()


def _at_most(dimensions: int, weighted: Any) -> int:
    """Return how many directions this table has at least one of more than."""
    return max(1, min(weighted.shape) - 1) if min(weighted.shape) <= dimensions else dimensions


def save_words(words: Words, folder: Path) -> None:
    """Write what was learned, for `load_words`."""
    (folder / "words.json").write_text(json.dumps(words.words), encoding="utf-8")
    np.savez(folder / "words.npz", rarity=words.rarity, directions=words.directions)


def load_words(folder: Path) -> Words:
    """Read what `save_words` wrote."""
    with np.load(folder / "words.npz") as found:
        words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
        return Words(words, found["rarity"], found["directions"])


def load(
    model: Source,
    max_length: int = 512,
    device: str = "cpu",
    pooling: str = "",
    prompt: str | None = None,
    trusted: bool = False,
) -> Any:
    """Return the encoder, that reads at most so many tokens; `pooling` and `prompt` as `load_encoder` takes them."""
    from harness.nn.encoder import load_encoder

    encoder = load_encoder(
        model.path, pooling=pooling or None, prompt=prompt, device=device, trust_remote_code=trusted
    )
    encoder.max_length = min(encoder.max_length or max_length, max_length)
    return encoder


def encode(
    texts: Iterable[str],
    model: Source,
    path: Path,
    *,
    max_length: int = 512,
    batch_size: int = 128,
    device: str = "cpu",
) -> np.ndarray:
    """Load an encoder and write its vectors, as `encode_by`."""
    return encode_by(load(model, max_length, device), texts, path, batch_size)


def encode_by(encoder: Any, texts: Iterable[str], path: Path, batch_size: int = 128) -> np.ndarray:
    """Write the encoder's vector of each text to `path` (.npy); return them, (texts, width) float32, read lazily.

    An empty text gets zeros, so that rows and documents agree.
    """
    texts, rows = iter(texts), 0
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        while some := list(islice(texts, CHUNK)):
            real = [i for i, text in enumerate(some) if text.strip()]
            found = encoder.encode([some[i] for i in real] or ["."], batch_size=batch_size)
            width = found.shape[1]
            vectors = np.zeros((len(some), width), np.float32)
            vectors[real] = found[: len(real)]
            file.write(vectors.tobytes())
            rows += len(some)
    if not rows:
        raise UsageError("there are no documents to embed: give some")
    whole = np.memmap(raw, np.float32, "r", shape=(rows, width))
    np.save(path, whole)
    raw.unlink()
    return np.load(path, mmap_mode="r")
