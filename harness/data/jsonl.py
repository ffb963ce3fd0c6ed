"""Lines of JSON: what `prepare` leaves for the other hooks, and what commands write for other tools."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write a row a line and return how many; nothing is at `path` before all are, even if `rows` raises."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def read_json(path: Path) -> Any:
    """Return what a file of one JSON value holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Return the rows that `write_jsonl` wrote."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
