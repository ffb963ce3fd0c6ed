"""RDASS of 1,000 summaries of 100 documents (ten systems), each text encoded once.

Against the loop one writes first, which encodes three texts a summary, and against bert-score with an encoder of
the same size, which like RDASS compares each summary with its reference and its document.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.measuring import Measured, Target, agree, interleaved, one_thread
from benchmarks.sentences import encoder_folder, sentences

WHY = (
    "profiled: 85 % of our time is in the encoder (matrix products 44 %, attention 23 %, GELU 10 %), 6 % cuts texts "
    "into tokens and 5 % counts the documents' tokens; bert-score spends three quarters in the same encoder"
)


def measure(toy: bool) -> Iterator[Measured]:
    """Score documents of 250 to 600 words (512 tokens are read), references and summaries of 10 to 40."""
    import torch
    from bert_score import BERTScorer
    from harness_rdass.judging import rdass

    from harness.nn.encoder import load_encoder

    one_thread()
    folder = encoder_folder(1, 16, 500) if toy else encoder_folder(2, 128)
    distinct, systems = (3, 2) if toy else (100, 10)
    documents = sentences(distinct, *((30, 60) if toy else (250, 600)), seed=1) * systems
    references = sentences(distinct, 10, 40, seed=2) * systems
    summaries = sentences(distinct * systems, 10, 40, seed=3)
    encoder = load_encoder(folder)
    scorer = BERTScorer(model_type=str(folder), num_layers=1 if toy else 2, device="cpu", nthreads=1)
    found: dict[str, float] = {}

    def ours() -> None:
        found["ours"] = float(rdass(documents, references, summaries, encoder).rdass.mean())

    def loop() -> None:
        scores = []
        for texts in zip(documents, references, summaries, strict=True):
            d, r, p = (v / np.linalg.norm(v) for v in (encoder.encode([text])[0] for text in texts))
            scores.append((p @ r + p @ d) / 2)
        found["loop"] = float(np.mean(scores))

    def bert_score() -> None:
        both = [[reference, document] for reference, document in zip(references, documents, strict=True)]
        with torch.inference_mode():
            scorer.score(summaries, both, batch_size=64)

    what = f"RDASS of {len(summaries):,} summaries of {distinct} documents, BERT of 2 layers x 128 (random weights)"
    pairs = interleaved(ours, loop, rounds=1 if toy else 5, warm=0)
    agree(found["ours"], found["loop"], 1e-4, "RDASS")
    yield pairs.against(what, "a loop over the triples", Target("at least", 5))
    pairs = interleaved(ours, bert_score, rounds=1 if toy else 5, warm=0)
    yield pairs.against(what, "bert-score, same encoder, reference and document", Target("at least", 2), WHY)
