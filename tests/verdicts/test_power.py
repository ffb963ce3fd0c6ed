"""What a comparison can see: power by the noncentral t against repetition, effect sizes by hand."""

from __future__ import annotations

from math import exp, isnan, log, sqrt

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.papers.statement import Contrast, Metric, difference, level, ratio
from harness.verdicts.power import Noise, answer, detects, effect, items_for, noise, seeds_for
from harness.verdicts.stats import Interval, items_interval, seeds_interval

GAP = difference("accuracy", "a", "b")


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_what_is_detected_is_found_in_80_of_100_repetitions(seeds):
    distance = detects(Noise(seed=0.3, items=0.0, seeds=seeds))
    drawn = np.random.default_rng(seeds).normal(distance, 0.3, (2000, seeds))
    found = np.mean([seeds_interval(row).low > 0 for row in drawn])
    assert found == pytest.approx(0.8, abs=0.03)


def test_the_seeds_asked_for_are_the_fewest_that_scipy_grants_80_percent():
    found = Noise(seed=1.0, items=0.0, seeds=3)

    def power_of(n: int) -> float:
        return float(scipy.stats.nct(n - 1, 1.0 * sqrt(n)).sf(scipy.stats.t.ppf(0.975, n - 1)))

    n = seeds_for(1.0, found)
    assert n == 10
    assert power_of(n) >= 0.8 > power_of(n - 1)


def test_items_put_a_floor_under_what_seeds_can_detect():
    found = Noise(seed=1.0, items=0.5, seeds=5, number=400)
    floor = 0.5 * (1.96 + 0.8416)
    assert detects(found, 1000) > floor
    assert seeds_for(floor * 0.99, found) is None
    assert seeds_for(floor * 1.5, found) > 5


def test_half_the_distance_takes_four_times_the_items():
    found = Noise(seed=0.0, items=0.01, seeds=1, number=500)
    assert detects(found) == pytest.approx(0.01 * 2.8016, rel=1e-3)
    assert items_for(detects(found) / 2, found) == pytest.approx(2000, abs=1)


def test_the_noise_is_read_back_from_the_interval_it_made():
    per_seed = np.array([0.1, 0.2, 0.4, 0.3])
    draws = np.random.default_rng(0).normal(0, 0.07, 300)
    interval = seeds_interval(per_seed, 0.0, draws)
    found = noise(GAP, Interval(**{**vars(interval), "items": 250}), per_seed)
    assert found.seed == pytest.approx(per_seed.std(ddof=1))
    assert found.items == pytest.approx(draws.std(ddof=1), rel=1e-6)
    assert noise(GAP, seeds_interval(per_seed), per_seed).items == 0


def test_hedges_g_by_hand():
    # mean 2, deviation 1, two degrees of freedom: 2 * (1 - 3/7)
    per_seed = np.array([1.0, 2.0, 3.0])
    interval = seeds_interval(per_seed)
    assert effect(GAP, interval, per_seed, noise(GAP, interval, per_seed)) == pytest.approx(2 * 4 / 7)


def test_cohens_d_over_items_is_the_mean_in_units_of_an_items_spread():
    gaps = np.random.default_rng(1).normal(0.2, 1.0, 400)
    draws = gaps[np.random.default_rng(2).integers(400, size=(2000, 400))].mean(axis=1)
    interval = items_interval(gaps.mean(), draws, 400)
    d = effect(GAP, interval, np.array([gaps.mean()]), noise(GAP, interval, np.array([gaps.mean()])))
    assert d == pytest.approx(gaps.mean() / gaps.std(), rel=0.05)


def test_a_level_has_no_effect_size_but_power():
    per_seed = np.array([0.8, 0.9, 0.85])
    said = answer(level("accuracy", "a", at_least=0.5), seeds_interval(per_seed), per_seed)
    assert said["effect"] is None
    assert said["power"]["target"] == pytest.approx(said["power"]["detects"] / 2)


def test_a_ratio_answers_in_factors_from_its_bound():
    per_seed = np.log([1.30, 1.32, 1.35])
    logs = seeds_interval(per_seed)
    interval = Interval(
        **{**vars(logs), "value": exp(logs.value), "low": exp(logs.low), "high": exp(logs.high)}
    )
    contrast = ratio("accuracy", "a", than="b", at_least=1.1)
    said = answer(contrast, interval, per_seed, wanted=1.21)
    assert said["power"]["target"] == pytest.approx(1.1)
    assert said["power"]["target_is"] == "reported"
    assert log(said["power"]["detects"]) == pytest.approx(detects(Noise(float(per_seed.std(ddof=1)), 0.0, 3)))


def test_without_an_interval_there_is_nothing_to_say():
    assert answer(GAP, seeds_interval([0.1, 0.2]), np.array([0.1, 0.2])) == {"effect": None, "power": None}
    assert answer(GAP, seeds_interval([0.1] * 3), np.array([0.1] * 3)) == {"effect": None, "power": None}
    assert isnan(effect(GAP, Interval(0.1), np.array([0.1]), None))


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 10), st.floats(0, 3), st.integers(3, 50))
def test_more_seeds_never_detect_less(seed, items, seeds):
    found = Noise(seed, items, seeds)
    assert detects(found, seeds + 1) < detects(found, seeds)
    enough = seeds_for(detects(found, seeds), found)
    assert enough is not None
    assert enough <= seeds


def test_metric_direction_does_not_change_the_power():
    down = Contrast("difference", "perplexity", "a", than="b")
    per_seed = np.array([1.0, 2.0, 4.0])
    there, back = (answer(down, seeds_interval(x), x)["power"] for x in (per_seed, -per_seed))
    assert there == back
    assert Metric("lower", "p").better == "lower"
