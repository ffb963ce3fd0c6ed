"""One long array of tokens as windows of equal length, side by side."""

from __future__ import annotations

import numpy as np

from harness.errors import HarnessError


def windows(tokens: np.ndarray, length: int) -> np.ndarray:
    """Return `tokens` as (windows, length), a view; the last tokens that fill no window are left out."""
    demand(tokens, length)
    count = len(tokens) // length
    return tokens[: count * length].reshape(count, length)


def demand(tokens: np.ndarray, length: int) -> None:
    """Raise HarnessError where the text is shorter than one window."""
    if len(tokens) < length:
        raise HarnessError(
            f"the text has {len(tokens)} tokens, fewer than the {length} of one window: "
            f"give more text, or lower task.length= below {max(1, len(tokens))}"
        )
