"""How often the verdict rule calls two equal methods different, over a thousand made-up comparisons.

At a nominal 5 % the seeds rule must land within 3.5-6.5 %; the seeds-and-items rule, which pays for
two sources of chance with few degrees of freedom, must never exceed 6.5 %.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from harness.papers.statement import Items, Metric, difference
from harness.verdicts.stats import Cell, estimate, seeds_interval, verdict

COMPARISONS = 1000
METRICS = {"score": Metric("higher", "score")}
IDS = [f"q{i}" for i in range(200)]


@pytest.mark.parametrize("seeds", [3, 5])
def test_seeds_rule_is_wrong_as_often_as_it_says(seeds):
    pairs = np.random.default_rng(seeds).normal(size=(COMPARISONS, 2, seeds))  # two methods, one distribution
    false = np.mean([verdict(seeds_interval(a - b)) != "open" for a, b in pairs])
    assert 0.035 <= false <= 0.065


@pytest.mark.parametrize("seeds", [3, 5])
def test_interval_covers_the_truth_as_often_as_it_says(seeds):
    rng = np.random.default_rng(10 + seeds)
    covered = 0
    for _ in range(COMPARISONS):
        found = seeds_interval(rng.normal(0.7, 0.2, seeds))
        covered += found.low <= 0.7 <= found.high
    assert 0.935 <= covered / COMPARISONS <= 0.965


@pytest.mark.parametrize(("seeds", "at_least"), [(2, 0.40), (3, 0.22), (5, 0.13)])
def test_percentile_bootstrap_over_seeds_would_be_wrong_far_more_often(seeds, at_least):
    """Why the rule is not a bootstrap over seeds: 50 / 27 / 17 % false verdicts where 5 were promised."""
    rng = np.random.default_rng(seeds)
    differences = rng.normal(size=(COMPARISONS, seeds))
    picks = rng.integers(seeds, size=(2000, seeds))
    low, high = np.quantile(differences[:, picks].mean(axis=2), [0.025, 0.975], axis=1)
    assert np.mean((low > 0) | (high < 0)) > at_least


def test_sign_flips_could_never_decide_at_three_seeds():
    """Why it is not a permutation test either: eight sign patterns, so p is never below .25."""
    found = scipy.stats.permutation_test(
        ([5.0, 6.0, 7.0],), np.mean, permutation_type="samples", alternative="two-sided"
    )
    assert found.pvalue == 0.25


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("of_seed", "of_item"), [(0.3, 0.1), (0.05, 1.0), (0.0, 1.0)])
def test_seeds_and_items_rule_is_wrong_no_more_often_than_it_says(seeds, of_seed, of_item):
    """Equal methods whose scores move with the seed, and which are good at different items."""
    rng = np.random.default_rng([seeds, int(of_seed * 100)])
    wrong = 0
    for _ in range(COMPARISONS):
        scores = (
            rng.normal(0, 1, (1, 1, len(IDS)))  # how hard an item is
            + rng.normal(0, of_item, (2, 1, len(IDS)))  # a method's taste in items
            + rng.normal(0, of_seed, (2, seeds, 1))  # a lucky seed
            + rng.normal(0, 0.3, (2, seeds, len(IDS)))
        )
        cells = [
            Cell(
                name,
                "score",
                dict(enumerate(by_seed.mean(axis=1))),
                lambda by_seed=by_seed: {seed: Items({"s": row}, IDS) for seed, row in enumerate(by_seed)},
            )
            for name, by_seed in zip("ab", scores, strict=True)
        ]
        found = estimate(difference("score", "a", "b"), METRICS, cells)
        assert found.rule == "seeds+items"
        wrong += verdict(found) != "open"
    assert wrong / COMPARISONS <= 0.065


def test_seeds_alone_would_mistake_lucky_items_for_a_better_method():
    """Why items count: over three seeds that agree, 200 items still favour one method by chance."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(COMPARISONS):
        luck = rng.normal(0, 1, len(IDS)).mean()  # the same items in every seed
        wrong += verdict(seeds_interval(luck + rng.normal(0, 0.01, 3))) != "open"
    assert wrong / COMPARISONS > 0.5


@pytest.mark.parametrize("n", [200, 1000])
def test_items_rule_is_wrong_about_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    ids = [str(i) for i in range(n)]
    wrong = 0
    for _ in range(COMPARISONS):
        a, b = (rng.random((2, n)) < 0.7).astype(float)
        cells = [
            Cell(m, "score", {0: x.mean()}, lambda x=x: {0: Items({"s": x}, ids)}, deterministic=True)
            for m, x in (("a", a), ("b", b))
        ]
        wrong += verdict(estimate(difference("score", "a", "b"), METRICS, cells)) != "open"
    assert 0.035 <= wrong / COMPARISONS <= 0.065
