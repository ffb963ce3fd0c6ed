"""Rows kept in a file batch by batch, so that a killed synthesis goes on to the same rows.

A batch that a kill cut is written again, whole: what a row becomes may depend on its batch, by rounding.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

Row = dict[str, Any]


def kept(
    path: Path,
    batch_size: int,
    total: int,
    make: Callable[[int], Iterable[list[Row]]],
    check: Callable[[list[Row]], None] = lambda rows: None,
) -> list[Row]:
    """Return the `total` rows of a file, writing those that are missing: `make(start)` gives batches from there on.

    `check` sees the rows so far after each batch, and may raise.
    """
    rows = whole_batches(path, batch_size, total)
    check(rows)
    for batch in make(len(rows)):
        append(path, batch)
        rows += batch
        check(rows)
    return rows


def in_steps(
    path: Path,
    rows: list[Row],
    batch_size: int,
    make: Callable[[list[Row]], list[Row]],
    tell: Callable[[int, int], object] = lambda done, total: None,
) -> list[Row]:
    """Return `make` of the rows, batch by batch, kept in a file as it goes."""

    def batches(start: int) -> Iterator[list[Row]]:
        for first in range(start, len(rows), batch_size):
            yield make(rows[first : first + batch_size])
            tell(min(first + batch_size, len(rows)), len(rows))

    return kept(path, batch_size, len(rows), batches)


def whole_batches(path: Path, batch_size: int, total: int) -> list[Row]:
    """Return the rows of a file up to its last whole batch, and cut away what a kill left after them."""
    if not path.exists():
        return []
    rows: list[Row] = []
    ends = [0]
    with path.open("rb") as file:
        for line in file:
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
            if not line.endswith(b"\n"):
                rows.pop()
                break
            ends.append(ends[-1] + len(line))
    count = len(rows) if len(rows) == total else len(rows) // batch_size * batch_size
    if count < len(rows) or ends[count] < path.stat().st_size:
        os.truncate(path, ends[count])
    return rows[:count]


def append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows to a file, on the disk when this returns. Raises HarnessError where the disk is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        with path.open("ab") as file:
            file.write(text.encode())
            file.flush()
            if path.is_file():
                os.fsync(file.fileno())
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise HarnessError(
            f"the disk is full while writing {path}: what is there is kept; free some room and repeat the command"
        ) from None
