"""A campaign of proposals under one error rate: what each may err, and when a look ends it.

Who tries two hundred changes and keeps what looks better keeps noise. Here every proposal is tested at a level
that the campaign hands out before it begins. "fdr": LORD++ (Ramdas et al. 2017): each kept proposal earns
further levels, and of what is kept at most 5 % is expected to be noise. "family": the 5 % are shared alike by the
proposals that the campaign was opened for, so that none is kept by chance in 95 of 100 campaigns. A proposal's p
value is the smallest over its looks, calibrated by its null distribution (`looks.sequential`); one that is
plainly no better stops early, which can keep nothing wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.verdicts.looks.null import ALPHA, calibrated, levels

MODES = ("fdr", "family")
PROPOSALS = 200  # that a campaign takes by default
START = 0.5  # the part of alpha that LORD++ may spend before anything is kept
HOPELESS = 0.9, 0.5  # a look's t that ends a proposal: below .9 at the first, .5 more at each that follows


def portions(proposals: int) -> np.ndarray:
    """Return LORD's portions of a wealth over the proposals that follow, (proposals,): they sum to one."""
    later = np.arange(1, proposals + 1)
    sizes = np.log(np.maximum(later, 2)) / (later * np.exp(np.sqrt(np.log(later))))
    return sizes / sizes.sum()


def level(
    kept: Sequence[bool] | np.ndarray, alpha: float = ALPHA, mode: str = "fdr", proposals: int = PROPOSALS
) -> Any:
    """Return the level of the next proposal after those that were `kept` or not, (..., before) -> (...).

    Raises UsageError where the campaign has taken as many proposals as it was opened for.
    """
    known = np.asarray(kept, dtype=bool)
    before = known.shape[-1]
    if before >= proposals:
        raise UsageError(f"the campaign is full: it was opened for {proposals} proposals; open another")
    if mode == "family":
        found = np.full(known.shape[:-1], alpha / proposals)
    else:
        sizes = portions(proposals)
        since = sizes[:before][::-1]  # of a proposal kept at each place, for the next one
        first = known & (np.cumsum(known, axis=-1) == 1)
        earned = alpha * known - alpha * START * first
        found = sizes[before] * alpha * START + (earned * since).sum(axis=-1)
    return float(found) if np.ndim(found) == 0 else found


def after(
    p: np.ndarray, t: Any, allowed: Any, looks: tuple[int, ...], spending: str = "even"
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return what a look makes of proposals: their p over the looks so far, who is kept, who is hopeless.

    `p` are their nominal one-sided p at each look so far, (looks, ...), `t` the last statistic, `allowed` their
    level. The last look leaves nobody: who is not kept there is hopeless.
    """
    units = np.array(levels(looks, spending))[: len(p)] / ALPHA
    smallest = (np.asarray(p) / units.reshape(-1, *[1] * (np.ndim(p) - 1))).min(axis=0)
    found = calibrated(smallest, looks, spending, sides=1)
    kept = np.asarray(found <= allowed)
    taken = len(p)
    start, step = HOPELESS
    hopeless = ~kept & ((np.asarray(t) < start + step * (taken - 1)) | (taken == len(looks)))
    return found, kept, hopeless
