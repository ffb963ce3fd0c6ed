"""What must hold of the sampler whatever it draws from, and that the plugin keeps the contract."""

import pytest
import torch
from harness_min_p.problems import steps, sums
from harness_min_p.sampling import min_p
from hypothesis import given, settings
from hypothesis import strategies as st

ROWS = st.lists(st.floats(-20, 20), min_size=2, max_size=9)


def kept(scores: list[float], base: float) -> list[bool]:
    return min_p(torch.tensor([scores]), base).isfinite()[0].tolist()


def test_what_is_kept_can_be_checked_by_hand():
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().tolist()
    assert kept(scores, 0.09) == [True, True, True, True]
    assert kept(scores, 0.2) == [True, True, True, False]
    assert kept(scores, 0.5) == [True, True, False, False]
    assert kept(scores, 1.0) == [True, False, False, False]


@settings(max_examples=60, deadline=None)
@given(ROWS, st.floats(0.01, 0.99))
def test_it_is_transformers_own(scores, base):
    from transformers import MinPLogitsWarper

    given = torch.tensor([scores])
    assert torch.equal(min_p(given, base), MinPLogitsWarper(base)(None, given.clone()))


@settings(max_examples=60, deadline=None)
@given(ROWS, st.floats(0, 1), st.floats(-5, 5))
def test_the_most_probable_is_always_kept_and_a_shift_changes_nothing(scores, base, shift):
    assert kept(scores, base)[scores.index(max(scores))]
    near = [abs(s - max(scores)) for s in scores]
    if base == 0 or all(abs(gap + torch.tensor(base).log().item()) > 1e-3 for gap in near):
        assert kept(scores, base) == kept([s + shift for s in scores], base)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.floats(0.02, 0.9))
def test_it_keeps_more_where_the_model_is_less_sure(scores, base):
    hot = [score / 2 for score in scores]  # twice the temperature
    assert sum(kept(hot, base)) >= sum(kept(scores, base))


def test_without_a_base_nothing_is_dropped():
    assert all(kept([0.0, -50.0, 3.0], 0.0))


def test_calculations_are_found_as_gsm8k_writes_them():
    rows = [
        {"answer": "She sold 48/2 = <<48/2=24>>24 clips.\nAnd <<48+24=72>>72.\n#### 72"},
        {"answer": "Both: <<48 / 2 = 24>>24"},  # the same again
        {"answer": "It costs $<<80000+50000=130000>>130000"},  # too long a result
        {"answer": "No calculation at all.\n#### 3"},
    ]
    assert steps(rows) == [("48/2", "24")]
    assert len(sums()) == 1600 == len(set(sums()))


@pytest.mark.slow
def test_it_keeps_the_contract(contract):
    contract("min_p")
