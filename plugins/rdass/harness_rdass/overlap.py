"""ROUGE for Korean: the tokens decide the number, so there are three and none is hidden.

Google's `rouge_score` strips everything but a-z and 0-9: two equal Hangul texts score 0 there. Here tokens are
`eojeol` (split at spaces, punctuation attached: what the authors' two worked examples were counted with),
`morpheme` (Kiwi) or `syllable` (each Hangul syllable; a run of other letters or digits is one token, so English
is scored by words). Texts are NFC and lower-cased first. Scores are F1 against one reference.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import UsageError, nearest
from harness.nn.overlap import rouge_l

# A Hangul syllable or jamo stands alone; what else counts as a letter or digit goes together.
SYLLABLE = re.compile(r"[가-힣ㄱ-ㆎ]|[^\W_가-힣ㄱ-ㆎ]+")


@dataclass(frozen=True)
class Rouge:
    """ROUGE F1 of n summaries, each (n,)."""

    rouge_1: np.ndarray
    rouge_2: np.ndarray
    rouge_l: np.ndarray


def rouge(references: Sequence[str], summaries: Sequence[str], tokens: str = "syllable") -> Rouge:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L of each summary, by "syllable", "morpheme" or "eojeol".

    Two texts that both hold no token score 0. Raises UsageError for lists of different lengths.
    """
    if len(references) != len(summaries):
        raise UsageError(
            f"there are {len(references)} references and {len(summaries)} summaries: give one each"
        )
    split = tokenizer(tokens)
    pairs = [(split(r), split(s)) for r, s in zip(references, summaries, strict=True)]
    columns = (
        [f1(overlap(r, s, 1), len(r), len(s)) for r, s in pairs],
        [f1(overlap(r, s, 2), len(r) - 1, len(s) - 1) for r, s in pairs],
        [rouge_l(r, s) for r, s in pairs],
    )
    return Rouge(*(np.array(column, dtype=float) for column in columns))


def tokenizer(tokens: str) -> Callable[[str], list[str]]:
    """Return the function from a text to its tokens."""
    if tokens not in TOKENIZERS:
        raise UsageError(f"there are no tokens {tokens!r}: {nearest(tokens, TOKENIZERS)}")
    split = functools.lru_cache(maxsize=100_000)(TOKENIZERS[tokens])
    return lambda text: split(normal(text).lower())


def normal(text: str) -> str:
    """Return a text with its Hangul composed (NFC): the same word must not be two."""
    return unicodedata.normalize("NFC", text)


def eojeols(text: str) -> list[str]:
    """Split at spaces."""
    return text.split()


def syllables(text: str) -> list[str]:
    """Return Hangul syllables one by one and words of other scripts whole, without punctuation."""
    return SYLLABLE.findall(text)


def morphemes(text: str) -> list[str]:
    """Return Kiwi's morphemes without punctuation and symbols."""
    kept = ("SL", "SH", "SN")  # letters, Chinese characters, digits; other S* are signs
    return [t.form for t in kiwi().tokenize(text) if not t.tag.startswith("S") or t.tag in kept]


@functools.cache
def kiwi() -> Any:
    """Return the morphological analyser, loaded once."""
    from kiwipiepy import Kiwi

    return Kiwi(num_workers=1)


TOKENIZERS = {"eojeol": eojeols, "morpheme": morphemes, "syllable": syllables}


def overlap(reference: Sequence[str], summary: Sequence[str], n: int) -> int:
    """Return how many n-grams both have, each counted as often as in the one that has it less."""
    return (_grams(reference, n) & _grams(summary, n)).total()


def _grams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def f1(common: int, reference: int, summary: int) -> float:
    """Return the harmonic mean of precision and recall; 0 where nothing is common."""
    return 2 * common / (reference + summary) if common else 0.0
