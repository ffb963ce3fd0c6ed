"""What is left of a sampled instruction, rule by rule; the traps are those of the released scripts."""

import json
from collections import Counter
from pathlib import Path

import pytest
from harness_magpie import clean
from harness_magpie.cleaning import MODES, is_valid, words
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError

REQUESTS = [json.loads(line) for line in (Path(__file__).parent / "requests.jsonl").open(encoding="utf-8")]
VIRTUAL = "I want to build a virtual assistant for my shop."
CODE = "Fix this code:\nfor i in range(3) print(i)"


def cut(text: str, mode: str) -> tuple[str, str]:
    found = clean(text, mode)
    return found.text, found.cut


def test_official_ends_at_the_first_line_break_and_leaves_a_dangling_colon():
    assert cut(CODE, "official") == ("Fix this code:", "line break")


def test_official_ends_at_the_word_assistant_wherever_it_stands():
    assert cut(VIRTUAL, "official") == ("I want to build a virtual", "assistant")


def test_the_earlier_of_two_cuts_is_the_one_that_counts():
    assert cut("An assistant\nhelps", "official") == ("An", "assistant")
    assert cut("One\nassistant", "official") == ("One", "line break")


def test_whole_keeps_lines_and_the_word_assistant():
    assert cut(CODE, "whole") == (CODE, "")
    assert cut(VIRTUAL, "whole") == (VIRTUAL, "")


def test_whole_ends_at_a_line_that_is_a_role():
    assert cut("Why is it blue?\nassistant\nIt scatters.", "whole") == ("Why is it blue?", "role line")
    assert cut("Why?\n### Assistant:\nBecause.", "whole") == ("Why?", "role line")
    assert cut("Why?\nAsk an assistant about it", "whole") == ("Why?\nAsk an assistant about it", "")


@pytest.mark.parametrize(
    "reply", ["Answer: 4", "Sure, here it is.", "Here are three names:", "Certainly! It"]
)
def test_whole_ends_where_the_model_begins_to_answer_itself(reply):
    assert cut(f"What is 2 + 2?\n{reply}", "whole") == ("What is 2 + 2?", "answer")
    assert cut(reply, "whole")[1] == ""  # a first line is the user's own


def test_a_template_without_role_tokens_ends_at_its_words():
    found = clean("Why? [/INST] Because", "whole", ["[/INST]"])
    assert (found.text, found.cut) == ("Why?", "stop text")


def test_nothing_is_left_of_nothing():
    for mode in MODES:
        assert clean("", mode).text == clean(" \n ", mode).text == ""
    assert cut("\nWhy?", "official") == ("", "line break")  # as the scripts' stop does


def test_an_unknown_mode_is_named():
    with pytest.raises(UsageError, match="did you mean 'official'"):
        clean("Why?", "oficial")


@given(st.text(max_size=60), st.sampled_from(MODES))
@settings(max_examples=60, deadline=None)
def test_what_is_left_is_the_beginning_of_what_was_written_and_stays_as_it_is(text, mode):
    found = clean(text, mode)
    assert text.strip().startswith(found.text)
    again = clean(found.text, mode)
    assert (again.text, again.cut) == (found.text, "")


@pytest.mark.parametrize(
    ("text", "ended", "valid"),
    [
        ("Write a short poem.", True, True),
        ("Write a short poem.", False, False),  # over-long
        ("Write a poem", True, False),
        ("Too short.", True, False),
        ("Fix this code here:", True, False),
        ("오늘 서울 날씨는 어때?", True, True),
        ("Ποια είναι η πρωτεύουσα της Ελλάδας;", True, True),  # Greek asks with a semicolon
        ("What is it called; and why;", True, False),
        ("རྒྱལ་ས་གང་ཡིན།", True, True),
        ("§§§ ¤¤¤ §§§ ¤¤¤ ¬¬¬ ok.", True, False),
        ("", True, False),
        ("word " * 60 + "end.", True, False),
    ],
)
def test_a_valid_request_is_an_ended_sentence_of_four_to_sixty_words(text, ended, valid):
    assert is_valid(text, ended) is valid


@pytest.mark.parametrize("row", REQUESTS, ids=lambda row: f"{row['language']}: {row['text'][:20]}")
def test_requests_of_eight_languages_are_judged_as_people_labelled_them(row):
    assert is_valid(row["text"]) is row["valid"], row["why"]
    assert not is_valid(row["text"], ended=False)


@given(st.text(alphabet="abÀ 12.,?한국Ж\n", max_size=60))
@settings(max_examples=60, deadline=None)
def test_where_blanks_stand_between_words_they_are_what_is_counted(text):
    assert words(text) == len(text.split())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("中国的首都是哪个城市？", 6),
        ("日本の首都はどこですか？", 5),
        ("用Python写一个函数。", 5),
        ("你好", 1),
        ("ไทย", 0),
        ("", 0),
    ],
)
def test_where_there_are_no_blanks_words_are_counted_by_their_letters(text, number):
    assert words(text) == number


def test_a_language_is_told_and_none_is_invented():
    from harness_magpie.commands import known_language, languages, of_languages

    valid = [row for row in REQUESTS if row["valid"]]
    assert languages([row["text"] for row in valid]) == [row["language"] for row in valid]
    known_language("ko")
    known_language("")
    with pytest.raises(UsageError, match="--language kr is no code"):
        known_language("kr")
    assert of_languages(Counter(en=7, ko=1), "ko") == "languages of 8 instructions: en 7, ko 1"
    assert "none is in ko: this model" in of_languages(Counter(en=8), "ko")
