"""Sentences to vectors: any transformers encoder, a pooling over its tokens, and what may come after it.

`load_encoder` reads a plain transformers folder or a sentence-transformers one, with the vectors that
sentence-transformers gives; `Encoder.save` writes one. `Encoder.embed` is differentiable, for training;
`Encoder.encode` is for judging. Padding never counts: not in attention, not in a mean, not in a maximum.
"""

from harness.nn.encoder.model import POOLER, POOLINGS, Encoder, StaticEmbedding, Tokens, dense
from harness.nn.encoder.reading import load_encoder, longest_input

__all__ = [
    "POOLER",
    "POOLINGS",
    "Encoder",
    "StaticEmbedding",
    "Tokens",
    "dense",
    "load_encoder",
    "longest_input",
]
