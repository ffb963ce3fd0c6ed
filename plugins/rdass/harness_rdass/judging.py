"""RDASS for anyone's summaries: texts in, three numbers a summary out."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.errors import UsageError, nearest
from harness_rdass.encoders import (
    CharacterTfidf,
    Encodes,
    closeness,
    doubt,
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
    """RDASS of n summaries and its halves, (n,) each.

    `truncated` says which documents are longer than the encoder reads, the next two which references and summaries;
    `empty` which summaries hold nothing and so score 0. `doubt` says why the encoder does not tell texts apart,
    where it does not.
    """

    truncated: np.ndarray
    truncated_reference: np.ndarray
    truncated_summary: np.ndarray
    empty: np.ndarray
    doubt: str = ""


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
    systems' summaries of the same documents can then be compared, a score of one set not with that of another.
    `long` says how texts beyond the encoder's
    length are read: "truncate" (as the paper's tools do), "mean" or "max" over windows. An empty summary scores 0.
    Raises UsageError for lists of different lengths and for an empty document or reference, by its number from 1.
    """
    columns = {"document": documents, "reference": references, "summary": summaries}
    check(columns)
    if long not in LONG:
        raise UsageError(f"there is no long={long!r}: {nearest(long, LONG)}")
    d, r, p = ([normal(text) for text in column] for column in columns.values())
    if encoder is None:
        encoder = CharacterTfidf([*dict.fromkeys(d), *dict.fromkeys(r)])
    empty = np.array([blank(text) for text in p])
    written = ["" if blank(text) else text for text in p]
    cut_d, cut_r, cut_p = (too_long(encoder, column) for column in (d, r, written))
    full = np.flatnonzero(~empty)
    found = Scores(*(np.zeros(len(p)) for _ in range(3)))
    doubted = ""
    if len(full):
        kept = [[column[i] for i in full] for column in (d, r, p)]
        scores, doubted = _scores(kept, encoder, long, progress)
        for name, values in vars(scores).items():
            getattr(found, name)[full] = values
    halves = found.rdass, found.reference, found.document
    return Judged(*halves, cut_d, cut_r, cut_p, empty, doubted)


def _scores(
    columns: Sequence[Sequence[str]],
    encoder: Encodes,
    long: str,
    progress: Callable[[int, int], None] | None,
) -> tuple[Scores, str]:
    """Return the scores of documents, references and summaries, and what there is to doubt of the encoder."""
    d, r, p = columns
    n = len(p)
    if long == "truncate" or limit(encoder) is None:
        found = vectors(encoder, [*d, *r, *p], progress)
        of_d, of_r, of_p = (found[i * n : (i + 1) * n] for i in range(3))
        return semantic_scores(of_d, of_r, of_p), doubt(of_d, of_r, d)
    distinct = list(dict.fromkeys((*d, *r, *p)))
    known = {
        text: windows(encoder, text) if cut else [text]
        for text, cut in zip(distinct, too_long(encoder, distinct), strict=True)
    }
    parts = [known[text] for column in columns for text in column]
    found = vectors(encoder, [piece for part in parts for piece in part], progress)
    ends = np.cumsum([0, *map(len, parts)])
    pieces = [found[start:end] for start, end in pairwise(ends)]
    of_d, of_r, of_p = (pieces[i * n : (i + 1) * n] for i in range(3))
    to_reference, to_document = closeness(of_p, of_r, long), closeness(of_p, of_d, long)
    mean_d, mean_r = (np.stack([part.mean(axis=0) for part in side]) for side in (of_d, of_r))
    return Scores((to_reference + to_document) / 2, to_reference, to_document), doubt(mean_d, mean_r, d)


def blank(text: str) -> bool:
    """Say whether a text holds nothing that can be seen: blanks, control and format characters."""
    return all(unicodedata.category(character)[0] in "CZ" for character in text)


def check(columns: dict[str, Sequence[str]]) -> None:
    """Refuse columns of different lengths, none at all, and empty documents and references."""
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise UsageError(f"every summary needs its document and reference, but there are {told}")
    if not any(counts.values()):
        raise UsageError("there is nothing to score: give at least one document, reference and summary")
    for name in ("document", "reference"):
        for number, text in enumerate(columns[name], 1):
            if blank(text):
                raise UsageError(f"the {name} number {number} is empty: fill it in, or leave that item out")
