"""Several data sets: closed formulas, another library's interval, and what is promised in 95 of 100."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.errors import HarnessError
from harness.verdicts.over import beside, pooled, synthesis
from tests.verdicts.over.coverage import made, ours

FEW = st.lists(st.floats(-100, 100), min_size=3, max_size=8)


def test_three_sets_by_hand():
    """1, 2 and 3 with errors of .5: s² = 1, so T = 1, between √.75, t(2) = 4.303."""
    found = pooled([1.0, 2.0, 3.0], [0.5, 0.5, 0.5])
    t = 4.302653
    assert found.value == 2
    assert (found.between, found.within) == pytest.approx((sqrt(0.75), 0.5))
    assert (found.low, found.high) == pytest.approx((2 - t / sqrt(3), 2 + t / sqrt(3)), abs=1e-5)
    assert (found.next_low, found.next_high) == pytest.approx(
        (2 - t * sqrt(4 / 3), 2 + t * sqrt(4 / 3)), abs=1e-5
    )
    assert found.p == pytest.approx(stats.ttest_1samp([1, 2, 3], 0).pvalue)


def test_sets_that_agree_by_chance_are_no_surer_than_their_errors():
    found = pooled([1.0, 1.0, 1.0], [0.5, 0.5, 0.5])
    assert found.between == 0
    assert found.high - found.value == pytest.approx(4.302653 * 0.5 / sqrt(3), abs=1e-5)


def test_counts_without_error_that_agree_leave_no_doubt():
    found = pooled([2.0, 2.0, 2.0], [0.0, 0.0, 0.0], by=1.0)
    assert (found.low, found.high, found.p) == (2, 2, 0)


@given(st.data())
@settings(deadline=None)
def test_where_errors_are_alike_it_is_hartungs_and_knapps_interval(data):
    effects = pytest.importorskip("statsmodels.stats.meta_analysis", reason="statsmodels is not installed")
    values = np.array(data.draw(FEW))
    spread = values.var(ddof=1)
    if spread < 1e-6:
        return
    error = sqrt(spread * data.draw(st.floats(0.01, 0.99)))
    other = effects.combine_effects(values, np.full(len(values), error**2), method_re="iterated", use_t=True)
    found = pooled(values, [error] * len(values))
    low, high = other.conf_int()[3]  # random effects, the scale estimated: HKSJ
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-3, abs=1e-3 * sqrt(spread))


@given(FEW, st.floats(0.1, 10), st.floats(-5, 5))
def test_units_and_zero_do_not_matter(values, unit, zero):
    one = pooled(values, [1.0] * len(values))
    other = pooled([unit * value + zero for value in values], [unit] * len(values), by=zero)
    assert other.next_high == pytest.approx(unit * one.next_high + zero, abs=1e-6)
    assert other.p == pytest.approx(one.p, abs=1e-9)


@given(FEW, st.floats(0, 10))
def test_ones_own_set_has_no_less_room_than_the_next(values, error):
    found = pooled(values, [1.0] * len(values))
    low, high = beside(found, error)
    assert low <= found.next_low + 1e-9
    assert high >= found.next_high - 1e-9
    assert (error > 1) == (high - low > found.next_high - found.next_low + 1e-9)


@pytest.mark.parametrize("sets", [0, 1, 2])
def test_fewer_than_three_are_not_pooled(sets):
    with pytest.raises(HarnessError, match=f"{sets} data sets are not pooled: give 3 or more"):
        pooled([1.0] * sets, [1.0] * sets)


def test_what_is_not_finite_is_refused():
    with pytest.raises(HarnessError, match="not finite"):
        pooled([1.0, 2.0, float("nan")], [1.0, 1.0, 1.0])


@pytest.mark.parametrize("k", [3, 4, 5, 6])
@pytest.mark.parametrize(("between", "seeds"), [(0.0, 3), (3.0, 3), (3.0, 0)])
def test_intervals_hold_what_they_promise(k, between, seeds):
    for held in ours(*made(k, between, seeds, uneven=True, draws=2000)):
        assert held > 0.95 - 3 * sqrt(0.05 * 0.95 / 2000)


def test_a_degree_of_freedom_more_would_break_the_promise(monkeypatch):
    """The mutant: k degrees of freedom in place of k - 1."""
    sets = made(3, 3.0, 0, uneven=False, draws=2000)
    honest = ours(*sets)
    right = synthesis._t
    monkeypatch.setattr(synthesis, "_t", lambda k, level: right(k + 1, level))
    mutant = ours(*sets)
    assert min(honest) > 0.94
    assert max(mutant) < 0.94
