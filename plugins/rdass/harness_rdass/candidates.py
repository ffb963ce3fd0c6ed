"""The constructed test: candidates of a known order for each article, and for each sentence of its summary.

    para > swap > same > other        4 / 2 / 1.5 / 0, a pseudo-gold score for correlations

The reference is the article's own summary. `para` changes particles only; `swap` replaces a fifth of the words and
all numbers; `same` are other sentences of the article; `other` is another article's summary. Outside that order:
`negation`, `number`, `entity`, `half` (the summary cut in two) and `lead` (the article's beginning, copied).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from harness.errors import UsageError
from harness_rdass import edits
from harness_rdass.metrics import GOLD
from harness_rdass.overlap import normal

Row = dict[str, Any]


def read_article(row: Mapping[str, Any], number: int) -> tuple[list[str], list[str]]:
    """Return an article's sentences and those that make its summary.

    Raises UsageError, naming the row, where the summary's numbers lead nowhere.
    """
    sentences = [normal(str(sentence)).strip() for sentence in row["sentences"]]
    places = row["summaries"]
    wrong = [p for p in places if not (isinstance(p, int) and 0 <= p < len(sentences))]
    if wrong or not places:
        what = f"names sentence {wrong[0]} of {len(sentences)}" if wrong else "has an empty `summaries`"
        raise UsageError(f"article {number} {what}: give the numbers of its summary's sentences, from 0")
    if not all(sentences):
        raise UsageError(f"article {number} has an empty sentence: remove it and renumber `summaries`")
    return sentences, [sentences[p] for p in places]


def candidates(
    articles: Sequence[tuple[list[str], list[str]]], swapped_words: float, seed: int
) -> Iterator[Row]:
    """Yield rows of `level` (article or sentence), `item`, `kind`, `document`, `reference`, `summary`, `gold`.

    An edit that finds nothing to change in a text has no row there.
    """
    if len(articles) < 2:
        raise UsageError("one article cannot be told from another: give two or more in data.articles")
    found = [edits.names(" ".join(sentences)) for sentences, _ in articles]
    for i, (sentences, chosen) in enumerate(articles):
        random = Random(f"{seed}-{i}")
        j = (i + 1) % len(articles)  # the article that words, names and summaries are taken from
        words, others = " ".join(articles[j][1]).split(), found[j]
        reference, document = " ".join(chosen), " ".join(sentences)
        rest = [s for s in sentences if s not in chosen]
        kept = sorted(random.sample(range(len(rest)), min(len(chosen), len(rest))))
        half = reference.split()
        edited = {
            **_broken([*chosen], words, others, swapped_words, random),
            "same": " ".join(rest[k] for k in kept),
            "other": " ".join(articles[j][1]),
            "half": " ".join(half[: max(1, len(half) // 2)]),
            "lead": " ".join(sentences[: len(chosen)]),
        }
        yield from _rows("article", f"article-{i}", document, reference, edited)
        for k, sentence in enumerate(chosen):
            edited = _broken([sentence], words, others, swapped_words, random)
            edited["other"] = articles[j][1][k % len(articles[j][1])]
            if edited["para"] != sentence:
                yield from _rows("sentence", f"article-{i}-sentence-{k}", document, sentence, edited)


def _broken(
    sentences: list[str], words: list[str], names: list[str], share: float, random: Random
) -> dict[str, str]:
    text = " ".join(sentences)
    return {
        "para": " ".join(map(edits.particles, sentences)),
        "swap": edits.swap(text, words, share, random),
        "negation": " ".join(map(edits.negation, sentences)),
        "number": edits.number(text, random),
        "entity": edits.entity(text, names, random),
    }


def _rows(level: str, item: str, document: str, reference: str, edited: Mapping[str, str]) -> Iterator[Row]:
    shared = {"level": level, "item": item, "document": document, "reference": reference}
    for kind, summary in {"exact": reference, **edited}.items():
        if kind in ("exact", "other", "lead") or (summary and summary != reference):
            yield {**shared, "kind": kind, "summary": summary, "gold": GOLD.get(kind)}
