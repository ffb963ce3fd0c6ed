"""A campaign: one error rate for all its proposals, whatever was kept before."""

import numpy as np
import pytest

from harness.errors import UsageError
from harness.verdicts.looks import LOOKS, levels
from harness.verdicts.looks.campaign import ALPHA, after, level, portions


def test_a_campaign_that_keeps_nothing_spends_half_its_error_and_a_family_all_of_it():
    handed = [level([False] * i, proposals=50) for i in range(50)]
    assert sum(handed) == pytest.approx(ALPHA / 2)
    assert handed == sorted(handed, reverse=True)
    assert sum(level([False] * i, mode="family", proposals=50) for i in range(50)) == pytest.approx(ALPHA)


def test_levels_are_those_of_lord():
    """By hand, from Ramdas et al. 2017: W0 g(t) + (alpha - W0) g(t - first) + alpha g(t - each later one)."""
    g = portions(200)
    kept = [False, True, False, True, False]
    by_hand = 0.025 * g[5] + 0.025 * g[3] + 0.05 * g[1]
    assert level(kept) == pytest.approx(by_hand)
    assert level([False] * 5) == pytest.approx(0.025 * g[5])
    assert level(kept, mode="family") == pytest.approx(0.05 / 200)


def test_levels_of_many_campaigns_are_those_of_each():
    kept = np.random.default_rng(0).random((30, 12)) < 0.2
    assert level(kept) == pytest.approx([level(row) for row in kept])


def test_what_is_kept_never_lowers_the_next_level():
    kept = np.random.default_rng(1).random((30, 12)) < 0.2
    assert (level(np.hstack([kept[:, :-1], np.ones((30, 1), bool)])) >= level(kept) - 1e-15).all()


def test_a_full_campaign_is_refused():
    with pytest.raises(UsageError, match="opened for 3 proposals"):
        level([False] * 3, proposals=3)


def test_a_proposal_of_the_whole_error_is_kept_where_its_look_decides():
    """At 5 % one-sided a single proposal is judged by about the looks' own levels, doubled for one side."""
    for look, share in enumerate(levels(LOOKS)):
        p = np.array([0.9] * look + [share * 0.8])
        found, kept, _ = after(p, 5.0, 0.05, LOOKS)
        assert kept
        assert found <= 0.05


def test_the_hopeless_end_early_and_the_last_look_leaves_nobody():
    p = np.array([0.2])
    assert after(p, 0.89, 0.01, LOOKS)[2]
    assert not after(p, 0.91, 0.01, LOOKS)[2]
    assert after(np.array([0.2] * 4), 2.39, 0.01, LOOKS)[2]
    assert not after(np.array([0.2] * 4), 2.41, 0.001, LOOKS)[2]
    assert after(np.array([0.2] * 5), 2.9, 1e-5, LOOKS)[2]
