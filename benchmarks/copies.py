"""Near duplicates of a million documents by their shingles, beside plain Python on twenty thousand, per document.

Documents are of 20 to 60 words, drawn as words are (Zipf); one in twenty is an earlier one with a word changed.
The peer is the plain exact way: sets of shingles, an inverted index of all of them, Jaccard with whoever shares one.
Both keep the same documents, which is checked on what the peer is given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.measuring import Measured, Target, apart, interleaved, tell

MANY, FEW, WORDS = 1_000_000, 20_000, 200_000
LIMIT = 8 * 10**9


def documents(count: int, seed: int = 0) -> Iterator[str]:
    """Yield made-up documents, one in twenty a near copy of one before it."""
    rng = np.random.default_rng(seed)
    earlier: list[list[str]] = []
    for start in range(0, count, 10_000):
        lengths = rng.integers(20, 61, min(10_000, count - start))
        drawn = (rng.zipf(1.1, int(lengths.sum())) % WORDS).astype("U6").tolist()
        at = 0
        chances = rng.random((3, len(lengths))).tolist()
        for length, copied, which, place in zip(lengths.tolist(), *chances, strict=True):
            words = drawn[at : at + length]
            at += length
            if copied < 0.05 and earlier:
                words = list(earlier[int(which * len(earlier))])
                words[int(place * len(words))] = "changed"
            elif len(earlier) < FEW:
                earlier.append(words)
            yield " ".join(words)


def plainly(texts: list[str], threshold: float = 0.8) -> list[int]:
    """Return which documents stay, by sets and an inverted index of every shingle."""
    index: dict[Any, list[int]] = defaultdict(list)
    sets: dict[int, set[Any]] = {}
    stay = []
    for number, text in enumerate(texts):
        words = text.split()
        own = set(zip(words, words[1:], words[2:], strict=False))
        shared: dict[int, int] = defaultdict(int)
        for shingle in own:
            for other in index[shingle]:
                shared[other] += 1
        if any(both >= threshold * (len(own) + len(sets[other]) - both) for other, both in shared.items()):
            continue
        sets[number] = own
        for shingle in own:
            index[shingle].append(number)
        stay.append(number)
    return stay


def kept(count: int) -> dict[str, Any]:
    """Return how many of so many documents stay by our way."""
    return {"kept": len(_ours(documents(count)))}


def _ours(texts: Iterator[str]) -> np.ndarray:
    from harness_iclm.duplicates import by_shingles

    with TemporaryDirectory() as scratch:
        return by_shingles(texts, 0.8, Path(scratch) / "shingles").kept


def measure(toy: bool) -> Iterator[Measured]:
    """Time both, check that they keep the same, and weigh ours."""
    many, few = (2000, 500) if toy else (MANY, FEW)
    small = list(documents(few))
    if _ours(iter(small)).tolist() != plainly(small):
        raise RuntimeError("the sides disagree on which documents stay")
    large = list(documents(many))

    def ours() -> None:
        _ours(iter(large))

    def theirs() -> None:
        plainly(small)

    pairs = interleaved(ours, theirs, rounds=1 if toy else 5, warm=0)
    yield pairs.against(
        f"ICLM's near duplicates of {many:,} documents of 40 words, per document", f"plain Python on {few:,}",
        Target("at least"), ours=many, theirs=few,
    )  # fmt: skip
    tell("memory")
    used = apart("copies:kept", count=many)
    ratio = used["peak"] / LIMIT
    detail = {"bytes": used["peak"], "kept": used["kept"]}
    yield Measured(
        "its peak memory, imports included", "8 GB", ratio, ratio, ratio, Target("at most"), detail=detail
    )
