"""A seed far from the others is named, who is ahead is counted, and the middle half has a mean."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from harness.verdicts.collapse import better, far, interquartile_mean, threshold


@pytest.mark.parametrize("seeds", [3, 4, 5, 8])
def test_one_set_of_normal_seeds_in_a_hundred_has_one_named(seeds):
    sets = np.random.default_rng(7).normal(size=(20_000, seeds))
    named = np.mean([bool(far(row)) for row in sets])
    assert named == pytest.approx(0.01, abs=0.003)  # three standard errors, and the threshold's own


def test_five_deviations_would_name_a_seed_in_every_third_set_of_three():
    sets = np.random.default_rng(0).normal(size=(20_000, 3))
    distances = np.abs(sets - np.median(sets, axis=1, keepdims=True))
    assert np.mean(distances.max(axis=1) > 5 * np.median(distances, axis=1)) == pytest.approx(0.3, abs=0.01)


def test_the_seed_that_collapsed_is_named_by_its_place():
    assert far([0.52, 0.51, 0.011, 0.53, 0.50]) == [2]
    assert far([0.52, 0.51, 0.49, 0.53, 0.50]) == []


def test_neither_order_nor_unit_nor_sign_matter():
    values = np.array([0.525, 0.011, 0.009])
    assert far(values) == [0]
    assert far(-100 * values[::-1]) == [2]


def test_one_item_more_or_less_is_no_collapse():
    """Two seeds with one value leave no spread; then the step of a value is what distances are told in."""
    assert far([0.95, 0.95, 0.945]) == []
    assert far([0.95, 0.95, 0.945], grain=0.005) == []
    assert far([0.95, 0.95, 0.023], grain=0.005) == [2]


def test_two_seeds_have_no_median_to_be_far_from():
    assert far([0.5, 0.1]) == []


def test_more_seeds_need_less_distance_to_be_named():
    assert threshold(3) > threshold(5) > threshold(7) > threshold(9)


def test_who_is_better_has_the_exact_interval_of_a_sign_test():
    ahead, number, low, high = better([0.1, 0.3, -0.2, 0.4, 0.2])
    exact = scipy.stats.binomtest(4, 5).proportion_ci(method="exact")
    assert (ahead, number) == (4, 5)
    assert (low, high) == pytest.approx((exact.low, exact.high))
    assert better([0.0, 0.0])[0] == 0


def test_the_interquartile_mean_by_hand():
    assert interquartile_mean(range(9)) is None
    # of ten, the cut is at 2.5 and 7.5: half of the third and of the eighth, all between
    assert interquartile_mean([0, 0, 2, 3, 4, 5, 6, 7, 99, 99]) == pytest.approx(
        (1 + 3 + 4 + 5 + 6 + 3.5) / 5
    )
    assert interquartile_mean([*range(11, 0, -1), 1000]) == pytest.approx(6.5)


def test_hundreds_of_seeds_do_not_fill_the_memory():
    import tracemalloc

    threshold.cache_clear()
    tracemalloc.start()
    try:
        threshold(400)  # 40 million numbers are drawn: 320 MB at once
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
