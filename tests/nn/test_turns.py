"""Where a turn ends: by the template itself, for every way that templates mark turns, and no later than that."""

import json
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast

from harness.nn.turns import (
    THOUGHTS,
    Said,
    answer_end,
    apart,
    dated,
    end_tokens,
    ending,
    ends_of,
    render,
    word_end,
)


def marked(user: str, assistant: str, close: str = "", between: str = "\n\n") -> str:
    """Return a template of headers before each turn, `between` turns and with `close` behind an answer."""
    return (
        "{% for m in messages %}{% if not loop.first %}BETWEEN{% endif %}"
        "{{ USER if m['role'] == 'user' else ASSISTANT }}{{ m['content'] }}"
        "{{ CLOSE if m['role'] == 'assistant' else '' }}{% endfor %}"
        "{% if add_generation_prompt %}BETWEEN{{ ASSISTANT }}{% endif %}"
    ).replace("BETWEEN", "{{ " + repr(between) + " }}").replace("USER", repr(user)).replace(
        "ASSISTANT", repr(assistant)
    ).replace("CLOSE", repr(close))  # fmt: skip


WORDS = {  # family: (template, the words that end a question, and those that end an answer)
    "Vicuna": (marked("USER: ", "ASSISTANT: ", "</s>", " "), "ASSISTANT:", ""),
    "Vicuna, no end": (marked("USER: ", "ASSISTANT: ", "", "\n"), "\nASSISTANT:", "\nUSER:"),
    "Alpaca in Korean": (marked("### 명령어:\n", "### 응답:\n"), "\n### 응답:", "\n### 명령어:"),
    "Alpaca in Japanese": (marked("### 指示:\n", "### 応答:\n"), "\n### 応答:", "\n### 指示:"),
    "SOLAR": (marked("### User:\n", "### Assistant:\n"), "\n### Assistant:", "\n### User:"),
    "DeepSeek-LLM": (marked("User: ", "Assistant: ", "</s>"), "\nAssistant:", ""),
    "Korean words": (marked("질문: ", "답변: "), "\n답변:", "\n질문:"),
    "INST": (marked("[INST] ", "[/INST] ", "</s>", " "), "[/INST]", ""),
}
CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
CHATML += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def bytes_of(template: str = "", special=("<s>", "</s>"), plain=(), eos="</s>"):
    """Return a tokenizer of bytes with these special tokens, and with added ones that are not special."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({sign: i for i, sign in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(name, special=True) for name in special])
    inner.add_tokens([AddedToken(name, special=False, normalized=False) for name in plain])
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=eos)
    made.chat_template = template or None
    return made


@pytest.mark.parametrize("family", WORDS)
def test_words_that_a_template_puts_between_turns_end_them(family):
    template, question, answer = WORDS[family]
    ends = ends_of(bytes_of(template))
    assert ends.words == tuple(word for word in (question, answer) if word)


@pytest.mark.parametrize("family", WORDS)
def test_what_a_model_writes_on_after_its_turn_is_cut(family):
    template, question, answer = WORDS[family]
    words = ends_of(bytes_of(template)).words
    for word in filter(None, (question, answer)):
        for text in ("서울의 인구는?", "Why is it so, and who says it?"):
            body, gap = word.strip(), "\n\n" if word.startswith("\n") else " "
            assert ending(f"{text}{gap}{body} and more", words) == len(text + gap)
            assert ending(text, words) == -1


def test_a_role_s_name_within_a_sentence_ends_nothing():
    words = ends_of(bytes_of(WORDS["DeepSeek-LLM"][0])).words
    assert ending("Write a play. First line: 'Assistant: hello'.", words) == -1
    assert ending("Write.\nAssistant: hello", words) == 7
    assert ending("MYASSISTANT: is it good?", ("ASSISTANT:",)) == -1


def test_tokens_end_turns_wherever_they_are_named():
    made = bytes_of(CHATML, ("<s>", "</s>", "<pad>"), ("<|im_end|>", "<|im_start|>", "<tool>"))
    ids = {made.convert_tokens_to_ids(name) for name in ("<s>", "</s>", "<pad>", "<|im_end|>")}
    ends = ends_of(made)
    assert set(ends.ids) == ids  # the template's own, though it is not special; the tool's mark is not
    assert ends.words == ()
    assert answer_end(made) == made.convert_tokens_to_ids("<|im_end|>")
    assert set(ends_of(made, GenerationConfig(eos_token_id=[3, 4])).ids) == ids | {3, 4}
    assert answer_end(bytes_of()) == bytes_of().eos_token_id


def test_end_tokens_are_read_from_whatever_names_them(tmp_path):
    assert end_tokens(None) == set()
    assert end_tokens(5) == {5}
    assert end_tokens([5, 6]) == {5, 6}
    assert end_tokens(tmp_path) == set()
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 106]}))
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 7}))
    assert end_tokens(tmp_path) == {1, 7, 106}


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("marks", THOUGHTS)
def test_the_marks_of_a_thought_end_nothing(special, marks):
    template = CHATML.replace("assistant\n{% endif", "assistant\n" + marks[0] + "\n{% endif")
    more = ("<|im_start|>", "<|im_end|>")
    made = bytes_of(template, ("</s>", *more, *(marks if special else ())), () if special else marks)
    ends = ends_of(made)
    assert set(ends.thoughts) == {made.convert_tokens_to_ids(mark) for mark in marks}
    assert not set(ends.thoughts) & set(ends.ids)


PARTS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for part in m['content'] %}{% if part['type'] == 'text' %}"
    "{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_template_that_wants_parts_gets_parts():
    special = ("</s>", "<|im_start|>", "<|im_end|>")
    told = [{"role": "user", "content": "Why?"}]
    plain, parts = bytes_of(CHATML, special), bytes_of(PARTS, special)
    assert render(parts, told, True) == render(plain, told, True)
    assert ends_of(parts) == ends_of(plain)
    refuses = "{% if messages[0]['content'] is string %}{{ raise_exception('parts!') }}{% endif %}" + PARTS
    assert render(bytes_of(refuses, special), told) == render(plain, told)


def test_arguments_reach_the_template():
    made = bytes_of("{{ 'think' if enable_thinking else 'no' }} " + CHATML)
    told = [{"role": "user", "content": "Why?"}]
    assert render(made, told, arguments={"enable_thinking": True}).startswith("think ")
    assert render(made, told).startswith("no ")


def test_a_dated_template_stays_at_its_moment():
    moment = datetime(2026, 7, 26, 12, 30, 5)
    clock = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% set s = strftime_now( \"%S\" ) %}{{ s }}"
    made = bytes_of()
    told = [{"role": "user", "content": "Why?"}]
    for template in (clock + "{% endif %} " + CHATML, {"default": clock + "{% endif %} " + CHATML}):
        made.chat_template = dated(template, moment)
        assert render(made, told).startswith("26 Jul 202605 ")
    assert dated(CHATML, moment) == CHATML
    assert dated(None, moment) is None


@given(st.text(alphabet="ab \nÄ한", max_size=12), st.text(alphabet="ab \n:#한", max_size=8))
@settings(max_examples=80, deadline=None)
def test_words_are_found_in_tokens_as_they_are_found_in_text(before, after):
    made = bytes_of()
    words = ("\n### 응답:", "\nUser:", "END:")
    find = word_end(made, words)
    for word in ("### 응답:", "\nUser:", " END:"):
        text = before + word + after
        tokens = made(text, add_special_tokens=False)["input_ids"]
        places = [find(tokens[: n + 1]) for n in range(len(tokens))]
        first = next((n for n, place in enumerate(places) if place >= 0), None)
        start = ending(text, words)
        assert (first is None) == (start < 0)
        if first is not None:
            assert made.decode(tokens[: places[first]]) == text[:start]  # bytes: nothing is split
    assert word_end(made, ()) is None


def test_thoughts_are_taken_apart_in_each_form():
    for opens, closes in THOUGHTS:
        qwen = apart(f"{opens}\nlet me see\n{closes}\n\nIt is 4.")
        assert qwen == Said("It is 4.", "let me see")
        r1 = apart(f"let me see\n{closes}\n\nIt is 4.", f"...assistant{opens}\n")
        assert r1 == qwen
        assert apart(f"let me see\n{closes}\n\nIt is 4.") == qwen  # closed, never begun
        assert apart(f"{opens}\nlet me") == Said("", "let me", True)
        assert apart("let me", f"{opens}\n") == Said("", "let me", True)
        assert apart("It is 4.", f"{opens}\n\n{closes}\n\n") == Said("It is 4.")  # thinking turned off
        assert apart(f"{opens}\n\n{closes}\n\nIt is 4.") == Said("It is 4.")
    assert apart("Write <think> and </think> as tags.") == Said("Write <think> and </think> as tags.")
    assert apart("") == Said("")
