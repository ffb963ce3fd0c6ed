"""The paper's metrics by their definitions, and the edit distance."""

import pytest
from harness_score import two_turn_metrics
from harness_score.corrections import edit_ratio, mcnemar
from hypothesis import given, settings
from hypothesis import strategies as st


def test_shares_are_of_all_problems():
    found = two_turn_metrics([1, 1, 0, 0, 0], [1, 0, 1, 1, 0])
    assert found == {
        "accuracy_t1": pytest.approx(0.4),
        "accuracy_t2": pytest.approx(0.6),
        "delta": pytest.approx(0.2),
        "wrong_to_right": pytest.approx(0.4),  # and not 2 of the 3 wrong ones
        "right_to_wrong": pytest.approx(0.2),
    }


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_delta_is_what_was_gained_less_what_was_lost(pairs):
    first, second = ([int(pair[turn]) for pair in pairs] for turn in (0, 1))
    found = two_turn_metrics(first, second)
    assert found["delta"] == found["wrong_to_right"] - found["right_to_wrong"]
    assert found["delta"] == pytest.approx(found["accuracy_t2"] - found["accuracy_t1"])


@pytest.mark.parametrize("turns", [([], []), ([1], [1, 0]), ([2], [1])])
def test_anything_but_a_right_or_wrong_for_each_problem_is_refused(turns):
    with pytest.raises(ValueError):
        two_turn_metrics(*turns)


def test_mcnemar_looks_at_the_changed_problems_alone():
    changed = [0] * 29 + [1] * 7, [1] * 29 + [0] * 7  # the paper's 5.8 % against 1.4 % of 500
    same = [0] * 200 + [1] * 264
    p = mcnemar(changed[0] + same, changed[1] + same)
    assert p == mcnemar(*changed)
    assert p < 0.001
    assert mcnemar([0] * 27 + [1] * 18, [1] * 27 + [0] * 18) > 0.05
    assert mcnemar([1, 0], [1, 0]) == 1.0


def test_the_edit_ratio_is_the_distance_over_both_lengths():
    assert edit_ratio("12345", "12345") == 0
    assert edit_ratio("12345", "12395") == 0.1
    assert edit_ratio("kitten", "sitting") == 3 / 13
    assert edit_ratio("", "abc") == 1
    assert edit_ratio("", "") == 0


@settings(max_examples=50, deadline=None)
@given(*[st.text("ab", max_size=6)] * 3)
def test_the_edit_distance_is_a_distance(one, two, three):
    def distance(a, b):
        return edit_ratio(a, b) * (len(a) + len(b))

    assert distance(one, two) == pytest.approx(distance(two, one))
    assert (distance(one, two) == 0) == (one == two)
    assert distance(one, three) <= distance(one, two) + distance(two, three) + 1e-9
