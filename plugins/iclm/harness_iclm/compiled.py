"""Compiled functions that a later process need not compile again, where there is a place to keep them.

numba keeps what it compiled beside the source, or else in the user's cache folder. Where neither can be written (a
read-only image without a home) it raises; then each process compiles for itself, which costs some ten seconds.
"""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function of numbers and arrays, kept from process to process where that can be."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # no folder to keep it in
        return numba.njit(function)
