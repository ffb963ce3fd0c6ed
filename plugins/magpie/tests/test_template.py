"""The pre-query template is what every chat of a model begins with: the paper's table, by derivation."""

import pytest
from harness_magpie import clean, pre_query_template
from harness_magpie.cleaning import Cleaned
from harness_magpie.template import bare_template, begins_a_chat, next_query, stops, template_ids
from magpie_models import FAMILIES, IM, byte_tokenizer, tokenizer

from harness.errors import UsageError
from harness.nn.turns import render

# Where the paper's table and the model's own chat template part, and how.
NO_SYSTEM = ("Qwen1.5", "Qwen2-Math")  # the table leaves out the message that the template inserts
BLANK = ("Phi-3", "Mistral-7B-v0.3", "Llama-2")  # the table has a blank after BOS, as old decoders wrote it
LINE = ("Gemma-2",)  # the table has a line break more
SAME = [name for name in FAMILIES if name not in (*NO_SYSTEM, *BLANK, *LINE)]


@pytest.mark.parametrize("family", SAME)
def test_the_derived_template_is_the_published_one(family):
    assert pre_query_template(tokenizer(family)) == FAMILIES[family][4]


def test_where_the_table_differs_from_the_chat_template_the_difference_is_known():
    for family in BLANK:
        assert pre_query_template(tokenizer(family)) == FAMILIES[family][4].replace("> ", ">", 1)
    for family in LINE:
        assert pre_query_template(tokenizer(family)) + "\n" == FAMILIES[family][4]
    for family in NO_SYSTEM:
        made = tokenizer(family)
        assert bare_template(made) == FAMILIES[family][4]
        assert pre_query_template(made) == (
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" + FAMILIES[family][4]
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_its_tokens_begin_every_chat_with_one_bos(family):
    made = tokenizer(family)
    ids = template_ids(made, pre_query_template(made))
    assert begins_a_chat(made, ids)
    chat = render(made, [{"role": "user", "content": "Why is the sky blue?"}])
    assert made(chat, add_special_tokens=False)["input_ids"][: len(ids)] == ids
    if made.bos_token and family not in ("SmolLM2", "Vicuna v1.5"):  # a role token there, and none
        assert ids.count(made.bos_token_id) == 1


def test_without_its_system_message_a_template_is_the_header_alone():
    assert bare_template(tokenizer("SmolLM2")) == "<|im_start|>user\n"
    assert bare_template(tokenizer("Qwen2.5")) == "<|im_start|>user\n"
    assert bare_template(tokenizer("Yi-1.5")) == "<|startoftext|><|im_start|>user\n"
    for family in ("Llama-3", "Gemma-2", "Mistral-7B-v0.3"):  # nothing to leave out
        assert bare_template(tokenizer(family)) == pre_query_template(tokenizer(family))


def test_a_system_message_steers_and_takes_the_place_of_the_default():
    told = pre_query_template(tokenizer("Qwen2.5"), "You translate.")
    assert told == "<|im_start|>system\nYou translate.<|im_end|>\n<|im_start|>user\n"


def test_a_template_that_takes_no_system_message_says_so():
    for family in ("Gemma-2", "Phi-3"):  # one refuses it, one swallows it
        with pytest.raises(UsageError, match=r"system message|does not show"):
            pre_query_template(tokenizer(family), "You translate.")


def test_a_base_model_is_named():
    with pytest.raises(UsageError, match="no chat template, so it is a base model"):
        pre_query_template(byte_tokenizer(IM, None, "<|im_end|>"))


def test_a_second_bos_is_refused():
    made = tokenizer("Llama-3")
    with pytest.raises(UsageError, match="twice"):
        template_ids(made, made.bos_token + pre_query_template(made))


def test_a_template_that_shows_a_turn_twice_is_refused():
    made = byte_tokenizer(IM, None, "<|im_end|>")
    made.chat_template = "{% for m in messages %}{{ m['content'] }} {{ m['content'] }}{% endfor %}"
    with pytest.raises(UsageError, match="as it was written, once"):
        pre_query_template(made)


def test_turns_end_at_role_tokens_and_at_words_only_where_there_are_none():
    made = tokenizer("Llama-3")
    ids, texts = stops(made)
    assert {made.convert_tokens_to_ids(t) for t in FAMILIES["Llama-3"][1]} <= set(ids)
    assert texts == []
    assert stops(tokenizer("Llama-2"))[1] == ["[/INST]"]
    assert stops(tokenizer("Mistral-7B-v0.3"))[1] == []


def test_a_blank_that_the_first_word_swallows_is_left_to_the_model():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "▁[INST]", "▁", "▁What", "▁Write", "▁2", "?"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="?")
    # "[INST] " ends in a blank of its own; before "What" that blank is part of the word's token.
    assert made.convert_ids_to_tokens(template_ids(made, "[INST] ")) == ["▁[INST]"]


def test_a_template_cut_within_a_token_is_refused():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"user:": 0, "?": 1}, unk_token="?"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="?")
    with pytest.raises(UsageError, match="tokenised differently"):
        template_ids(made, "user:")


def test_words_that_end_a_turn_are_read_with_the_header_of_an_answer():
    made = tokenizer("Vicuna v1.5")
    assert stops(made)[1] == ["ASSISTANT:", "\nUSER:"]
    made.chat_template = (
        "{% for m in messages %}{{ '### 명령어:\n' if m['role'] == 'user' else '### 응답:\n' }}{{ m['content'] }}\n\n"
        "{% endfor %}{% if add_generation_prompt %}### 응답:\n{% endif %}"
    )
    assert stops(made)[1] == ["\n### 응답:", "\n### 명령어:"]
    leaked = "서울의 인구는?\n\n### 응답:\n약 940만 명입니다."
    assert clean(leaked, "whole", stops(made)[1]) == Cleaned("서울의 인구는?", "stop text")


def test_a_template_that_fails_is_not_blamed_on_the_system_message():
    made = byte_tokenizer(IM, None, "<|im_end|>")
    made.chat_template = "{{ raise_exception('out of order') }}"
    with pytest.raises(UsageError, match="fails on one query: out of order"):
        pre_query_template(made, "You translate.")


def test_a_template_that_wants_the_header_of_an_answer_gets_it():
    made = byte_tokenizer(IM, None, "<|im_end|>")
    made.chat_template = (
        "{% if not add_generation_prompt %}{{ raise_exception('no header') }}{% endif %}"
        + FAMILIES["SmolLM2"][0]
    )
    assert pre_query_template(made) == FAMILIES["SmolLM2"][4]
    assert begins_a_chat(made, template_ids(made, pre_query_template(made)))
    assert pre_query_template(made, "You translate.").count("You translate.") == 1


def test_a_template_of_parts_is_filled_with_parts():
    made = byte_tokenizer(IM, None, "<|im_end|>")
    made.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for part in m['content'] %}{{ part['text'] }}"
        "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    assert pre_query_template(made) == "<|im_start|>user\n"
    assert pre_query_template(made, "You translate.").startswith(
        "<|im_start|>system\nYou translate.<|im_end|>"
    )


def test_an_argument_that_a_template_does_not_read_is_named():
    made = tokenizer("SmolLM2")
    with pytest.raises(UsageError, match="reads no 'enable_thinkin'"):
        pre_query_template(made, None, {"enable_thinkin": False})


def test_a_conversation_goes_on_with_the_next_query():
    made = tokenizer("Llama-3")
    said = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    text = next_query(made, said)
    whole = render(made, [*said, {"role": "user", "content": "And then?"}])
    assert whole.startswith(text + "And then?")
    assert text.count("<|begin_of_text|>") == 1
