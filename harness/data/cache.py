"""A file or folder that is made once, by whoever needs it first, and is there whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def once(target: Path, make: Callable[[Path], None]) -> Path:
    """Return `target`; if it is not there, let `make(path)` write it under another name and rename it."""
    if target.exists():
        return target
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if not target.exists():
            room = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
            try:
                make(room / target.name)
                (room / target.name).replace(target)
            finally:
                shutil.rmtree(room)
    return target
