"""How varied instructions are: distinct word pairs, distance to the nearest neighbour, likeness to seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.nn.overlap import rouge_l, words


def distinct(texts: Sequence[str], n: int = 2) -> float:
    """Return the share of different n-grams among all n-grams of the texts; NaN without any."""
    grams = [gram for text in texts for gram in zip(*(words(text)[i:] for i in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def seed_similarity(texts: Sequence[str], seeds: Sequence[str]) -> np.ndarray:
    """Return each text's ROUGE-L with the seed it is most like, (texts,): low is new; NaN without seeds."""
    known = [words(seed) for seed in seeds]
    ours = [words(text) for text in texts]
    return np.array([max((rouge_l(seed, one) for seed in known), default=np.nan) for one in ours])
