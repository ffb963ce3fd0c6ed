"""RDASS itself: the exact checks of its definition, and the laws that any use of it must keep."""

import unicodedata

import numpy as np
import pytest
from harness_rdass import CharacterTfidf, rdass, sample
from harness_rdass.encoders import document_vectors, too_long, windows
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


def test_a_long_document_is_read_as_told(neural):
    tail = SUMMARIES[-1]
    long = " ".join([*dict.fromkeys(DOCUMENTS), tail])
    scores = {how: rdass([long], [tail], [tail], neural, long=how) for how in ("truncate", "mean", "max")}
    assert all(found.truncated.tolist() == [True] for found in scores.values())
    assert scores["truncate"].document == rdass([f"{long} 더"], [tail], [tail], neural).document
    each = [rdass([window], [tail], [tail], neural).document[0] for window in windows(neural, long)]
    assert scores["max"].document[0] == pytest.approx(max(each), abs=1e-6)


def test_the_mean_of_windows_weighs_each_alike():
    parts = [np.array([[2.0, 0.0], [0.0, 0.5]])]
    assert document_vectors(parts, np.array([[1.0, 0.0]]), "mean").tolist() == [[0.5, 0.5]]
    assert document_vectors(parts, np.array([[1.0, 0.1]]), "max").tolist() == [[2.0, 0.0]]


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


@settings(max_examples=25)
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
    with pytest.raises(UsageError, match="nothing to score"):
        rdass([], [], [])
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        rdass(["a"], ["a"], ["a"], long="meen")
