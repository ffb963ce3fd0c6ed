"""A small language in which looking back pays: prose, invented names, numbers, and tables of them.

Real prose gives a tiny model no reason to look back hundreds of tokens (measured: no difference between
any two orders). So each document here states facts, a name and its numbers amid real prose, and its second
half states them again in another order: whoever looks back knows the numbers. All draws take a generator.
With `model=` the symbols are single tokens of that model's own vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

IGNORED = -100  # a label that is no target
Rows = dict[str, np.ndarray]


@dataclass(frozen=True)
class Symbols:
    """The token numbers of each kind of symbol, and how large the whole vocabulary is."""

    prose: np.ndarray
    names: np.ndarray
    numbers: np.ndarray
    headers: np.ndarray
    ask: int  # what opens a question
    size: int

    @property
    def all(self) -> np.ndarray:
        """Every symbol but the question mark."""
        return np.concatenate([self.prose, self.names, self.numbers, self.headers])


def save_symbols(symbols: Symbols, path: Path) -> None:
    """Write the symbols as one .npz file."""
    np.savez(path, **vars(symbols))


def load_symbols(path: Path) -> Symbols:
    """Read what `save_symbols` wrote."""
    with np.load(path) as found:
        arrays: dict[str, Any] = {name: found[name] for name in found.files}
    return Symbols(**{**arrays, "ask": int(arrays["ask"]), "size": int(arrays["size"])})


def repeats(random: np.random.Generator, symbols: Symbols, rows: int, length: int) -> Rows:
    """Return rows of random symbols that repeat with a period of their own, 6 to 20; targets are the repeats."""
    ids = np.empty((rows, length), np.int64)
    labels = np.full((rows, length), IGNORED)
    for row in range(rows):
        period = int(random.integers(6, min(21, length)))
        block = random.choice(symbols.all, period)
        ids[row] = np.resize(block, length)
        labels[row, period:] = ids[row, period:]
    return {"input_ids": ids, "labels": labels}


def facts(random: np.random.Generator, symbols: Symbols, prose: np.ndarray, length: int) -> Rows:
    """Return a document: (length,) ids, and where numbers return. Five facts a half at a length of 120.

    A fact is eight words of prose, a name and three numbers. `prose` (words,) is real text in symbols.
    """
    each = length // 24  # facts a half
    names = random.choice(symbols.names, each, replace=False)
    numbers = random.choice(symbols.numbers, (each, 3))
    parts, marks = [], []
    for half, order in enumerate((np.arange(each), random.permutation(each))):
        for fact in order:
            at = int(random.integers(len(prose) - 8))
            parts += [prose[at : at + 8], names[fact : fact + 1], numbers[fact]]
            marks += [0] * 9 + [half] * 3
    return {"input_ids": np.concatenate(parts), "returning": np.asarray(marks, bool)}


def tables(
    random: np.random.Generator,
    symbols: Symbols,
    rows: int,
    columns: int,
    records: bool,
    batch: int,
    questions: int,
) -> Rows:
    """Return tables with questions behind them, (batch, length) ids and labels; targets are the answers.

    As cells: `key header value`, asked `key header`. As records: `key header value header value ...`,
    asked `ask header key`. `row` (batch, questions) is the answer's row.
    """
    found = []
    for _ in range(batch):
        keys = random.choice(symbols.names, rows, replace=False)
        headers = random.choice(symbols.headers, columns, replace=False)
        values = random.choice(symbols.numbers, (rows, columns))
        cells = [
            [
                part
                for c in range(columns)
                for part in ([] if records and c else [keys[r]]) + [headers[c], values[r, c]]
            ]
            for r in range(rows)
        ]
        ids = [part for row in cells for part in row]
        labels = [IGNORED] * len(ids)
        asked = random.integers(rows, size=questions)
        for r in asked:
            c = int(random.integers(columns))
            ids += [symbols.ask, headers[c], keys[r]] if records else [keys[r], headers[c]]
            labels += [IGNORED] * (3 if records else 2)
            ids.append(values[r, c])
            labels.append(values[r, c])
        found.append((ids, labels, asked))
    each = [np.asarray(part) for part in zip(*found, strict=True)]
    return {"input_ids": each[0], "labels": each[1], "row": each[2]}


def needles(
    random: np.random.Generator,
    symbols: Symbols,
    prose: np.ndarray,
    length: int,
    rows: int,
    depth: float | None = None,
    variant: str = "single",
    pairs: int = 4,
) -> Rows:
    """Return `length` words of prose with key-value pairs hidden in them, and a question at the end.

    `depth` in [0, 1] fixes where the asked pair lies. `variant`: "single" asks one key of several (the
    others are its distractors), "value" a key that has two values, both asked in order, "query" two keys.
    `at` (rows,) is where in `prose` each row's words begin.
    """
    found = []
    for _ in range(rows):
        at = int(random.integers(len(prose) - length))
        keys = random.choice(symbols.names, pairs, replace=False)
        values = random.choice(symbols.numbers, (pairs, 2))
        hidden = [
            [keys[i], values[i, 0]] + ([values[i, 1]] if variant == "value" else []) for i in range(pairs)
        ]
        places = random.integers(length + 1, size=pairs)
        if depth is not None:
            places[0] = round(depth * length)
        ids: list[int] = []
        begun = 0
        for i in sorted(range(pairs), key=lambda i: places[i]):
            ids += [*prose[at + begun : at + places[i]], *hidden[i]]
            begun = int(places[i])
        ids += [*prose[at + begun : at + length]]
        labels = [IGNORED] * len(ids)
        for i in range(2 if variant == "query" else 1):
            ids += [symbols.ask, *hidden[i]]
            labels += [IGNORED, IGNORED, *hidden[i][1:]]
        found.append((ids, labels, at))
    each = [np.asarray(part) for part in zip(*found, strict=True)]
    return {"input_ids": each[0], "labels": each[1], "at": each[2]}
