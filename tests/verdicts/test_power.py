"""What a comparison can see: power by the noncentral t against repetition, effect sizes by hand."""

from __future__ import annotations

from math import isnan, log, sqrt

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.papers.statement import Contrast, Items, Metric, difference, level, ratio
from harness.verdicts.power import Noise, answer, detects, effect, items_for, noise, seeds_for
from harness.verdicts.stats import Cell, Interval, estimate, seeds_interval

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


def judged(contrast: Contrast, by_method: dict[str, np.ndarray], fixed: bool = False) -> Interval:
    """Judge methods by (seeds, items) scores."""
    ids = [str(i) for i in range(len(next(iter(by_method.values()))[0]))]
    cells = [
        Cell(m, "accuracy", dict(enumerate(x.mean(axis=1))), lambda x=x: items_of(x, ids), fixed)
        for m, x in by_method.items()
    ]
    return estimate(contrast, {"accuracy": Metric("higher", "")}, cells)


def items_of(scores: np.ndarray, ids: list[str]) -> dict[int, Items]:
    return {seed: Items({"score": row}, ids) for seed, row in enumerate(scores)}


def test_an_interval_tells_the_noise_it_was_made_of():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 0.1, (4, 1)) + rng.normal(0, 1, 400)
    b = np.zeros((4, 400))
    interval = judged(GAP, {"a": a, "b": b})
    found = noise(interval)
    assert found.seed == pytest.approx(a.mean(axis=1).std(ddof=1))
    assert found.items == pytest.approx(a.mean(axis=0).std() / 20, rel=0.1)
    assert (found.seeds, found.number, found.freedom) == (4, 400, 399)
    half = (interval.high - interval.low) / 2
    t = scipy.stats.t.ppf(0.975, [3, 399])
    assert half == pytest.approx(np.hypot(t[0] * found.seed / 2, t[1] * found.items))
    assert noise(seeds_interval(a.mean(axis=1))).items == 0


def test_hedges_g_by_hand():
    # mean 2, deviation 1, two degrees of freedom: 2 * (1 - 3/7)
    per_seed = np.array([1.0, 2.0, 3.0])
    assert effect(GAP, seeds_interval(per_seed), per_seed) == pytest.approx(2 * 4 / 7)


def test_the_effect_has_the_claims_sign():
    fewer = ratio("accuracy", "a", than="b", at_most=1.0)
    logs = np.log([0.5, 0.6, 0.55])
    cells = [
        Cell("a", "accuracy", {0: 0.5, 1: 0.6, 2: 0.55}),
        Cell("b", "accuracy", {0: 1.0, 1: 1.0, 2: 1.0}),
    ]
    interval = estimate(fewer, {"accuracy": Metric("higher", "")}, cells)
    said = answer(fewer, interval, logs)["effect"]
    assert said["size"] > 0
    assert said["ahead"] == 3


def test_cohens_d_over_items_is_the_mean_in_units_of_an_items_spread():
    gaps = np.random.default_rng(1).normal(0.2, 1.0, 400)
    interval = judged(GAP, {"a": gaps[None], "b": np.zeros((1, 400))}, fixed=True)
    d = effect(GAP, interval, np.array([gaps.mean()]))
    assert d == pytest.approx(gaps.mean() / gaps.std(), rel=0.05)


@pytest.mark.parametrize(("seeds", "of_seed", "of_item"), [(3, 0.05, 0.05), (3, 0.2, 0.05), (5, 0.05, 0.1)])
def test_seeds_and_items_find_what_is_said_to_be_detected(seeds, of_seed, of_item):
    """Repeated with the rule's own half-width, the items' error being known from 400 of them."""
    distance = detects(Noise(of_seed, of_item, seeds, 400, 399))
    rng = np.random.default_rng(seeds)
    drawn = rng.normal(distance, of_seed, (4000, seeds))
    mean = drawn.mean(axis=1) + rng.normal(0, of_item, 4000)
    t = scipy.stats.t.ppf(0.975, [seeds - 1, 399])
    half = np.hypot(t[0] * drawn.std(axis=1, ddof=1) / sqrt(seeds), t[1] * of_item)
    assert np.mean(mean > half) == pytest.approx(0.8, abs=0.02)


def test_a_level_has_no_effect_size_but_power():
    per_seed = np.array([0.8, 0.9, 0.85])
    said = answer(level("accuracy", "a", at_least=0.5), seeds_interval(per_seed), per_seed)
    assert said["effect"] is None
    assert said["power"]["target"] == pytest.approx(said["power"]["detects"] / 2)


def test_a_ratio_answers_in_factors_from_its_bound():
    over, under = np.array([1.30, 1.32, 1.35]), np.array([1.0, 1.0, 1.0])
    cells = [Cell(m, "accuracy", dict(enumerate(x))) for m, x in (("a", over), ("b", under))]
    contrast = ratio("accuracy", "a", than="b", at_least=1.1)
    interval = estimate(contrast, {"accuracy": Metric("higher", "")}, cells)
    said = answer(contrast, interval, np.log(over), wanted=1.21)
    assert said["power"]["target"] == pytest.approx(1.1)
    assert said["power"]["target_is"] == "reported"
    relative = float(over.std(ddof=1) / over.mean())
    assert log(said["power"]["detects"]) == pytest.approx(detects(Noise(relative, 0.0, 3)))


def test_without_an_interval_there_is_nothing_to_say():
    assert answer(GAP, seeds_interval([0.1, 0.2]), np.array([0.1, 0.2])) == {"effect": None, "power": None}
    assert answer(GAP, seeds_interval([0.1] * 3), np.array([0.1] * 3)) == {"effect": None, "power": None}
    assert isnan(effect(GAP, Interval(0.1), np.array([0.1])))


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
