"""Documents of a source, one by one: rows, texts, or the paragraphs of a few long texts.

A csv without a header whose first field is a class number is read as class, title, text: the published layout
of AG News and its sister sets (Zhang, Zhao, LeCun 2015). Fewer than a hundred documents (a book, a log)
are cut at blank lines, short paragraphs joined to the next, so that there is something to put in order.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from harness.data import files
from harness.data.sources import Document, Source
from harness.errors import UsageError

FEW = 100
SHORT = 20  # words


def read(source: Source, limit: int = 0) -> Iterator[Document]:
    """Yield the documents of `source`, at most `limit` of them (0: all). Raises UsageError for a limit below 0."""
    if limit < 0:
        raise UsageError(f"task.documents={limit} is less than none: give how many to read, or 0 for all")
    found = _rows(source)
    first = list(islice(found, FEW))
    if len(first) == FEW:
        found = chain(first, found)
    else:
        found = (
            Document(f"{document.id}#{number}" if number else document.id, text)
            for document in first
            for number, text in enumerate(paragraphs(document.text))
        )
    return islice(found, limit or None)


def _rows(source: Source) -> Iterator[Document]:
    for file in files.data_files(source.path):
        if file.suffix.lower() == ".csv" and _headless(file):
            yield from _classes(file)
        else:
            label = file.name if source.path.is_file() else file.relative_to(source.path).as_posix()
            one = Source(source.name, "file", file, source.digest, renamed=source.renamed)
            for document in one.documents():
                yield Document(document.id.replace(file.name, label, 1), document.text)


def _headless(file: Path) -> bool:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        first = next(csv.reader(lines), [])
    return len(first) == 3 and first[0].strip().isdigit()


def _classes(file: Path) -> Iterator[Document]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        for number, fields in enumerate(csv.reader(lines)):
            if len(fields) != 3:
                raise UsageError(
                    f"{file} record {number + 1} has {len(fields)} fields: "
                    "it holds class, title, text, so correct it there"
                )
            # A lone backslash stands for a line break in these files.
            yield Document(f"{file.name}#{number}", " . ".join(fields[1:]).replace("\\", " "))


def paragraphs(text: str) -> Iterator[str]:
    """Yield the blocks between blank lines, a short one together with what follows; no word is lost."""
    waiting = ""
    for block in re.split(r"\n[ \t]*\n", text):
        waiting = f"{waiting}\n\n{block}" if waiting.strip() else block
        if len(waiting.split()) >= SHORT:
            yield waiting
            waiting = ""
    if waiting.strip():
        yield waiting
