"""ROUGE-L against Google's where that one can read, and where it cannot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from harness.nn.overlap import rouge_l, words

TEXTS = st.lists(st.sampled_from(["The", "cat", "sat_on", "a", "mat,", "12", "-"]), max_size=12).map(" ".join)


@given(TEXTS, TEXTS)
def test_of_english_it_is_google_s(reference, text):
    theirs = RougeScorer(["rougeL"]).score(reference, text)["rougeL"].fmeasure
    assert rouge_l(words(reference), words(text)) == pytest.approx(theirs)


@given(st.lists(st.integers(0, 3), max_size=9), st.lists(st.integers(0, 3), max_size=9))
def test_it_is_the_longest_common_subsequence_of_the_table(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
    assert rouge_l(a, b) * (len(a) + len(b)) == pytest.approx(2 * table[-1, -1])


def test_equal_texts_score_one_in_any_script_and_texts_without_a_word_none():
    for text in ("사과를 먹었다", "ein Bär", "日本 語"):
        assert rouge_l(words(text), words(text)) == 1.0
    assert rouge_l(words("..."), words("...")) == 0.0
