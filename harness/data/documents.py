"""Documents for training, and documents held out: the same ones for every method, run and machine.

Of many documents, one is held out when the SHA-256 of its name is 0 modulo 10: adding documents moves
none of the others. 0 modulo 20 is the test part, 10 modulo 20 the validation part. Of a few documents
(a book, a log) the last tenth of the text is held out, the first half of it for validation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from harness.data.sources import Document

FEW = 10


@dataclass(frozen=True)
class Split:
    """Three parts that share no text."""

    train: list[Document]
    validation: list[Document]
    test: list[Document]


def split(documents: Iterable[Document]) -> Split:
    """Divide documents by their names, or by position where there are too few to fill all three parts."""
    documents = list(documents)
    parts: dict[str, list[Document]] = {"train": [], "validation": [], "test": []}
    for document in documents:
        parts[part_of(document.id)].append(document)
    if len(documents) < FEW or not all(parts.values()):
        return _by_position(documents)
    return Split(**parts)


def part_of(name: str) -> str:
    """Return "train", "validation" or "test": where the document of this name belongs."""
    number = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    return {0: "test", 10: "validation"}.get(number % 20, "train")


def _by_position(documents: list[Document]) -> Split:
    total = sum(len(document.text) for document in documents)
    edges = (0, total * 90 // 100, total * 95 // 100, total)
    parts = [_between(documents, low, high) for low, high in pairwise(edges)]
    return Split(*parts)


def _between(documents: list[Document], low: int, high: int) -> list[Document]:
    """Return what lies between two positions of the documents' text, counted from the first one on."""
    found, start = [], 0
    for document in documents:
        piece = document.text[max(0, low - start) : max(0, high - start)]
        if piece:
            found.append(Document(document.id, piece))
        start += len(document.text)
    return found
