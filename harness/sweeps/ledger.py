"""A ledger is only appended to, by one command at a time: of a plan's looks, of a campaign's proposals."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a ledger for as long as one command lives; say so where another one has it."""
    import filelock

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=2)
    except filelock.Timeout:
        print(f"harness: another command is at work on {what}: waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Append one line to a ledger and see it to the disk; a line torn by a crash before it stays alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
