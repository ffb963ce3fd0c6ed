"""Files that appear whole or not at all, files of JSON lines, and the digest of plain values."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any


def canonical(value: Any) -> str:
    """Return `value` as JSON with sorted keys and no spaces: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def digest(value: Any) -> str:
    """Return the SHA-256 of `value`'s canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def write_text(path: Path, text: str, lasting: bool = False) -> None:
    """Write `text` to `path` so that no reader ever sees half of it; a `lasting` one survives a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        if lasting:
            sync(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Bring a file's content, or a folder's names, from memory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any, lasting: bool = False) -> None:
    """Write `value` as indented JSON; a number that is not finite becomes null."""
    write_text(path, as_text(value), lasting)


def as_text(value: Any) -> str:
    """Return `value` as the JSON that `write_json` writes."""
    return json.dumps(finite(value), indent=1, ensure_ascii=False, default=str, allow_nan=False) + "\n"


def append_line(path: Path, value: Any) -> None:
    """Append `value` to a file of JSON lines; a number that is not finite becomes null."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(finite(value), default=str, allow_nan=False) + "\n")


def read_lines(path: Path, keys: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines that have these keys; none where there is no file.

    A line without an end was torn by a kill and is left out; any other that is no such object is left out and told.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = text.split("\n")
    found = [_object(line, keys) for line in lines]
    garbage = sum(
        one is None and bool(line.strip()) for one, line in zip(found[:-1], lines[:-1], strict=True)
    )
    if garbage:
        tell(f"{path}: {garbage} of {len(lines) - 1} lines cannot be read and are left out")
    return [one for one in found if one is not None]


def _object(line: str, keys: Collection[str]) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and all(key in value for key in keys) else None


@functools.cache
def tell(message: str) -> None:
    """Tell on standard error what is wrong with a file that was read; once a process."""
    print(f"harness: {message}", file=sys.stderr)


def finite(value: Any) -> Any:
    """Return plain data with null in place of numbers that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value
