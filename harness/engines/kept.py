"""Answers kept in a file as they come, a line of JSON each: what has come before a kill is not asked for again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def key_of(*parts: Any) -> str:
    """Return 32 hex digits that tell one request from another."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


class Kept:
    """A file of answers by the keys of their requests; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.found: dict[str, Any] = {}
        self.torn = False
        if path is None or not path.exists():
            return
        for line in path.read_bytes().splitlines(keepends=True):
            self.torn = not line.endswith(b"\n")
            try:
                name, value = json.loads(line)
            except (ValueError, TypeError):  # what a kill tore
                continue
            self.found[name] = value

    def add(self, name: str, value: Any) -> None:
        """Keep the answer to a request; it is in the file when this returns."""
        self.found[name] = value
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = f"{json.dumps([name, value])}\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}" if self.torn else line)
        self.torn = False

    def forget(self) -> None:
        """Remove the file: whoever asked has what was in it."""
        self.found = {}
        if self.path is not None:
            self.path.unlink(missing_ok=True)
