"""Resampling items: 10,000 resamples of a rank correlation over 1,379 pairs (as many as STS-B's test set has).

The harness draws counts and ranks a whole block of resamples at once; scipy's bootstrap calls the statistic.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.measuring import Measured, Target, agree, interleaved


def measure(toy: bool) -> Iterator[Measured]:
    """Bootstrap a Spearman correlation, and for information a mean."""
    from scipy import stats

    from harness.papers.reduction import _weights, bootstrap
    from harness.papers.statement import Metric

    items, draws = (60, 200) if toy else (1379, 10_000)
    rng = np.random.default_rng(0)
    gold = np.round(rng.uniform(0, 5, items), 1)  # ties, as human scores have
    found = gold + rng.normal(0, 1.5, items)
    columns = {"found": found, "gold": gold}
    spearman = Metric("higher", "", reduce="spearman")
    ends: dict[str, np.ndarray] = {}

    def ours() -> None:
        _weights.cache_clear()  # or a second round would find the counts of the first
        ends["ours"] = np.quantile(bootstrap(spearman, [columns], draws), [0.025, 0.975])

    def theirs() -> None:
        done = stats.bootstrap(
            (found, gold), lambda x, y: stats.spearmanr(x, y).statistic, n_resamples=draws, paired=True,
            vectorized=False, method="percentile", rng=np.random.default_rng(0),
        )  # fmt: skip
        ends["theirs"] = np.array(done.confidence_interval)

    pairs = interleaved(ours, theirs, rounds=1 if toy else 5)
    for mine, other in zip(ends["ours"], ends["theirs"], strict=True):
        agree(mine, other, 0.2 if toy else 0.02, "the interval of the correlation")
    work = f"{draws:,} resamples x {items:,} items"
    yield pairs.against(
        f"item bootstrap of a Spearman correlation, {work}", "scipy.stats.bootstrap", Target("at least", 5)
    )

    def our_mean() -> None:
        _weights.cache_clear()
        bootstrap(Metric("higher", ""), [{"found": found}], draws)

    def their_mean() -> None:
        stats.bootstrap(
            (found,), np.mean, n_resamples=draws, method="percentile", batch=100, rng=np.random.default_rng(0)
        )

    pairs = interleaved(our_mean, their_mean, rounds=1 if toy else 5)
    yield pairs.against(
        f"the same of a mean, {work}", "scipy.stats.bootstrap, vectorised", Target("at least")
    )
