"""ROUGE for Korean, against Google's where that one can read, and where it cannot."""

import pytest
from harness_rdass import rouge
from harness_rdass.overlap import tokenizer
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError

WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "12"]), max_size=12)


@pytest.mark.parametrize("tokens", ["eojeol", "morpheme", "syllable"])
def test_equal_hangul_texts_score_one(tokens):
    found = rouge(["사과를 먹었다"], ["사과를 먹었다"], tokens)
    assert [found.rouge_1, found.rouge_2, found.rouge_l] == [1.0, 1.0, 1.0]


def test_google_s_tokenizer_sees_nothing_in_hangul():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1"])
    assert scorer.score("사과를 먹었다", "사과를 먹었다")["rouge1"].fmeasure == 0


@given(WORDS, WORDS)
def test_by_words_it_is_google_s(reference, summary):
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])
    texts = " ".join(reference).capitalize(), " ".join(summary)
    theirs = scorer.score(*texts)
    found = rouge([texts[0]], [texts[1]])
    ours = [found.rouge_1[0], found.rouge_2[0], found.rouge_l[0]]
    assert ours == pytest.approx([theirs[n].fmeasure for n in ("rouge1", "rouge2", "rougeL")])


# The authors' post works two examples whose ROUGE comes out as .143 / 0 / .143: one match of 7 and 7 whitespace
# tokens, and one of 8 and 6, punctuation attached. These sentences are ours, of the same shape.
EXAMPLES = [
    ("정부, 내년 예산 10조 원 '삭감' 발표", "정부는 2025년도 예산을 10조원 줄인다고 어제 발표"),
    (
        "'한강' 공원, 밤에도 안전하게 조명 300개 새로 설치",
        "한강 공원 야간 보행로에 가로등 설치",
    ),
]


@pytest.mark.parametrize(("reference", "summary"), EXAMPLES)
def test_the_shape_of_the_worked_examples_by_eojeol(reference, summary):
    assert len(reference.split()) + len(summary.split()) == 14
    found = rouge([reference], [summary], "eojeol")
    assert [found.rouge_1[0], found.rouge_2[0], found.rouge_l[0]] == pytest.approx([1 / 7, 0, 1 / 7])


def test_a_particle_costs_an_eojeol_and_hardly_a_syllable():
    reference, summary = ["정부가 예산을 줄였다"], ["정부는 예산을 줄였다"]
    assert rouge(reference, summary, "eojeol").rouge_1 == pytest.approx([2 / 3])
    assert rouge(reference, summary, "syllable").rouge_1 == pytest.approx([8 / 9])


def test_what_the_tokens_are():
    assert tokenizer("eojeol")("나는 KAIST에 간다.") == ["나는", "kaist에", "간다."]
    assert tokenizer("syllable")("나는 KAIST에, 2번!") == ["나", "는", "kaist", "에", "2", "번"]
    assert tokenizer("morpheme")("나는 학교에 간다.") == ["나", "는", "학교", "에", "가", "ᆫ다"]


def test_bad_input_is_named():
    with pytest.raises(UsageError, match="1 references and 2 summaries"):
        rouge(["a"], ["a", "b"])
    with pytest.raises(UsageError, match="did you mean 'syllable'"):
        rouge(["a"], ["a"], "sylable")


def test_texts_without_a_token_score_zero():
    assert rouge(["..."], ["..."]).rouge_1 == [0.0]
