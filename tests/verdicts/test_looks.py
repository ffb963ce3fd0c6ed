"""Looks: judging again after more seeds errs no more often than one look does, declared or not."""

import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.papers.statement import Claim, Metric, difference
from harness.runs.results import find_runs
from harness.verdicts.looks import (
    LOOKS,
    PATHS,
    Memory,
    Plan,
    anytime,
    chance,
    checked,
    critical,
    decided,
    evidence,
    levels,
    plan_file,
    planned,
    sequential,
    setting_of,
    shares,
    signed,
    statistics,
    unplanned,
)
from harness.verdicts.scorecard import judge
from harness.verdicts.stats import Cell, estimate, verdict
from tests.records import PAPER, write_run

METRICS = {"score": Metric("higher", "score")}
GAP = Claim("a beats b", difference("score", "a", "b"), "Table 1")


def cells(differences, first=0):
    """Two methods whose scores differ, seed by seed, by these numbers."""
    seeds = range(first, first + len(differences))
    return [
        Cell("a", "score", dict(zip(seeds, differences, strict=True))),
        Cell("b", "score", dict.fromkeys(seeds, 0.0)),
    ]


# Declared looks


def test_critical_values_of_the_declared_looks():
    """400,000 paths of another generator gave 10.01, 4.43, 3.30, 2.89, 2.67; the first is t(2)'s own."""
    found = levels(LOOKS)
    assert found == pytest.approx((0.0100, 0.0114, 0.0131, 0.0148, 0.0150), abs=0.0005)
    asked = [critical(seeds, level) for seeds, level in zip(LOOKS, found, strict=True)]
    assert asked == pytest.approx([9.92, 4.43, 3.30, 2.89, 2.67], abs=0.03)
    assert asked[0] == pytest.approx(scipy.stats.t.ppf(0.995, 2))


@pytest.mark.parametrize("spending", ["even", "late"])
@pytest.mark.parametrize("looks", [LOOKS, (3, 4, 5, 6, 7, 8), (4, 30), (3,)])
def test_all_looks_together_err_five_times_in_a_hundred(looks, spending):
    rng = np.random.default_rng(1)
    seeds = rng.standard_normal((20_000, looks[-1]))
    wrong = np.zeros(len(seeds), dtype=bool)
    for n, level in zip(looks, levels(looks, spending), strict=True):
        wrong |= np.abs(scipy.stats.ttest_1samp(seeds[:, :n], 0, axis=1).statistic) > critical(n, level)
    assert wrong.mean() == pytest.approx(0.05, abs=0.005)  # 3 se


def test_looking_at_95_percent_each_time_would_err_three_times_as_often():
    wrong = np.zeros(PATHS, dtype=bool)
    for n, t in zip(LOOKS, statistics(LOOKS), strict=True):
        wrong |= np.abs(t) > critical(n, 0.05)
    assert wrong.mean() == pytest.approx(0.167, abs=0.003)


def test_late_spending_errs_little_at_first():
    assert shares(LOOKS, "late") == pytest.approx([0.001125, 0.002, 0.004875, 0.01, 0.032])
    assert shares(LOOKS).sum() == shares(LOOKS, "late").sum() == pytest.approx(0.05)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-5, 5), min_size=5, max_size=5))
def test_a_plan_of_one_look_is_the_usual_rule(differences):
    plan = Plan((5,), claims=("x",))
    one, usual = (
        planned(plan, GAP, METRICS, cells(differences)),
        estimate(GAP.contrast, METRICS, cells(differences)),
    )
    assert (one.low, one.high, one.p) == pytest.approx((usual.low, usual.high, usual.p), nan_ok=True)


@pytest.mark.parametrize(
    ("looks", "says"),
    [((5, 3), "do not rise"), ((3, 3), "do not rise"), ((2, 5), "3 seeds or more"), ((), "3 seeds or more")],
)
def test_looks_that_fall_or_see_too_little_are_refused(looks, says):
    with pytest.raises(UsageError, match=says):
        checked(looks)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.2, 5), min_size=20, max_size=20), st.floats(-2, 2))
def test_a_claim_decided_at_a_look_keeps_its_verdict_whatever_follows(noise, shift):
    values = np.array(noise) - 2 + shift
    plan, previous = Plan(claims=("x",)), None
    for n in LOOKS:
        found = planned(plan, GAP, METRICS, cells(values[:n]))
        if previous is not None and verdict(previous) != "open":
            assert (found.low, found.high, found.p) == (previous.low, previous.high, previous.p)
        assert (found.p <= 0.05) == (verdict(found) != "open") or found.p == pytest.approx(0.05, abs=1e-4)
        previous = found


def test_a_look_is_taken_when_all_its_seeds_are_there():
    plan = Plan(claims=("x",), date="2026-01-02")
    early = planned(plan, GAP, METRICS, cells([1.0, 2.0]))
    assert early.reason == "look 1 of 5 waits for 3 seeds: a has no seed 2 yet"
    values = [1.0, -2.0, 3.0, 4.0]
    found = planned(plan, GAP, METRICS, cells(values))
    assert found.seeds == 3
    assert found.value == pytest.approx(2 / 3)
    assert found.looks == (
        "look 1 of 5, at 3 seeds, as declared on 2026-01-02; look 2 of 5 waits for 5 seeds: a has no seed 4 yet"
    )


def test_the_seed_that_tuned_is_not_judged():
    plan = Plan((3, 5), first=1, claims=("x",))
    spoilt = planned(plan, GAP, METRICS, cells([100.0, 1.0, 2.0, 3.0, 1.5, 2.5]))
    assert spoilt.seeds == 5
    assert spoilt.value == 2.0


def test_p_over_all_looks_is_uniform_under_the_null():
    """A false verdict at 5 % or at 1 %: as many as promised, in an independent simulation."""
    rng = np.random.default_rng(2)
    drawn = rng.standard_normal((20_000, 20))
    nominal = np.array([scipy.stats.ttest_1samp(drawn[:, :n], 0, axis=1).pvalue for n in LOOKS])
    p = sequential(nominal)
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.005)
    assert np.mean(p <= 0.01) == pytest.approx(0.01, abs=0.002)
    assert np.mean(p <= 0.5) == pytest.approx(0.5, abs=0.011)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=5))
def test_p_over_looks_never_rises_and_is_no_smaller_than_any_single_one(nominal):
    over = [sequential(nominal[: k + 1]) for k in range(len(nominal))]
    assert over == sorted(over, reverse=True)
    assert min(over) >= min(nominal) * 0.95


def test_seeds_and_items_are_judged_at_the_looks_nominal_level():
    values = [1.0, 1.2, 0.9, 1.1, 1.0]
    plan = Plan((3, 5), claims=("x",))
    level = levels((3, 5))[0]
    by_hand = scipy.stats.t.interval(1 - level, 2, np.mean(values[:3]), scipy.stats.sem(values[:3]))
    found = planned(plan, GAP, METRICS, cells(values))
    assert (found.low, found.high) == pytest.approx(by_hand)


# Looks that nobody declared


def test_the_e_process_errs_less_than_promised_up_to_forty_looks():
    wrong = np.zeros(PATHS, dtype=bool)
    for n, t in zip(range(3, 41), statistics(range(3, 41)), strict=True):
        wrong |= evidence(t, n) >= 20
    assert 0.02 < wrong.mean() < 0.03


def test_the_e_process_is_fair_under_the_null():
    """Its mean is one at any look: the bet neither wins nor loses."""
    (t,) = statistics((6,))
    assert evidence(t, 6).mean() == pytest.approx(1, abs=0.01)


@settings(deadline=None, max_examples=30)
@given(st.integers(5, 60))
def test_the_nominal_level_of_an_undeclared_look_is_where_the_e_process_reaches_twenty(seeds):
    assert evidence(critical(seeds, anytime(seeds)), seeds) == pytest.approx(20)


def test_below_five_seeds_the_e_process_decides_nothing():
    assert [anytime(n) for n in (3, 4)] == [0, 0]
    assert evidence(inf, 4) == pytest.approx(5**1.5)
    found = unplanned([(0, 1, 2)], GAP, METRICS, cells([1.0, -1.0, 1.0, 1.01]))
    assert verdict(found) == "open"
    assert "below five seeds" in found.reason


def test_two_deviations_are_found_after_seven_seeds_on_average():
    rng = np.random.default_rng(3)
    drawn = 2 + rng.standard_normal((2000, 40))
    after = np.full(2000, 40)
    for n in range(40, 2, -1):
        t = scipy.stats.ttest_1samp(drawn[:, :n], 0, axis=1).statistic
        after[evidence(t, n) >= 20] = n
    assert after.mean() == pytest.approx(6.9, abs=0.15)


def test_one_look_is_the_usual_rule_and_the_second_is_told():
    values = [1.0, -0.5, 0.6, 0.7, 0.8]
    once = unplanned([], GAP, METRICS, cells(values))
    assert once == estimate(GAP.contrast, METRICS, cells(values))
    again = unplanned([(0, 1, 2, 3, 4)], GAP, METRICS, cells(values))
    assert again == once  # the same seeds: no look
    twice = unplanned([(0, 1, 2)], GAP, METRICS, cells(values))
    assert twice.high - twice.low > once.high - once.low
    assert twice.looks.startswith("looked 2 times, at 3 and 5 seeds: judged by the rule for looks")
    assert "error up to 7 %" in twice.looks


def test_the_first_look_keeps_its_verdict():
    values = [1.0, 1.1, 0.9, -3.0, -3.0]
    found = unplanned([(0, 1, 2)], GAP, METRICS, cells(values))
    assert verdict(found) == "holds"
    assert found.seeds == 3
    assert "decided at the first" in found.looks


def test_first_look_and_e_process_together_err_at_most_seven_percent():
    rng = np.random.default_rng(4)
    drawn = rng.standard_normal((20_000, 20))
    wrong = np.abs(scipy.stats.ttest_1samp(drawn[:, :3], 0, axis=1).statistic) > critical(3, 0.05)
    for n in range(4, 21):
        t = scipy.stats.ttest_1samp(drawn[:, :n], 0, axis=1).statistic
        wrong |= evidence(t, n) >= 20
    assert wrong.mean() <= 0.07


# What is left


def test_a_difference_far_from_the_bound_is_sure_to_be_decided_and_none_at_the_bound_is():
    plan = Plan()
    assert chance(plan, 1, np.array([2.0, 2.2, 1.9]), 0.0) > 0.95
    assert chance(plan, 4, np.array([1.0, -1.0] * 6), 0.0) < 0.05
    assert chance(plan, 5, np.array([1.0, -1.0] * 10), 0.0) == 0.0


def test_items_that_are_too_few_leave_no_chance():
    plan = Plan()
    seeds = np.array([0.1, 0.11, 0.09])
    assert chance(plan, 1, seeds, 0.0) > 0.95
    assert chance(plan, 1, seeds, 0.0, items=0.2, number=400) < 0.05


# A results folder remembers


def sweep(results, seeds, **config):
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, 0.2, (20, 4))
    for seed in seeds:
        for name, growth in (("toy", 1.0), ("plain", 1.02)):
            row = {f"perplexity_{n}L": 20 * growth + drawn[seed, k] for k, n in enumerate((1, 2, 4, 8))}
            write_run(results, name, seed, row, **config)
    return list(find_runs(results))


def cards(results, seeds, write=True):
    memory = Memory(results)
    (card,) = judge("toy", PAPER, sweep(results, seeds), looks=memory)
    if write:
        memory.write()
    return card["claims"]


def test_report_remembers_its_looks_and_a_repeated_one_is_none(tmp_path):
    first = cards(tmp_path, range(3))
    assert all(claim["looks"] == "" for claim in first)
    assert cards(tmp_path, range(3)) == first
    log = (tmp_path / "looks.jsonl").read_text().splitlines()
    assert len(log) == 2  # the two claims that have paired seeds
    later = cards(tmp_path, range(6))
    assert later[1]["looks"].startswith("looked 2 times, at 3 and 6 seeds")
    assert cards(tmp_path, range(6)) == later
    assert len((tmp_path / "looks.jsonl").read_text().splitlines()) == 4


def test_a_look_at_smoke_runs_is_none(tmp_path):
    memory = Memory(tmp_path)
    judge("toy", PAPER, sweep(tmp_path, range(3), budget="smoke"), looks=memory)
    memory.write()
    assert not (tmp_path / "looks.jsonl").exists()


def test_a_folder_that_cannot_be_written_stays_as_it_is_and_is_judged_all_the_same(tmp_path, capsys):
    (tmp_path / "looks.jsonl").symlink_to(tmp_path / "nowhere" / "looks.jsonl")
    assert cards(tmp_path, range(3))[1]["low"] is not None
    assert "this look is not remembered" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


def declare(results, seeds, looks=(3, 5), **also):
    records = sweep(results, seeds)
    config = records[0].result.config
    declared = {"looks": list(looks), "spending": "even", "first_seed": 0, "date": "2026-01-02", **also}
    declared["claims"] = [claim.text for claim in PAPER.claims]
    path = plan_file(results, setting_of(config))
    path.parent.mkdir()
    path.write_text(json.dumps({**declared, "digest": signed(declared), "changed": []}))
    return path


def test_a_declared_plan_judges_its_setting_and_makes_no_look(tmp_path):
    declare(tmp_path, range(5))
    found = cards(tmp_path, range(7))
    assert found[1]["seeds"] == 5 or found[1]["verdict"] != "open"
    assert found[1]["looks"].endswith("as declared on 2026-01-02")
    assert not (tmp_path / "looks.jsonl").exists()


def test_a_plan_edited_by_hand_judges_nothing(tmp_path):
    path = declare(tmp_path, range(5))
    path.write_text(path.read_text().replace("[3, 5]", "[5]"))
    found = cards(tmp_path, range(5))
    assert "the plan's file is not as it was declared" in found[1]["looks"]
    assert "judged by the rule for looks" in found[1]["looks"]


def test_no_difference_worth_a_margin_ends_a_claim_at_the_looks_level():
    claim = replace(GAP, margin=1.0)
    values = [0.1, -0.1, 0.05, -0.05, 0.0]
    found = planned(Plan(claims=("x",)), claim, METRICS, cells(values))
    assert verdict(found) == "open"
    assert decided(found, claim, METRICS, cells(values[:3]))
    assert found.at == (0, 1, 2)  # decided, and so the last look
    wide = replace(GAP, margin=0.5)
    level = levels(LOOKS)[0]  # one-sided at half its share of both sides' level would be twice as strict
    half = scipy.stats.t.ppf(1 - level, 2) * scipy.stats.sem(values[:3])
    assert decided(found, wide, METRICS, cells(values[:3])) == (np.mean(values[:3]) + half < 0.5)


def test_places_after_a_declared_look_are_told_at_its_level(tmp_path):
    memory = Memory(tmp_path)
    config = declare(tmp_path, range(5)) and sweep(tmp_path, range(5))[0].result.config
    assert memory.level(config, 5) == 1 - levels((3, 5))[1]
    assert memory.level(config, 4) == 1 - levels((3, 5))[0]
    assert memory.level({**config, "budget": "smoke"}, 4) == 0.95


def test_places_after_an_undeclared_look_are_told_by_the_e_process(tmp_path):
    cards(tmp_path, range(3))
    config = sweep(tmp_path, range(6))[0].result.config
    assert Memory(tmp_path).level(config, 3) == 0.95
    assert Memory(tmp_path).level(config, 6) == 1 - anytime(6)
