"""RDASS for anyone's summaries: texts in, three numbers a summary out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.errors import UsageError, nearest
from harness_rdass.encoders import (
    CharacterTfidf,
    Encodes,
    document_vectors,
    limit,
    too_long,
    vectors,
    windows,
)
from harness_rdass.overlap import normal
from harness_rdass.semantic import Scores, semantic_scores

LONG = ("truncate", "mean", "max")


@dataclass(frozen=True)
class Judged(Scores):
    """RDASS of n summaries and its halves, and which documents are longer than the encoder reads, (n,) each."""

    truncated: np.ndarray


def rdass(
    documents: Sequence[str],
    references: Sequence[str],
    summaries: Sequence[str],
    encoder: Encodes | None = None,
    *,
    long: str = "truncate",
    progress: Callable[[int, int], None] | None = None,
) -> Judged:
    """Return `rdass`, `reference` = s(p, r) and `document` = s(p, d) of each summary.

    `encoder` is the toolbox's `load_encoder(folder)`, a SentenceTransformer, or anything with `encode`. Without
    one it is character TF-IDF on these documents and references, which finds shared stems and no synonyms: two
    systems' summaries of the same documents can then be compared. `long` says how documents beyond the encoder's
    length are read: "truncate" (as the paper's tools do), "mean" or "max" over windows. Raises UsageError for
    lists of different lengths and for an empty text, by its number from 1.
    """
    columns = {"document": documents, "reference": references, "summary": summaries}
    check(columns)
    if long not in LONG:
        raise UsageError(f"there is no long={long!r}: {nearest(long, LONG)}")
    d, r, p = ([normal(text) for text in column] for column in columns.values())
    if encoder is None:
        encoder = CharacterTfidf([*dict.fromkeys(d), *dict.fromkeys(r)])
    cut = too_long(encoder, d)
    if long == "truncate" or limit(encoder) is None:
        found = vectors(encoder, [*d, *r, *p], progress)
        of_d, of_r, of_p = (found[i * len(d) : (i + 1) * len(d)] for i in range(3))
    else:
        parts = [windows(encoder, text) for text in d]
        found = vectors(encoder, [*r, *p, *(window for part in parts for window in part)], progress)
        of_r, of_p = found[: len(r)], found[len(r) : 2 * len(r)]
        ends = 2 * len(r) + np.cumsum([0, *map(len, parts)])
        of_parts = [found[start:end] for start, end in pairwise(ends)]
        of_d = document_vectors(of_parts, of_p, long)
    scores = semantic_scores(of_d, of_r, of_p)
    return Judged(scores.rdass, scores.reference, scores.document, cut)


def check(columns: dict[str, Sequence[str]]) -> None:
    """Refuse columns of different lengths, none at all, and empty texts."""
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise UsageError(f"every summary needs its document and reference, but there are {told}")
    if not any(counts.values()):
        raise UsageError("there is nothing to score: give at least one document, reference and summary")
    for name, column in columns.items():
        for number, text in enumerate(column, 1):
            if not text.strip():
                raise UsageError(f"the {name} number {number} is empty: fill it in, or leave that item out")
