"""Models that end turns with words, think before they answer, tell the date, or go on asking: what is kept of it.

Weights are random, so what they "write" is laid down here token by token; the walk through the set is real.
"""

import functools
import json
from dataclasses import replace

import pytest
import torch
from harness_magpie.generator import Generator, answers, as_row, load_generator
from harness_magpie.sampling import Sampling, continue_rows
from harness_magpie.synthesis import synthesize
from harness_magpie.tagging import Tools
from magpie_models import byte_tokenizer, recipe, tiny_generator

from harness.errors import UsageError
from harness.nn.turns import ends_of

IM = ("</s>", "<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_3 = CHATML.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}",
)
R_1 = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
ALPACA = (
    "{% for m in messages %}{{ '### 명령어:\n' if m['role'] == 'user' else '### 응답:\n' }}{{ m['content'] }}\n\n"
    "{% endfor %}{% if add_generation_prompt %}### 응답:\n{% endif %}"
)


class Parrot(torch.nn.Module):
    """A model that writes given tokens behind each prompt, whatever the prompt is."""

    def __init__(self, tokens, size):
        super().__init__()
        self.tokens, self.size, self.device = tokens, size, torch.device("cpu")

    def forward(self, input_ids, past_key_values=None, **_):
        cache = past_key_values or Count()
        if input_ids.shape[1] == 1 and cache.read:
            cache.written += 1
        cache.read = True
        logits = torch.full((len(input_ids), input_ids.shape[1], self.size), -100.0)
        logits[..., self.tokens[min(cache.written, len(self.tokens) - 1)]] = 100.0
        return type("Out", (), {"logits": logits, "past_key_values": cache})()


class Count:
    """A cache that knows how many tokens were written; prompts here share all but their last token."""

    def __init__(self):
        self.read, self.written = False, -1

    def batch_select_indices(self, rows):
        pass


def writer(text, template, special=IM, arguments=None) -> Generator:
    tokenizer = byte_tokenizer(special, None, "</s>")
    tokenizer.chat_template = template
    ends = ends_of(tokenizer, None, arguments or {})
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    model = Parrot(tokens, len(tokenizer))
    return Generator(
        model, tokenizer, set(ends.ids), list(ends.words), set(), set(ends.thoughts), arguments or {}
    )


def answered(text, template, special=IM, arguments=None, most=200):
    generator = writer(text, template, special, arguments)
    (rows,) = answers(generator, ["Why?"], most, batch_size=4)
    return rows[0]


@pytest.mark.parametrize("special", [IM, (*IM, "<think>", "</think>")])
def test_thoughts_of_both_forms_are_apart_from_the_answer(special):
    qwen = answered("<think>\nlet me see\n</think>\n\nIt is 4.<|im_end|>", QWEN_3, special)
    r1 = answered("let me see\n</think>\n\nIt is 4.<|im_end|>", R_1, special)
    for row in (qwen, r1):
        assert (row["answer"], row["reasoning_content"], row["finished"]) == ("It is 4.", "let me see", True)
        assert "unfinished_thought" not in row
    off = answered("It is 4.<|im_end|>", QWEN_3, special, {"enable_thinking": False})
    assert off == {"answer": "It is 4.", "finished": True, "answer_tokens": 8}


@pytest.mark.parametrize("special", [IM, (*IM, "<think>", "</think>")])
def test_a_thought_that_was_cut_is_no_answer_and_is_said(special):
    for text, template in (("<think>\nlet me see and see", QWEN_3), ("let me see and see", R_1)):
        row = answered(text, template, special, most=12)
        assert (row["answer"], row["finished"], row["unfinished_thought"]) == ("", False, True)
        assert row["reasoning_content"]


def test_no_user_writes_a_thought():
    generator = writer("Why?<think>\nwell", QWEN_3, (*IM, "<think>", "</think>"))
    ends = generator.ends | generator.thoughts
    found = continue_rows(generator.model, [[1, 2]], [0], Sampling(0.0, 1.0, 50), ends)[0]
    assert as_row(generator, 0, found, "whole")["instruction"] == "Why?"


@pytest.mark.parametrize(
    ("template", "written", "instruction"),
    [
        (ALPACA, "서울의 인구는?\n\n### 응답:\n약 940만 명입니다.", "서울의 인구는?"),
        (
            "{% for m in messages %}{{ 'USER: ' if m['role'] == 'user' else 'ASSISTANT: ' }}{{ m['content'] }} "
            "{% endfor %}"
            "{% if add_generation_prompt %}ASSISTANT:{% endif %}",
            "What is the capital of France? ASSISTANT: The capital of France is Paris.",
            "What is the capital of France?",
        ),
        (
            "{% for m in messages %}{{ 'User: ' if m['role'] == 'user' else 'Assistant: ' }}{{ m['content'] }}\n\n"
            "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}",
            "Name a bird.\n\nAssistant: A crow.",
            "Name a bird.",
        ),
    ],
)
def test_words_that_end_a_turn_stop_the_model_and_are_cut(template, written, instruction):
    generator = writer(written + "</s>", template)
    found = continue_rows(
        generator.model, [[1, 2]], [0], Sampling(0.0, 1.0, 400), generator.ends, over=generator.over
    )[0]
    assert found.ended
    assert len(found.tokens) < len(generator.tokenizer(written)["input_ids"])  # stopped, and not cut later
    row = as_row(generator, 0, found, "whole")
    assert (row["instruction"], row["ended"]) == (instruction, True)
    assert row["cut"] in ("stop text", "role line")


def test_an_answer_ends_where_the_next_question_would_begin():
    row = answered("약 940만 명입니다.\n\n### 명령어:\n부산은?</s>", ALPACA)
    assert (row["answer"], row["finished"]) == ("약 940만 명입니다.", True)


small_recipe = functools.partial(recipe, count=24, preset="none")


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return tiny_generator(tmp_path_factory.mktemp("tiny"))


def test_a_dated_template_is_rendered_once_for_a_set(generator, tmp_path):
    import copy

    tokenizer = copy.copy(generator.tokenizer)
    tokenizer.chat_template = tokenizer.chat_template.replace("be kind", "be {{ strftime_now('%S%f') }}")
    clocked = replace(generator, tokenizer=tokenizer)
    first = synthesize(small_recipe(), clocked, Tools(), tmp_path / "set")
    kept = json.loads((tmp_path / "set" / "stages" / "template.json").read_text())
    again = synthesize(small_recipe(), clocked, Tools(), tmp_path / "set")
    assert again.template == first.template
    assert kept["moment"][17:19] + "000000" in kept["template"]  # the second at which it was begun
    tokenizer.chat_template = tokenizer.chat_template.replace("be ", "stay ")
    with pytest.raises(UsageError, match="was begun with the template"):
        synthesize(small_recipe(), clocked, Tools(), tmp_path / "set")


def test_a_set_from_before_a_setting_was_there_is_gone_on_with(generator, tmp_path):
    whole = synthesize(small_recipe(), generator, Tools(), tmp_path).rows
    path = tmp_path / "stages" / "recipe.json"
    told = json.loads(path.read_text())
    for name in ("turns", "language", "template_args"):
        del told[name]
    path.write_text(json.dumps(told))
    (tmp_path / "stages" / "template.json").unlink()
    assert synthesize(small_recipe(), generator, Tools(), tmp_path).rows == whole


def test_a_language_is_kept_and_the_others_are_counted(generator, tmp_path):
    tools = Tools(languages=lambda texts: ["ko" if "rain" in text else "en" for text in texts])
    made = synthesize(small_recipe(language="ko"), generator, tools, tmp_path)
    assert made.languages["ko"] == made.yields["filtered before answering"] > 0
    assert made.dropped["language"] == made.languages["en"] > 0
    assert all(row["language"] == "ko" for row in made.rows)


def test_conversations_go_on_and_their_first_turns_are_those_of_one_turn(generator, tmp_path):
    from datasets import load_dataset
    from harness_magpie.export import export

    one = synthesize(small_recipe(), generator, Tools(), tmp_path / "one").rows
    made = synthesize(small_recipe(turns=3), generator, Tools(), tmp_path / "three")
    assert [row["messages"][:2] for row in made.rows] == [row["messages"] for row in one]
    lengths = {len(row["messages"]) for row in made.rows}
    assert lengths <= {2, 4, 6}
    assert max(lengths) > 2
    for row in made.rows:
        assert [m["role"] for m in row["messages"]] == ["user", "assistant"] * (len(row["messages"]) // 2)
        assert all(m["content"] for m in row["messages"])
    (tmp_path / "three" / "stages" / "answers-2.jsonl").write_text("")  # as a kill may leave it
    assert synthesize(small_recipe(turns=3), generator, Tools(), tmp_path / "three").rows == made.rows
    made.rows[0]["messages"][1]["reasoning_content"] = "hm"
    export(small_recipe(turns=3), made, tmp_path / "three")
    told = load_dataset(str(tmp_path / "three"), split="train", cache_dir=str(tmp_path / "cache"))
    assert told[0]["messages"][1]["reasoning_content"] == "hm"


def test_sizes_that_leave_nothing_are_refused():
    for name, changes in {
        "--turns 0": {"turns": 0},
        "--batch-size -1": {"batch_size": -1},
        "--max-answer-tokens 0": {"answer_tokens": 0},
        "--max-instruction-tokens 0": {"sampling": Sampling(1.0, 1.0, 0)},
    }.items():
        with pytest.raises(UsageError, match=name):
            small_recipe(**changes)


def test_a_real_folder_of_a_thinking_model_is_loaded_with_its_arguments(tmp_path):
    from harness_magpie.preparation import tiny_chat_model
    from transformers import AutoTokenizer

    tiny_chat_model(tmp_path)
    made = AutoTokenizer.from_pretrained(tmp_path)
    made.chat_template = made.chat_template.replace("be kind", "be {{ 'kind' if kindly else 'series' }}")
    made.save_pretrained(tmp_path)
    generator = load_generator(tmp_path, "float32", "cpu", {"kindly": False})
    found = synthesize(small_recipe(template_args={"kindly": False}), generator, Tools(), tmp_path / "set")
    assert "be series" in found.template
    with pytest.raises(UsageError, match="reads no 'kindl'"):
        load_generator(tmp_path, "float32", "cpu", {"kindl": False})
