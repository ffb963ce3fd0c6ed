"""Instruction pairs as tokens: the instruction is given, the response is the target, to its end token."""

import pytest

from harness.data.pairs import Pair, padded, pairs, prompt_ids, prompt_of
from harness.data.sources import Document
from harness.data.tokens import character_tokenizer
from harness.errors import UsageError

ROWS = [
    {"instruction": "say a", "response": "aa"},
    {"instruction": "say b", "input": "twice", "response": " bb \n"},
    {"instruction": "say", "response": "a" * 40},
]
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}"
)


@pytest.fixture
def tokenizer():
    return character_tokenizer([Document("all", "say abtwice\n<>ur")])


def test_the_given_part_is_the_prompt_and_the_rest_the_response_with_its_end(tokenizer):
    for row, pair in zip(ROWS, pairs(ROWS[:2], tokenizer, 30), strict=False):
        assert tokenizer.decode(pair.ids[: pair.given]) == prompt_of(row, tokenizer)
        assert pair.ids[: pair.given] == prompt_ids(row, tokenizer)
        assert tokenizer.decode(pair.ids[pair.given : -1]) == row["response"].strip()
        assert pair.ids[-1] == tokenizer.eos_token_id


def test_an_input_is_part_of_the_instruction(tokenizer):
    assert prompt_of(ROWS[1], tokenizer) == "say b\ntwice\n"
    assert prompt_of({"instruction": "say", "input": None}, tokenizer) == "say\n"


def test_a_chat_template_puts_the_instruction(tokenizer):
    tokenizer.chat_template = TEMPLATE
    assert prompt_of(ROWS[0], tokenizer) == "<user>say a>"


def test_rows_that_are_too_long_are_left_out_and_none_left_is_an_error(tokenizer):
    assert len(pairs(ROWS, tokenizer, 30)) == 2
    with pytest.raises(UsageError, match=r"the shortest has 9\): raise task.length"):
        pairs(ROWS, tokenizer, 8)


def test_labels_are_the_tokens_that_follow_and_only_of_responses():
    batch = padded([Pair([5, 6, 7, 8], 2), Pair([1, 2], 1)])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [1, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 7, 8], [2, -100, -100]]


def test_a_pair_with_nothing_given_learns_from_its_second_token_on():
    assert padded([Pair([3, 4, 5], 0)])["labels"].tolist() == [[4, 5]]
