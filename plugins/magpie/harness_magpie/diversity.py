"""How varied instructions are: distinct word pairs, distance to the nearest neighbour, likeness to seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

WORD = re.compile(r"[^\W_]+", re.UNICODE)


def words(text: str) -> list[str]:
    """Return a text's words in lower case: letters and digits of any script."""
    return WORD.findall(text.lower())


def distinct(texts: Sequence[str], n: int = 2) -> float:
    """Return the share of different n-grams among all n-grams of the texts; NaN without any."""
    grams = [gram for text in texts for gram in zip(*(words(text)[i:] for i in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def rouge_l(texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return the ROUGE-L F1 of each text with each reference, (texts, references)."""
    from rapidfuzz.distance import LCSseq

    ours, theirs = [words(t) for t in texts], [words(r) for r in references]
    found = np.zeros((len(ours), len(theirs)))
    for i, one in enumerate(ours):
        for j, other in enumerate(theirs):
            if one and other:
                found[i, j] = 2 * LCSseq.similarity(one, other) / (len(one) + len(other))
    return found


def seed_similarity(texts: Sequence[str], seeds: Sequence[str]) -> np.ndarray:
    """Return each text's ROUGE-L with the seed it is most like, (texts,): low is new."""
    return rouge_l(texts, seeds).max(axis=1) if len(seeds) else np.full(len(texts), np.nan)
