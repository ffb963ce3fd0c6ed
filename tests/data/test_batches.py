"""Batches are windows of the text, the same for every method of a seed, and can be taken up anywhere."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.batches import Batches, Shuffled
from harness.errors import HarnessError

sizes = st.tuples(st.integers(2, 200), st.integers(1, 40), st.integers(1, 8), st.integers(0, 2**40)).filter(
    lambda s: s[0] > s[1]
)


@given(sizes)
@settings(deadline=None)
def test_every_row_is_a_window_and_labels_are_the_tokens_after_it(size):
    count, length, rows, seed = size
    batch = next(Batches(np.arange(count, dtype=np.uint16), length, rows, seed))
    assert batch["input_ids"].shape == batch["labels"].shape == (rows, length)
    assert batch["input_ids"].dtype == batch["labels"].dtype == torch.int64
    first = batch["input_ids"][:, :1]
    assert torch.equal(batch["input_ids"], first + torch.arange(length))
    assert torch.equal(batch["labels"], batch["input_ids"] + 1)
    assert int(batch["labels"].max()) < count


def test_every_window_can_be_drawn_the_last_one_too():
    drawn = {int(row[0]) for _ in range(50) for row in next(Batches(np.arange(12), 4, 500, _))["input_ids"]}
    assert drawn == set(range(8))


@given(sizes, st.integers(0, 5), st.integers(1, 3))
@settings(deadline=None)
def test_going_on_from_a_state_gives_the_batches_that_would_have_come(size, before, after):
    count, length, rows, seed = size
    tokens = np.arange(count)
    straight = Batches(tokens, length, rows, seed)
    for _ in range(before):
        next(straight)
    resumed = Batches(tokens, length, rows, seed)
    resumed.load_state_dict(straight.state_dict())
    for _ in range(after):
        assert torch.equal(next(straight)["input_ids"], next(resumed)["input_ids"])


def test_a_seed_decides_the_batches_and_no_other_random_number_does():
    def draw(seed):
        batches = Batches(np.arange(10_000), 8, 4, seed)
        return torch.stack([next(batches)["input_ids"] for _ in range(3)])

    one = draw(1)
    torch.rand(5)
    np.random.rand(5)
    assert torch.equal(one, draw(1))
    assert not torch.equal(one, draw(2))
    assert not torch.equal(one[0], one[1])


def test_a_text_that_just_fills_a_window_and_its_answer_is_enough():
    assert next(Batches(np.arange(9), 8, 2, 0))["labels"].tolist() == [list(range(1, 9))] * 2
    with pytest.raises(HarnessError, match=r"8 tokens, fewer than the 9 of one window"):
        Batches(np.arange(8), 8, 2, 0)


def test_tokens_may_be_read_lazily_from_disk(tmp_path):
    np.save(tmp_path / "t.npy", np.arange(100, dtype=np.uint16))
    lazy = Batches(np.load(tmp_path / "t.npy", mmap_mode="r"), 8, 4, 0)
    assert torch.equal(next(lazy)["labels"], next(Batches(np.arange(100), 8, 4, 0))["labels"])


@given(st.integers(2, 9), st.integers(1, 4), st.booleans())
def test_a_pass_over_rows_has_each_of_them_once_in_an_order_of_its_own(rows, size, whole):
    if whole and size > rows:
        return
    batches = Shuffled(range(rows), size, 3, whole=whole)
    a_pass = rows // size * size if whole else rows
    drawn = [row for batch, _ in zip(batches, range(2 * rows), strict=False) for row in batch]
    for first in range(0, len(drawn) - a_pass, a_pass):
        assert len(set(drawn[first : first + a_pass])) == a_pass
    orders = {tuple(drawn[first : first + rows]) for first in range(0, 6 * rows, rows)}
    assert whole or rows < 5 or len(orders) > 1


def test_rows_go_on_from_a_state_and_follow_from_the_seed_alone():
    batches, again = Shuffled(range(7), 3, (1, 0)), Shuffled(range(7), 3, (1, 0))
    for _ in range(4):
        next(batches)
    again.load_state_dict(batches.state_dict())
    assert [next(again) for _ in range(5)] == [next(batches) for _ in range(5)]
    assert batches.places(2) == Shuffled(range(7), 3, (1, 0)).places(2) != Shuffled(range(7), 3, 2).places(2)
