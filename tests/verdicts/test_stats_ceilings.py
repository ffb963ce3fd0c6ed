"""Near the ends of a range: exact counts, paired counts, and a scale that ends nowhere."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.papers.statement import Items, Metric, difference, level
from harness.verdicts.ceilings import clopper_pearson, clopper_pearson_p, scale, tango, tango_p
from harness.verdicts.places import places_of
from harness.verdicts.stats import Cell, Interval, estimate, seeds_interval, verdict

UP = {"accuracy": Metric("higher", "accuracy")}
GAP = difference("accuracy", "a", "b")


def answers(name: str, *runs: np.ndarray, fixed: bool = False) -> Cell:
    """A method's runs, each n answers that are right (1) or wrong (0)."""
    ids = [f"q{i}" for i in range(len(runs[0]))]
    items = {seed: Items({"right": run}, ids) for seed, run in enumerate(runs)}
    return Cell(name, "accuracy", {s: float(run.mean()) for s, run in enumerate(runs)}, lambda: items, fixed)


def right(count: int, n: int = 200) -> np.ndarray:
    return (np.arange(n) < count).astype(float)


# Counts


@pytest.mark.parametrize(("count", "n"), [(0, 20), (13, 50), (199, 200), (200, 200)])
def test_a_share_has_scipys_exact_interval(count, n):
    found = clopper_pearson(count, n, 0.05)
    exact = scipy.stats.binomtest(count, n).proportion_ci(method="exact")
    assert found == pytest.approx((exact.low, exact.high))


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 300), st.floats(0.01, 0.99))
def test_its_p_value_says_whether_the_bound_is_inside(n, count, by):
    count = min(count, n)
    low, high = clopper_pearson(count, n, 0.05)
    assume(min(abs(low - by), abs(high - by)) > 1e-9)
    assert (clopper_pearson_p(count, n, by) < 0.05) == (not low <= by <= high)


def likeliest(ahead: int, behind: int, n: int, by: float) -> float:
    """Return Tango's score by searching for the likeliest shares under the bound."""

    def unlikely(lost: float) -> float:
        won = lost + by
        terms = ((ahead, won), (behind, lost), (n - ahead - behind, 1 - won - lost))
        return -sum(count * np.log(share) for count, share in terms if count)

    low, high = max(0.0, -by), (1 - by) / 2
    found = scipy.optimize.minimize_scalar(
        unlikely, bounds=(low + 1e-12, high - 1e-12), method="bounded", options={"xatol": 1e-12}
    )
    lost = float(found.x)
    return (ahead - behind - n * by) / (n * (2 * lost + by - by**2)) ** 0.5


@pytest.mark.parametrize(
    ("ahead", "behind", "n"), [(12, 2, 100), (9, 1, 60), (40, 30, 300), (3, 5, 50), (150, 20, 200)]
)
def test_paired_shares_have_tangos_interval(ahead, behind, n):
    low, high = tango(ahead, behind, n, 0.05)
    assert likeliest(ahead, behind, n, low) == pytest.approx(1.959964, abs=1e-4)
    assert likeliest(ahead, behind, n, high) == pytest.approx(-1.959964, abs=1e-4)


def test_against_no_difference_tangos_test_is_mcnemars():
    # (ahead - behind)^2 / (ahead + behind) has one degree of freedom
    assert tango_p(12, 2, 100, 0.0) == pytest.approx(scipy.stats.chi2.sf(100 / 14, 1))


def test_pairs_that_never_differ_say_how_large_a_difference_can_be():
    z = scipy.stats.norm.ppf(0.975) ** 2
    assert tango(0, 0, 200, 0.05) == pytest.approx((-z / (200 + z), z / (200 + z)))


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 80), st.floats(-0.99, 0.99))
def test_the_paired_p_value_says_whether_the_bound_is_inside(ahead, behind, same, by):
    n = ahead + behind + same
    assume(n > 0)
    low, high = tango(ahead, behind, n, 0.05)
    assert -1 <= low <= (ahead - behind) / n <= high <= 1
    assume(min(abs(low - by), abs(high - by)) > 1e-6)
    assert (tango_p(ahead, behind, n, by) < 0.05) == (not low <= by <= high)


# Verdicts at the ceiling


def test_two_hundred_of_two_hundred_right_is_above_ninety_in_a_hundred():
    claim = level("accuracy", "a", at_least=0.9)
    found = estimate(claim, UP, [answers("a", right(200), fixed=True)])
    assert (found.low, found.high) == pytest.approx((0.9817, 1.0), abs=1e-4)
    assert verdict(found, 0.9) == "holds"
    seeded = estimate(claim, UP, [answers("a", *[right(200)] * 5)])
    assert (seeded.low, seeded.high, seeded.rule) == (found.low, found.high, "items")  # not 1,000 answers
    assert seeded.seeds == 5


def test_five_seeds_of_one_against_five_of_zero_are_decided():
    cells = [answers("a", *[right(200)] * 5), answers("b", *[right(0)] * 5)]
    found = estimate(GAP, UP, cells)
    assert verdict(found) == "holds"
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low > 0.95
    assert verdict(estimate(difference("accuracy", "b", "a"), UP, cells[::-1])) == "fails"


def test_equal_answers_are_no_difference_and_it_says_how_small():
    same = right(150)
    found = estimate(GAP, UP, [answers("a", same, fixed=True), answers("b", same, fixed=True)])
    assert verdict(found) == "open"
    assert -0.02 < found.low < 0 < found.high < 0.02


def test_fewer_wrong_answers_are_better_where_less_is_better():
    down = {"accuracy": Metric("lower", "errors")}
    few, many = right(10), right(60)
    found = estimate(GAP, down, [answers("a", few, fixed=True), answers("b", many, fixed=True)])
    assert found.value == pytest.approx(0.25)
    assert verdict(found) == "holds"


def test_points_out_of_a_hundred_are_counted_as_answers_are():
    percent = {"accuracy": Metric("higher", "", range=(0.0, 100.0))}
    found = estimate(
        level("accuracy", "a", at_least=90), percent, [answers("a", 100 * right(195), fixed=True)]
    )
    plain = estimate(level("accuracy", "a", at_least=0.9), UP, [answers("a", right(195), fixed=True)])
    assert (found.low, found.high, found.p) == pytest.approx((100 * plain.low, 100 * plain.high, plain.p))


# Seeds that agree to rounding


def rounding(runs: int) -> list[float]:
    """Numbers that would be equal but for the last bit."""
    return [0.1 + 0.2, 0.3, np.nextafter(0.3, 1.0), 0.1 + 0.2, 0.3][:runs]


def test_seeds_that_agree_to_rounding_are_judged_by_items_everywhere():
    """Else three equal seeds and a last bit would decide at any distance."""
    a, b = right(118, 400), right(116, 400)
    values = dict(enumerate(rounding(3)))
    ids = [str(i) for i in range(400)]
    cells = {
        m: Cell(m, "accuracy", own, lambda x=x: {s: Items({"x": x}, ids) for s in range(3)})
        for m, x, own in (("a", a, values), ("b", b, dict.fromkeys(range(3), 0.29)))
    }
    found = estimate(GAP, UP, list(cells.values()))
    assert found.rule == "items"
    assert verdict(found) == "open"
    assert places_of(UP["accuracy"], cells) == {"a": (1, 2), "b": (1, 2)}


def test_seeds_that_agree_to_rounding_without_items_are_open():
    found = estimate(
        GAP,
        UP,
        [
            Cell("a", "accuracy", dict(enumerate(rounding(3)))),
            Cell("b", "accuracy", {0: 0.1, 1: 0.1, 2: 0.1}),
        ],
    )
    assert "no spread to judge by" in found.reason


# A range


def test_the_scale_of_a_range_has_slope_one_at_the_estimate():
    to, back = scale(0.9, (0.0, 1.0))
    assert to(0.9) == pytest.approx(0.9)
    assert (to(0.9 + 1e-6) - to(0.9 - 1e-6)) / 2e-6 == pytest.approx(1, rel=1e-6)
    assert back(to(0.123)) == pytest.approx(0.123)
    assert (to(1.0), to(0.0)) == (inf, -inf)
    assert (back(1e6), back(-1e6)) == pytest.approx((1.0, 0.0))


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=3, max_size=6))
def test_no_interval_leaves_the_range_of_its_metric(counts):
    bounded = {"accuracy": Metric("higher", "", range=(0.0, 1.0))}
    values = [count / 50 for count in counts]
    one = Cell("a", "accuracy", dict(enumerate(values)))
    other = Cell("b", "accuracy", dict.fromkeys(range(len(values)), 0.0))

    def inside(found: Interval, low: float, high: float) -> bool:
        return not found.low < low and not found.high > high  # NaN where there is no interval

    assert inside(estimate(level("accuracy", "a", at_least=0.5), bounded, [one]), 0, 1)
    assert inside(estimate(GAP, bounded, [one, other]), -1, 1)
    assert inside(seeds_interval(values, limits=(0.0, 1.0)), 0, 1)


@settings(deadline=None)
@given(st.lists(st.integers(1, 99), min_size=3, max_size=6), st.floats(0.01, 0.99))
def test_on_that_scale_too_the_p_value_says_whether_the_bound_is_inside(counts, by):
    bounded = {"accuracy": Metric("higher", "", range=(0.0, 1.0))}
    assume(len(set(counts)) > 1)
    one = Cell("a", "accuracy", {seed: count / 100 for seed, count in enumerate(counts)})
    found = estimate(level("accuracy", "a", at_least=by), bounded, [one])
    assume(min(abs(found.low - by), abs(found.high - by)) > 1e-9)
    assert (found.p < 0.05) == (verdict(found, by) != "open")


def test_without_a_range_nothing_changes():
    values = [0.97, 0.98, 0.975]
    found = estimate(
        level("accuracy", "a", at_least=0.5), UP, [Cell("a", "accuracy", dict(enumerate(values)))]
    )
    t = scipy.stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((t.low, t.high))
