"""Documents to vectors: any sentence encoder, or TF-IDF cut to its main directions where there is none.

The paper takes Contriever, the mean over the tokens of the first 512. TF-IDF + SVD needs no weights and no network;
it knows words, not meanings, and only languages that put blanks between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import numpy as np

from harness.data.sources import Source
from harness.errors import UsageError

CHUNK = 4096  # texts an encoder is handed at once


def tfidf(texts: Iterable[str], dimensions: int = 128, seed: int = 0) -> np.ndarray:
    """Return a vector a text, (texts, dimensions or fewer) float32; zeros for one without a known word.

    Raises UsageError where no text has a word.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    counter = CountVectorizer(stop_words="english", dtype=np.float32)
    try:
        counts = counter.fit_transform(texts)
    except ValueError:
        raise UsageError("the documents hold no words: give others, or an encoder by model=") from None
    often = np.diff(counts.tocsc().indptr) >= 2  # a word of one document relates it to none
    if often.any():
        counts = counts[:, np.flatnonzero(often)]
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    if weighted.shape[1] <= dimensions or weighted.shape[0] <= dimensions:
        dimensions = max(1, min(weighted.shape) - 1)
    if min(weighted.shape) < 2:
        return np.asarray(weighted.toarray(), np.float32)
    return TruncatedSVD(dimensions, random_state=seed).fit_transform(weighted).astype(np.float32)


def encode(
    texts: Iterable[str],
    model: Source,
    path: Path,
    *,
    max_length: int = 512,
    batch_size: int = 128,
    device: str = "cpu",
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Write the encoder's vector of each text to `path` (.npy); return them, (texts, width) float32, read lazily.

    An empty text gets zeros, so that rows and documents agree.
    """
    from harness.nn.encoder import load_encoder

    encoder = load_encoder(model.path, device=device)
    encoder.max_length = min(encoder.max_length or max_length, max_length)
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
            if progress:
                progress(rows)
    if not rows:
        raise UsageError("there are no documents to embed: give some")
    whole = np.memmap(raw, np.float32, "r", shape=(rows, width))
    np.save(path, whole)
    raw.unlink()
    return np.load(path, mmap_mode="r")
