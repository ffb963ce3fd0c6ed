"""Documents as a stream of token numbers, and interleaved windows as lines of a file.

A window's documents are in memory, and no others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.jsonl import write_jsonl
from harness.data.sources import Source
from harness.errors import UsageError
from harness_longskywork.interleaving import distances, interleave


class TokenStream:
    """The documents of a source as token numbers, each kept only until its last window is made.

    `tokenizer` None takes characters. `end` is a token that closes each document.
    """

    def __init__(self, source: Source, tokenizer: Any, end: int | None, lines: bool, least: int) -> None:
        self.source, self.tokenizer, self.end = source, tokenizer, end
        self.lines, self.least = lines, least
        self.read = self.short = 0
        self.held: dict[int, list[int]] = {}

    def __iter__(self) -> Iterator[list[int]]:
        for text in self._texts():
            ids = self._ids(text)
            if len(ids) < self.least:
                self.short += 1
                continue
            if self.end is not None:
                ids.append(self.end)
            self.held[self.read] = ids
            self.read += 1
            yield ids

    def _texts(self) -> Iterator[str]:
        if self.lines:
            return (row["text"] for row in self.source.rows())
        return (document.text for document in self.source.documents())

    def _ids(self, text: str) -> list[int]:
        if self.tokenizer is None:
            return [ord(character) for character in text]
        found: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return found


@dataclass
class Told:
    """What was written: full windows, the tokens of a last one that is not full, and partner distances.

    `distances` counts by powers of two: under 4 those of 4 to 7 tokens.
    """

    windows: int = 0
    remainder: int = 0
    distances: Counter[int] = field(default_factory=Counter)

    @property
    def alone(self) -> float:
        """The share of chunks that stand right behind the one they continue, where nothing is interleaved."""
        return self.distances[0] / max(1, self.distances.total())


def write_windows(
    stream: TokenStream, out: Path, window: int, chunks: int, seed: int, least: int = 1
) -> Told:
    """Write each window as a line of `input_ids`, `position_ids` and `documents`, all of its length."""
    told = Told()

    def rows() -> Iterator[dict[str, Any]]:
        for pieces in interleave(stream, window, chunks, seed, least=least):
            places = pieces.tolist()
            ids = [token for number, start, stop in places for token in stream.held[number][start:stop]]
            owners = [number for number, start, stop in places for _ in range(start, stop)]
            yield {"input_ids": ids, "position_ids": list(range(len(ids))), "documents": owners}
            told.distances.update(1 << d.bit_length() - 1 if d else 0 for d in distances(pieces))
            if len(ids) == window:
                told.windows += 1
            else:
                told.remainder = len(ids)
            newest = max(owners)
            for number in [number for number in stream.held if number < newest]:
                del stream.held[number]
        if not told.windows and not told.remainder:
            raise UsageError(
                f"{stream.source.name} has no document of {chunks} tokens or more: give more text"
            )

    write_jsonl(out, rows())
    return told
