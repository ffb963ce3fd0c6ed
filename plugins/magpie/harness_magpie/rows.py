"""Rows kept in a file batch by batch, so that a killed synthesis goes on to the same rows.

A batch that a kill cut is written again, whole: what a row becomes may depend on its batch, by rounding.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError


def in_steps(
    path: Path,
    rows: list[dict[str, Any]],
    batch_size: int,
    make: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
    tell: Callable[..., None],
) -> list[dict[str, Any]]:
    """Return `make` of the rows, batch by batch, kept in a file as it goes."""
    known = whole_batches(path, batch_size, len(rows))
    for start in range(len(known), len(rows), batch_size):
        batch = make(rows[start : start + batch_size])
        append(path, batch)
        known += batch
        tell(len(known), len(rows))
    return known


def whole_batches(path: Path, batch_size: int, total: int) -> list[dict[str, Any]]:
    """Return the rows of a file up to its last whole batch, and cut away what a kill left after them."""
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
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
