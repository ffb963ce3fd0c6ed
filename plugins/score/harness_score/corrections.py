"""What a second answer changed: the paper's metrics, an edit distance, and a paired test.

All shares are of *all* problems. (The paper's text also quotes wrong-to-right over the wrong ones: not here.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def two_turn_metrics(first_correct: Any, second_correct: Any) -> dict[str, float]:
    """Return accuracy at both turns, delta, and the shares wrong-to-right and right-to-wrong, of all problems.

    Both arguments are (problems,) of 0 and 1. delta is wrong_to_right - right_to_wrong, exactly.
    Raises ValueError for unequal lengths, none, or other values.
    """
    first, second = np.asarray(first_correct, dtype=float), np.asarray(second_correct, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError("both turns need one value for each problem, and at least one problem")
    if not np.isin(np.concatenate([first, second]), (0, 1)).all():
        raise ValueError("correct is 1 and wrong is 0: other values were given")
    gained = float(((first == 0) & (second == 1)).mean())
    lost = float(((first == 1) & (second == 0)).mean())
    return {
        "accuracy_t1": float(first.mean()),
        "accuracy_t2": float(second.mean()),
        "delta": gained - lost,
        "wrong_to_right": gained,
        "right_to_wrong": lost,
    }


def mcnemar(first_correct: Any, second_correct: Any) -> float:
    """Return the two-sided exact p-value that gains and losses between the turns are equally likely."""
    from scipy.stats import binomtest

    first, second = np.asarray(first_correct, dtype=bool), np.asarray(second_correct, dtype=bool)
    gained, lost = int((~first & second).sum()), int((first & ~second).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def edit_ratio(first: Sequence[Any], second: Sequence[Any]) -> float:
    """Return the edit distance over the sum of both lengths: 0 for a copy, 1 where one of them is empty."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(first, second) / max(len(first) + len(second), 1)
