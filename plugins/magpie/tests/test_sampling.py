"""Generation: the shared beginning is read once, ended rows leave, and neither changes what is written."""

import numpy as np
import pytest
import torch
from harness_magpie.sampling import (
    Sampling,
    breaking_tokens,
    common,
    continue_rows,
    in_batches,
    prefill,
)
from magpie_models import tiny_generator, tokenizer

from harness.errors import UsageError

PROMPTS = [[4, 6, 7, 1, 2], [4, 6, 7, 1, 2, 10, 11], [4, 6, 9], [4, 6, 7, 1, 2]]
GREEDY = Sampling(temperature=0.0, max_tokens=12)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return tiny_generator(tmp_path_factory.mktemp("tiny"))


def alone(model, prompt, ends, tokens=12):
    """Return the oracle: transformers' own greedy generation of one row."""
    made = model.generate(
        torch.tensor([prompt]),
        max_new_tokens=tokens,
        do_sample=False,
        eos_token_id=sorted(ends),
        pad_token_id=0,
    )[0].tolist()[len(prompt) :]
    return made[: next((i for i, t in enumerate(made) if t in ends), len(made))]


def test_greedy_rows_are_those_of_transformers_one_by_one(generator):
    found = continue_rows(generator.model, PROMPTS, range(4), GREEDY, generator.ends)
    for row, prompt in zip(found, PROMPTS, strict=True):
        assert row.tokens == alone(generator.model, prompt, generator.ends)
        assert row.ended == (len(row.tokens) < 12)


def test_a_row_does_not_depend_on_the_others_of_its_batch(generator):
    sampling = Sampling(1.0, 0.9, 12, seed=5)
    together = continue_rows(generator.model, PROMPTS, range(4), sampling, generator.ends)
    apart = [
        continue_rows(generator.model, [prompt], [i], sampling, generator.ends)[0]
        for i, prompt in enumerate(PROMPTS)
    ]
    assert together == apart
    assert together[0] != together[3]  # equal prompts, draws of their own


def test_the_same_seed_gives_the_same_set_and_another_does_not(generator):
    def made(seed):
        rows = in_batches(
            generator.model, [PROMPTS[0]] * 12, Sampling(1.0, 1.0, 12, seed), generator.ends, batch_size=5
        )
        return [row for batch in rows for row in batch]

    assert made(0) == made(0)
    assert made(0) != made(1)


def test_going_on_from_a_batch_gives_the_rows_of_an_unbroken_walk(generator):
    def made(start):
        batches = in_batches(
            generator.model,
            [PROMPTS[0]] * 12,
            Sampling(1.0, 1.0, 12, 3),
            generator.ends,
            batch_size=5,
            start=start,
        )
        return [row for batch in batches for row in batch]

    assert made(5) == made(0)[5:]


def test_the_shared_beginning_is_read_once(generator, monkeypatch):
    read = []
    forward = type(generator.model).forward

    def count(self, input_ids=None, **more):
        read.append(tuple(input_ids.shape))
        return forward(self, input_ids=input_ids, **more)

    monkeypatch.setattr(type(generator.model), "forward", count)
    prefill(generator.model, [PROMPTS[0]] * 50)
    assert read == [(1, 4), (1, 1)]  # and the last token, for the next one's logits


def test_ended_rows_leave_the_batch(generator, monkeypatch):
    sizes = []
    forward = type(generator.model).forward

    def count(self, input_ids=None, **more):
        sizes.append(len(input_ids))
        return forward(self, input_ids=input_ids, **more)

    monkeypatch.setattr(type(generator.model), "forward", count)
    rows = continue_rows(
        generator.model, [PROMPTS[0]] * 30, range(30), Sampling(1.0, 1.0, 20, 0), generator.ends
    )
    steps = sizes[2:]
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] < 30
    # A step reads a token of exactly the rows that go on after it.
    assert sum(steps) == sum(min(len(row.tokens), 19) for row in rows)


def test_an_end_is_not_kept_and_a_break_is(generator):
    first = continue_rows(generator.model, [PROMPTS[1]], [0], GREEDY, generator.ends)[0].tokens
    assert len(first) > 2
    broken = continue_rows(generator.model, [PROMPTS[1]], [0], GREEDY, generator.ends, {first[1]})[0]
    assert (broken.tokens, broken.ended) == (first[: first.index(first[1]) + 1], True)
    ended = continue_rows(generator.model, [PROMPTS[1]], [0], GREEDY, generator.ends | {first[1]})[0]
    assert (ended.tokens, ended.ended) == (first[: first.index(first[1])], True)


def test_a_model_that_never_stops_is_cut_at_the_limit(generator):
    row = continue_rows(generator.model, [PROMPTS[0]], [0], Sampling(1.0, 1.0, 7), ends=())[0]
    assert (len(row.tokens), row.ended) == (7, False)


def test_an_empty_prompt_is_refused():
    with pytest.raises(UsageError, match="without tokens"):
        continue_rows(None, [[]], [0], GREEDY, ())
    assert continue_rows(None, [], [], GREEDY, ()) == []


def test_no_token_is_left_out_by_top_k(generator):
    rows = continue_rows(generator.model, [PROMPTS[0]] * 400, range(400), Sampling(5.0, 1.0, 1), ends=())
    assert (
        len({row.tokens[0] for row in rows}) > 40
    )  # of 48; many generation configs would leave 50 of 50,000


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [([[1, 2, 3]], 2), ([[1, 2, 3], [1, 2, 4]], 2), ([[1, 2], [1, 2, 3]], 1), ([[1], [2]], 0)],
)
def test_what_prompts_share_leaves_each_a_token_of_its_own(prompts, shared):
    assert common(prompts) == shared


def test_line_breaks_are_found_in_the_vocabulary():
    made = tokenizer("SmolLM2")
    found = breaking_tokens(made)
    assert made("\n")["input_ids"][0] in found
    assert made("n")["input_ids"][0] not in found


def test_draws_of_a_row_follow_from_seed_and_number_alone():
    one, other = (np.random.default_rng([4, n]).random(3) for n in (0, 1))
    assert not np.array_equal(one, other)
