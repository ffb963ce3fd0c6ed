"""Compiled functions that a later process need not compile again, where there is a place to keep them.

That is the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache`), or `$NUMBA_CACHE_DIR`: a run writes nothing beside
its source. Where no folder can be written (a read-only image without a home) numba raises; then each process compiles
for itself, which costs some ten seconds.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function of numbers and arrays, kept from process to process where that can be."""
    given = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        numba.config.CACHE_DIR = given or str(Path(home) / "paper-harness" / "numba")  # type: ignore[attr-defined]
        return numba.njit(cache=True)(function)
    except RuntimeError:  # no home, or no folder to keep it in
        return numba.njit(function)
    finally:
        numba.config.CACHE_DIR = given  # type: ignore[attr-defined]
