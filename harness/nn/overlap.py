"""Overlap of words: one ROUGE-L for every paper, and the words that it is counted in.

Google's `rouge_score` keeps a-z and 0-9 only, so two equal texts in Hangul score 0 there. Here a word is a run of
letters and digits of any script: for English in ASCII the same words, hence the same score.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Return a text's words in lower case."""
    return WORD.findall(text.lower())


def rouge_l(reference: Sequence[Hashable], text: Sequence[Hashable]) -> float:
    """Return ROUGE-L F1 of two lists of tokens, 0 to 1: twice their longest common subsequence over both lengths."""
    from rapidfuzz.distance import LCSseq

    common = LCSseq.similarity(reference, text)
    return 2 * common / (len(reference) + len(text)) if common else 0.0
