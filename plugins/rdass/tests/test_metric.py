"""RDASS itself: the exact checks of its definition, and the laws that any use of it must keep."""

import unicodedata

import numpy as np
import pytest
from harness_rdass import CharacterTfidf, rdass, sample
from harness_rdass.encoders import closeness, too_long, windows
from harness_rdass.metrics import METRICS
from harness_rdass.semantic import cosine, semantic_scores
from harness_rdass.training import build
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.feature_extraction.text import TfidfVectorizer

from harness.errors import UsageError
from harness.nn.encoder import load_encoder
from harness.papers.reduction import reduce

ROWS = [row for row in sample.built() if row["level"] == "article"]
DOCUMENTS, REFERENCES, SUMMARIES = (
    [row[name] for row in ROWS] for name in ("document", "reference", "summary")
)
TFIDF = CharacterTfidf(dict.fromkeys(DOCUMENTS))
VECTORS = arrays(np.float64, (4, 3), elements=st.floats(-9, 9).map(lambda x: round(x, 3)))


@pytest.fixture(scope="module")
def neural(tmp_path_factory):
    """A small untrained encoder that reads 128 tokens."""
    folder = tmp_path_factory.mktemp("encoder")
    build(folder, DOCUMENTS, width=32, layers=1, vocabulary=400)
    return load_encoder(folder)


def test_a_summary_that_is_reference_and_document_scores_one():
    v = np.array([[3.0, 4.0]])
    assert semantic_scores(v, v, v).rdass == pytest.approx([1.0])


def test_orthogonal_vectors_score_zero_and_opposite_ones_less():
    east, north = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert semantic_scores(east, east, north).rdass == [0.0]
    assert semantic_scores(east, east, -east).rdass == [-1.0]  # a cosine is not clipped


@given(VECTORS, VECTORS, VECTORS)
def test_rdass_is_the_mean_of_its_halves_and_treats_them_alike(d, r, p):
    found, turned = semantic_scores(d, r, p), semantic_scores(r, d, p)
    assert np.allclose(found.rdass, (cosine(p, r) + cosine(p, d)) / 2, atol=1e-6)
    assert np.array_equal(found.rdass, turned.rdass)
    assert (np.abs(found.rdass) <= 1 + 1e-9).all()


def test_kendall_is_tau_b_with_ties():
    from scipy.stats import kendalltau

    score, human = [0.1, 0.2, 0.3, 0.4, 0.5], [1, 1, 3, 2, 3]
    found = reduce(METRICS["kendall_mean"], {"score": score, "human": human})
    assert found == pytest.approx(kendalltau(score, human, variant="b").statistic)


@pytest.mark.parametrize("long", ["truncate", "mean", "max"])
def test_neither_order_nor_company_nor_batch_changes_a_score(neural, long):
    whole = rdass(DOCUMENTS, REFERENCES, SUMMARIES, neural, long=long).rdass
    order = np.random.default_rng(0).permutation(len(ROWS))
    turned = rdass(*([c[i] for i in order] for c in (DOCUMENTS, REFERENCES, SUMMARIES)), neural, long=long)
    assert np.allclose(turned.rdass, whole[order], atol=1e-6)
    alone = [
        rdass([d], [r], [p], neural, long=long).rdass[0]
        for d, r, p in zip(DOCUMENTS, REFERENCES, SUMMARIES, strict=True)
    ]
    assert np.allclose(alone, whole, atol=1e-6)

    class OneByOne:
        max_length, tokenizer = neural.max_length, neural.tokenizer

        def encode(self, texts):
            return neural.encode(texts, batch_size=1)

    assert np.allclose(rdass(DOCUMENTS, REFERENCES, SUMMARIES, OneByOne(), long=long).rdass, whole, atol=1e-6)


def test_composed_and_decomposed_hangul_score_the_same(neural):
    apart = [[unicodedata.normalize("NFD", t) for t in c] for c in (DOCUMENTS, REFERENCES, SUMMARIES)]
    assert apart[0] != DOCUMENTS
    for encoder in (neural, TFIDF, None):
        together = rdass(DOCUMENTS, REFERENCES, SUMMARIES, encoder)
        assert np.array_equal(rdass(*apart, encoder).rdass, together.rdass)


def test_each_distinct_text_is_encoded_once():
    seen = []

    class Counting:
        def encode(self, texts):
            seen.extend(texts)
            return TFIDF.encode(texts)

    rdass(DOCUMENTS, REFERENCES, SUMMARIES, Counting())
    assert len(seen) == len(set(seen)) == len({*DOCUMENTS, *REFERENCES, *SUMMARIES})


def test_without_an_encoder_two_systems_on_the_same_documents_can_be_compared():
    both = rdass(DOCUMENTS, REFERENCES, SUMMARIES).rdass
    changed = rdass(DOCUMENTS, REFERENCES, ["다른 요약", *SUMMARIES[1:]]).rdass
    assert np.array_equal(both[1:], changed[1:])


def test_windows_hold_every_word_in_order_and_fit_the_encoder(neural):
    document = " ".join(DOCUMENTS)
    parts = windows(neural, document)
    assert len(parts) > 1
    assert " ".join(parts) == document
    assert not too_long(neural, parts).any()
    assert too_long(neural, [document, parts[0]]).tolist() == [True, False]
    assert windows(neural, f" {parts[0]}\n") == [f" {parts[0]}\n"]  # what fits is read as it stands


def byte_level(length=24):
    """A tokenizer of bytes, as GPT-2's and RoBERTa's: no unknown token, and a blank belongs to the word after it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    inner = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", model_max_length=length)


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.sampled_from("가나다 ab\n日本ไทย😀é."), min_size=1, max_size=120),
    st.sampled_from(["", "질문: "]),
)
def test_windows_of_any_script_lose_no_character_and_fit_with_the_prompt(text, prompt):
    class Reads:
        max_length, tokenizer = 24, byte_level()

        def count(self, texts):
            return [len(row) for row in self.tokenizer([prompt + text for text in texts])["input_ids"]]

    parts = windows(Reads(), text)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(count <= 24 for count in Reads().count(parts)) or len(parts) == 1


def test_references_and_summaries_that_are_cut_are_counted_and_read_in_windows(neural):
    long, short = " ".join(DOCUMENTS), SUMMARIES[0]
    found = rdass([short, short], [long, short], [short, long], neural)
    assert found.truncated.tolist() == [False, False]
    assert found.truncated_reference.tolist() == [True, False]
    assert found.truncated_summary.tolist() == [False, True]
    parts = windows(neural, long)
    each = [rdass([short], [part], [short], neural).reference[0] for part in parts]
    for how, expected in (("max", max(each)), ("mean", None)):
        read = rdass([short, short], [long, short], [short, long], neural, long=how)
        assert read.reference[0] == pytest.approx(
            read.document[1], abs=1e-6
        )  # the two sides are treated alike
        assert read.reference[0] != pytest.approx(found.reference[0], abs=1e-6)
        if expected is not None:
            assert read.reference[0] == pytest.approx(expected, abs=1e-6)


def test_an_empty_summary_scores_zero_and_changes_no_other(neural):
    whole = rdass(DOCUMENTS, REFERENCES, SUMMARIES, neural)
    for how in ("truncate", "mean"):
        found = rdass(DOCUMENTS, REFERENCES, ["", *SUMMARIES[1:]], neural, long=how)
        assert (found.rdass[0], found.reference[0], found.document[0]) == (0, 0, 0)
        assert found.empty.tolist() == [True] + [False] * (len(SUMMARIES) - 1)
    again = rdass(DOCUMENTS, REFERENCES, [" \u200b\n", *SUMMARIES[1:]], neural)
    assert np.allclose(again.rdass[1:], whole.rdass[1:], atol=1e-6)
    assert rdass(["a"], ["a"], [""]).rdass.tolist() == [0.0]


class Made:
    """Vectors as told: a direction that all texts share, and one of their own."""

    def __init__(self, shared, own):
        self.shared, self.own = shared, own

    def encode(self, texts):
        draws = [np.random.default_rng(list(self.own(text).encode())).normal(size=32) for text in texts]
        return np.stack([np.r_[self.shared, draw] for draw in draws])


def test_an_encoder_that_cannot_tell_texts_apart_is_said():
    documents = [f"{i} document" for i in range(20)]
    references = [f"{i} reference" for i in range(20)]

    def judged(shared, own):
        return rdass(documents, references, references, Made(shared, own)).doubt

    topic = lambda text: text.split()[0]  # noqa: E731
    assert judged(0.0, topic) == ""
    assert (
        judged(30.0, topic) == ""
    )  # a narrow cone, .97 between strangers, in which the own reference is found
    assert "a cosine of 1.000 in the mean" in judged(1000.0, topic)
    assert "which chance does too" in judged(0.0, lambda text: text)
    assert rdass(DOCUMENTS, REFERENCES, SUMMARIES).doubt == ""


def test_a_long_document_is_read_as_told(neural):
    tail = SUMMARIES[-1]
    long = " ".join([*dict.fromkeys(DOCUMENTS), tail])
    scores = {how: rdass([long], [tail], [tail], neural, long=how) for how in ("truncate", "mean", "max")}
    assert all(found.truncated.tolist() == [True] for found in scores.values())
    assert scores["truncate"].document == rdass([f"{long} 더"], [tail], [tail], neural).document
    each = [rdass([window], [tail], [tail], neural).document[0] for window in windows(neural, long)]
    assert scores["max"].document[0] == pytest.approx(max(each), abs=1e-6)


def test_windows_weigh_alike_in_the_mean_and_the_nearest_pair_counts_in_the_max():
    a, b = [np.array([[2.0, 0.0], [0.0, 0.5]])], [np.array([[0.0, 3.0]])]
    assert closeness(a, b, "mean") == pytest.approx([0.5**0.5])
    assert closeness(a, b, "max") == closeness(b, a, "max") == pytest.approx([1.0])


def test_character_tfidf_is_the_usual_one_where_every_gram_is_known():
    usual = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True).fit(DOCUMENTS)
    ours = CharacterTfidf(DOCUMENTS).encode(DOCUMENTS)
    theirs = usual.transform(DOCUMENTS)
    assert np.allclose(
        (ours @ ours.T).toarray(), (theirs @ theirs.T).toarray(), atol=5e-3
    )  # a few grams share a bucket


def test_a_gram_that_the_background_lacks_still_counts():
    found = CharacterTfidf(["바다"]).encode(["바다", "바다 쿼크"])
    assert cosine(found[:1], found[1:])[0] < 0.8


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.sampled_from("가나다 ab1.!"), min_size=1), min_size=1, max_size=4))
def test_any_text_with_something_in_it_can_be_scored(texts):
    texts = [text for text in texts if text.strip()] or ["가"]
    found = rdass(texts, texts, texts)
    assert np.isfinite(found.rdass).all()


def test_bad_input_is_named():
    with pytest.raises(UsageError, match="summary: 1"):
        rdass(["a", "b"], ["a", "b"], ["a"])
    with pytest.raises(UsageError, match="the document number 2 is empty"):
        rdass(["a", " \n"], ["a", "b"], ["a", "b"])
    with pytest.raises(UsageError, match="the reference number 1 is empty"):
        rdass(["a"], ["\u200b"], ["a"])
    with pytest.raises(UsageError, match="nothing to score"):
        rdass([], [], [])
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        rdass(["a"], ["a"], ["a"], long="meen")
