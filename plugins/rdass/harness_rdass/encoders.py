"""Texts to vectors: an encoder of the toolbox, anything else that has `encode`, or character TF-IDF.

`CharacterTfidf` needs no weights and sees no meaning, only shared stems: a floor for any Korean encoder, and what
is used where none can be had. Here too: what becomes of texts that are longer than an encoder reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from harness.errors import UsageError
from harness_rdass.overlap import normal
from harness_rdass.semantic import cosine

CHUNK = 512  # texts between two looks at the progress bar
ALIKE = 0.98  # unrelated texts have a smaller cosine


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


def token_counts(encoder: Any, texts: Sequence[str]) -> list[int]:
    """Return how many tokens each text has uncut, special ones and the encoder's prompt included."""
    if hasattr(encoder, "count"):
        return list(encoder.count(list(texts)))
    prompts, name = getattr(encoder, "prompts", {}), getattr(encoder, "default_prompt_name", None)
    prompt = prompts.get(name) or ""  # a SentenceTransformer's
    rows = encoder.tokenizer([prompt + text for text in texts], truncation=False, verbose=False)
    return [len(row) for row in rows["input_ids"]]


def too_long(encoder: Any, texts: Sequence[str]) -> np.ndarray:
    """Say which texts have more tokens than the encoder reads, (n,) bool."""
    length = limit(encoder)
    if length is None:
        return np.zeros(len(texts), dtype=bool)
    distinct = list(dict.fromkeys(texts))
    counts = dict(zip(distinct, token_counts(encoder, distinct), strict=True))
    return np.array([counts[text] > length for text in texts])


def windows(encoder: Any, text: str) -> list[str]:
    """Return a text as pieces that the encoder reads whole, cut before a word where there is one, else in it.

    The cuts lie between tokens, so scripts without blanks are cut as well; each piece is counted as the encoder
    reads it. Raises UsageError for a tokenizer that does not say where its tokens stand.
    """
    length = limit(encoder)
    if length is None or token_counts(encoder, [text])[0] <= length:
        return [text]
    starts = _starts(encoder, text)
    room = length - (token_counts(encoder, [text])[0] - len(starts))
    if room < 1:
        raise UsageError(f"the encoder's prompt leaves no room in its {length} tokens: give a shorter one")
    ends = [*starts, len(text)]  # where token i begins; the last is the text's end
    found, first = [], 0
    while first < len(starts):
        last = min(first + room, len(starts))
        while True:
            last = next((i for i in range(last, first, -1) if _before_word(text, ends[i])), last)
            while last < len(starts) and ends[last] <= ends[first]:  # several tokens of one character
                last += 1
            piece = text[ends[first] : ends[last]].strip()
            excess = token_counts(encoder, [piece])[0] - length
            if excess <= 0 or ends[last - 1] <= ends[first]:
                break
            last = max(first + 1, last - excess)
        found += [piece] if piece else []
        first = last
    return found


def _starts(encoder: Any, text: str) -> list[int]:
    """Return where each token of a text begins."""
    if not getattr(encoder.tokenizer, "is_fast", False):
        raise UsageError("this encoder's tokenizer does not say where its tokens stand: use long=truncate")
    found = encoder.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [start for start, _ in found["offset_mapping"]]


def _before_word(text: str, place: int) -> bool:
    """Say whether a word begins at this place, with the blank before it or without, or the text ends."""
    return place == len(text) or text[place].isspace() or text[place - 1 : place].isspace()


def closeness(a: Sequence[Any], b: Sequence[Any], how: str) -> np.ndarray:
    """Return how close each text of `a` is to that of `b`, (n,), from the vectors of their windows.

    "mean" is the cosine of the means of unit vectors; "max" the largest cosine of two windows, one of each. Of texts
    of one window both are the cosine.
    """
    if how == "mean":
        return cosine(*(np.stack([_unit(part).mean(axis=0) for part in side]) for side in (a, b)))
    return np.array([(_unit(one) @ _unit(other).T).max() for one, other in zip(a, b, strict=True)])


def _unit(part: Any) -> np.ndarray:
    part = np.asarray(part, dtype=float)
    return part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)


def doubt(documents: Any, references: Any, names: Sequence[str]) -> str:
    """Return in words why these vectors do not tell texts apart; empty where they do.

    Each distinct document of `names` is compared with its own reference and with that of the next. Scores are read
    to two places: where unrelated texts have a cosine of .98, no more than two steps lie between unrelated and equal.
    And an encoder that finds the own reference no more often than a coin does (one-sided, 5 %, ten documents or
    more) follows no meaning.
    """
    from scipy.stats import binomtest

    rows = list({name: i for i, name in reversed(list(enumerate(names)))}.values())[::-1]
    if len(rows) < 2:
        return ""
    others = [*rows[1:], rows[0]]
    own, other = cosine(documents[rows], references[rows]), cosine(documents[rows], references[others])
    if other.mean() >= ALIKE:
        return (
            f"a document and another one's reference have a cosine of {other.mean():.3f} in the mean, equal texts 1: "
            "this encoder does not tell texts apart"
        )
    won = int((own > other).sum())
    if len(rows) >= 10 and binomtest(won, len(rows), 0.5, alternative="greater").pvalue > 0.05:
        return (
            f"in {won} of {len(rows)} documents the own reference is nearer than another one's, which chance does too: "
            "this encoder does not tell texts apart"
        )
    return ""
