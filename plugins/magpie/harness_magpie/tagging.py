"""Tags of instructions and scores of answers, by shards of rows that several processes share.

Whatever is asked of a row alone (its language, a judge's labels, a reward) is a step over shards. Neighbours are found
between pairs of shards, so that two of them are in memory at a time, however many rows there are.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.jsonl import read_json
from harness.errors import UsageError
from harness.tools import digest, shared, write_json
from harness_magpie.cleaning import words
from harness_magpie.neighbours import between, finite, hashed
from harness_magpie.rows import Row, in_steps

SHARD = 25_000  # rows
Vectors = Callable[[list[str]], Any]  # n texts -> (n, d)
Tell = Callable[[str, int, int], object]  # tell(step, done, total)


@dataclass
class Tools:
    """What tags need: functions that turn texts into vectors, labels and scores; None for what is not asked.

    Without `vectors` they are hashed TF-IDF.
    """

    vectors: Vectors | None = None
    languages: Callable[[list[str]], list[str]] | None = None
    judge: Any = None
    reward: Any = None
    reward_difference: Any = None


@dataclass
class Shards:
    """The parts of `shard` rows that a table's steps are made in, kept in the folder `stages`.

    Raises UsageError for parts of no row.
    """

    rows: list[Row]
    stages: Path
    tell: Tell = lambda step, done, total: None
    shard: int = SHARD

    def __post_init__(self) -> None:
        if self.shard < 1:
            raise UsageError(f"--shard {self.shard} holds no row: give at least 1")
        said = [[row["instruction"], row.get("answer")] for row in self.rows]
        self.about = digest(said)
        self.spans = [
            (first, min(first + self.shard, len(said))) for first in range(0, len(said), self.shard)
        ]

    def made(
        self, name: str, parts: list[Any], make: Callable[[int, Path], None], rows: bool = False
    ) -> list[Path]:
        """Return the folders of a step: one for each of `parts`, which say what it reads; told by parts or `rows`."""

        def heard(done: int, total: int) -> None:
            self.tell(name, *((self.spans[done - 1][1], len(self.rows)) if rows else (done, total)))

        inputs = [{"rows": self.about, "part": part} for part in parts]
        return shared(self.stages, name, inputs, make, heard)

    def each(self, name: str, make: Callable[[list[Row]], list[Row]], batch_size: int) -> None:
        """Add to each row what `make` finds for it, batch by batch; a batch that is there is not made again."""

        def write(number: int, folder: Path) -> None:
            first, last = self.spans[number]
            file = self.stages / (f"{name}-{first}.jsonl" if len(self.spans) > 1 else f"{name}.jsonl")
            part = self.rows[first:last]

            def heard(done: int, total: int) -> None:
                self.tell(name, first + done, len(self.rows))

            write_json(folder / "rows.json", in_steps(file, part, batch_size, make, heard))

        folders = self.made(name, self.spans, write, rows=True)
        found = itertools.chain.from_iterable(read_json(folder / "rows.json") for folder in folders)
        for row, more in zip(self.rows, found, strict=True):
            row |= more


def tag(shards: Shards, tools: Tools, batch_size: int) -> None:
    """Add what the filters read: length, language, neighbours, and the judge's labels where there is a judge."""
    for row in shards.rows:
        row |= {"words": words(row["instruction"]), "language": None}
    if find := tools.languages:

        def told(rows: list[Row]) -> list[Row]:
            return [{"language": one} for one in find([row["instruction"] for row in rows])]

        shards.each("languages", told, shards.shard)
    mark(shards, tools.vectors)
    if tools.judge:
        from harness_magpie.judging import judged

        def labels(rows: list[Row]) -> list[Row]:
            return [dict(one) for one in judged([row["instruction"] for row in rows], tools.judge)]

        shards.each("labels", labels, batch_size)


def score(shards: Shards, tools: Tools, batch_size: int) -> None:
    """Add the rewards of the answers, where a scorer is given."""
    for name, scorer in (("reward", tools.reward), ("reward_difference", tools.reward_difference)):
        if scorer:
            shards.each(name, functools.partial(_scored, name, scorer), batch_size)


def _scored(name: str, scorer: Any, rows: list[Row]) -> list[Row]:
    found = scorer([row["instruction"] for row in rows], [row["answer"] for row in rows])
    return [{name: float(value)} for value in found]


def mark(shards: Shards, vectors: Vectors | None) -> None:
    """Add to rows the `distance` to the nearest other one, how often each `repeats`, the `first` of its group."""
    of = embedded(shards, vectors)
    pairs = list(itertools.product(shards.spans, repeat=2))

    def write(number: int, folder: Path) -> None:
        one, other = pairs[number]
        distance, repeats, first = between(of(one), of(other), same=one == other)
        np.savez(folder / "near.npz", distance=distance, repeats=repeats, first=first + other[0])

    distance = np.full(len(shards.rows), 4.0)  # of a row alone
    repeats, first = np.zeros(len(distance), dtype=np.int64), np.arange(len(distance))
    for (one, other), folder in zip(pairs, shards.made("neighbours", pairs, write), strict=True):
        own = slice(*one)
        with np.load(folder / "near.npz") as found:
            distance[own] = np.minimum(distance[own], found["distance"])
            repeats[own] += found["repeats"]
            first[own] = np.where(
                found["first"] < other[1], np.minimum(first[own], found["first"]), first[own]
            )
    for row, near, again, earliest in zip(shards.rows, distance, repeats, first, strict=True):
        row |= {"distance": float(near), "repeats": int(again), "first": shards.rows[earliest]["id"]}


def embedded(shards: Shards, vectors: Vectors | None) -> Callable[[tuple[int, int]], Any]:
    """Return what gives the vectors of a shard; an encoder's are made once and kept."""
    texts = [row["instruction"] for row in shards.rows]
    if vectors is None:
        weigh = functools.cache(lambda: hashed(texts))
        return functools.lru_cache(2)(lambda span: weigh()(texts[slice(*span)]))

    def write(number: int, folder: Path) -> None:
        np.save(folder / "vectors.npy", finite(vectors(texts[slice(*shards.spans[number])])))

    folders = dict(zip(shards.spans, shards.made("embeddings", shards.spans, write, rows=True), strict=True))
    return functools.lru_cache(2)(lambda span: np.load(folders[span] / "vectors.npy"))
