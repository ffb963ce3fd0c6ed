"""The paper's filters as presets, and the traps in them."""

from collections import Counter

import pytest
from harness_magpie import PRESETS, select

from harness.errors import UsageError


def row(number: int, answer: str = "x", **tags):
    """Return a row that every preset of the paper would keep."""
    best = {
        "quality": "excellent", "difficulty": "hard", "distance": 0.4, "reward": 1.0, "reward_difference": 1.0,
        "first": number, "valid": True,
    }  # fmt: skip
    return {"id": number, "instruction": f"Question {number}?", "answer": answer, **best, **tags}


def kept(rows, preset: str, **options) -> list[int]:
    return [r["id"] for r in select(rows, preset, **options)]


def test_distance_above_zero_removes_both_of_two_copies():
    rows = [row(0, distance=0.0), row(1, distance=0.0), row(2), row(3), row(4)]
    assert kept(rows, "pro5") == [2, 3, 4]


def test_first_of_group_keeps_one_of_them():
    rows = [row(0, distance=0.0), row(1, distance=0.0, first=0), row(2)]
    assert kept(rows, "valid") == [0, 2]


@pytest.mark.parametrize(
    ("preset", "tag", "passes", "fails"),
    [
        ("air", "quality", "good", "average"),
        ("air", "difficulty", "medium", "easy"),
        ("air", "reward_difference", 0.1, 0.0),
        ("pro", "quality", "average", "poor"),
        ("pro", "reward", -11.9, -12.0),
        ("pro2", "quality", "good", "average"),
        ("pro2", "difficulty", "easy", "very easy"),
        ("pro3", "reward", -11.0, -13.0),
        ("pro4", "reward_difference", 0.1, -0.1),
        ("pro5", "difficulty", "easy", "very easy"),
        ("qwen2", "reward", -9.0, -10.0),
    ],
)
def test_a_bound_is_where_table_5_puts_it(preset, tag, passes, fails):
    rows = [row(0, **{tag: passes}), row(1, **{tag: fails}), *(row(n, answer="") for n in range(2, 9))]
    found = kept(rows, preset, raw=100)
    assert 0 in found
    assert 1 not in found


def test_what_a_preset_does_not_ask_for_does_not_matter():
    rows = [row(0, quality="very poor", difficulty=None), row(1)]
    assert kept(rows, "pro3", raw=10) == [0, 1]
    assert kept(rows, "none") == [0, 1]


def test_the_longest_are_by_characters_after_all_rules_and_ties_fall_to_the_earlier():
    rows = [row(0, "aaa"), row(1, "aaaaa"), row(2, "a" * 99, reward=-20), row(3, "aaa"), row(4, "a")]
    assert kept(rows, "pro3", raw=7) == [0, 1]  # 0.3 of 7 is two: the fifth and the first of two threes


def test_the_share_is_of_the_raw_set():
    rows = [row(n) for n in range(30)]
    assert len(kept(rows, "pro", raw=100)) == 30
    assert len(kept(rows, "pro")) == 9
    assert len(kept(rows, "air", raw=100)) == 10


def test_filter_6_is_half_easy_and_half_harder():
    rows = [row(n, "a" * n, difficulty="easy" if n % 3 else "hard") for n in range(30)]
    found = select(rows, "pro6", raw=40)
    assert sorted(Counter(r["difficulty"] for r in found).values()) == [4, 4]


def test_the_later_notebook_drops_a_dangling_colon():
    assert kept([row(0, instruction="Fix this:"), row(1)], "qwen2", raw=10) == [1]


def test_a_null_tag_fails_its_rule_and_is_counted():
    dropped: Counter[str] = Counter()
    rows = [row(0, quality=None), row(1), row(2, reward=-50), row(3), row(4), row(5)]
    assert kept(rows, "pro2", raw=20, dropped=dropped) == [1, 3, 4, 5]
    assert dropped == {"quality": 1, "reward": 1, "not among the longest": 0}


def test_a_tag_that_no_row_has_is_named_with_the_mend():
    rows = [{k: v for k, v in row(0).items() if k != "quality"}]
    with pytest.raises(UsageError, match="'quality': name a judge"):
        select(rows, "pro")


@pytest.mark.parametrize("preset", PRESETS)
def test_before_and_after_together_are_the_whole_filter(preset):
    rows = [
        row(n, "a" * (n % 7), quality=("good", "poor", None)[n % 3], distance=float(n % 5),
            difficulty=("easy", "hard")[n % 2], reward=float(n % 4) - 13, reward_difference=float(n % 3 - 1),
            valid=n % 6 > 0, first=n if n % 8 else 0)
        for n in range(60)
    ]  # fmt: skip
    before = select(rows, preset, when="before")
    assert [r["id"] for r in select(before, preset, when="after", raw=60)] == kept(rows, preset)


def test_an_unknown_preset_is_named():
    with pytest.raises(UsageError, match="did you mean 'pro'"):
        select([], "pr")
