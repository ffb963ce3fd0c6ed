"""Sentences to vectors: our `Encoder.encode` beside `SentenceTransformer.encode`, on the same encoder."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.measuring import Measured, Target, interleaved, one_thread
from benchmarks.sentences import encoder_folder, sentences


def measure(toy: bool) -> Iterator[Measured]:
    """Encode sentences of 3 to 120 words; the vectors are checked to be the same."""
    from sentence_transformers import SentenceTransformer

    from harness.nn.encoder import load_encoder

    one_thread()
    folder = encoder_folder(1, 16, 500) if toy else encoder_folder(2, 128)
    texts = sentences(40 if toy else 20_000)
    mine, other = load_encoder(folder), SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        found["ours"] = mine.encode(texts, batch_size=64)

    def theirs() -> None:
        found["theirs"] = other.encode(texts, batch_size=64, show_progress_bar=False)

    pairs = interleaved(ours, theirs, rounds=1 if toy else 5, warm=0)
    if not np.allclose(found["ours"], found["theirs"], atol=1e-4):
        raise RuntimeError("the sides disagree on the vectors")
    what = f"encoding {len(texts):,} sentences of 3 to 120 words, BERT of 2 layers x 128 (random weights)"
    yield pairs.against(what, "SentenceTransformer.encode", Target("at least", 1.0))
