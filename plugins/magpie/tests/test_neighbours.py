"""Distances between instructions: squared, exact, to another row; and which rows say again what was said."""

import math

import numpy as np
import pytest
from harness_magpie import neighbour_distances
from harness_magpie.neighbours import REPEAT, between, encoded_vectors, hashed, mark
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.errors import HarnessError


def unit(*degrees: float) -> np.ndarray:
    """Return unit vectors at these angles."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def near(rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each row the distance to the nearest other one, its repeats, and the first of its group."""
    distance, repeats, first = between(rows, rows, same=True)
    return distance, repeats, np.minimum(first, np.arange(len(distance)))


def plainly(rows: np.ndarray) -> np.ndarray:
    """Return the definition itself, row by row."""
    return np.array(
        [min(float(((a - b) ** 2).sum()) for j, b in enumerate(rows) if j != i) for i, a in enumerate(rows)]
    )


def test_distances_are_squared_and_reach_four_between_opposites():
    assert neighbour_distances(unit(0, 180)) == pytest.approx([4, 4], abs=1e-6)
    assert neighbour_distances(unit(0, 60, 180)) == pytest.approx([1, 1, 3], abs=1e-6)


def test_the_paper_s_threshold_is_a_cosine_of_0_975():
    inside = math.degrees(math.acos(0.976))
    outside = math.degrees(math.acos(0.974))
    assert list(near(unit(0, inside))[1]) == [1, 1]
    assert list(near(unit(0, outside))[1]) == [0, 0]


def test_an_exact_copy_is_at_zero_not_at_rounding():
    rows = np.random.default_rng(0).normal(size=(40, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.concatenate([rows, rows[:3]])
    distance, _, first = near(rows)
    assert (distance[[0, 1, 2, 40, 41, 42]] == 0).all()
    assert (distance[3:40] > 0).all()
    assert list(first[40:]) == [0, 1, 2]


def test_a_row_is_never_its_own_neighbour_even_among_copies():
    assert list(near(np.ones((3, 2), np.float32))[1]) == [2, 2, 2]


def test_first_of_group_is_not_connected_components():
    # 0 and 8 degrees are near, 8 and 16 are, 0 and 16 are not: the last is dropped for a row that is dropped.
    first = near(unit(0, 8, 16))[2]
    assert list(first) == [0, 0, 1]
    assert [i for i in range(3) if first[i] == i] == [0]


def test_repeats_are_not_capped():
    assert near(np.ones((700, 2), np.float32))[1][0] == 699


@given(hnp.arrays(np.float32, st.tuples(st.integers(2, 12), st.integers(1, 4)), elements=st.integers(-3, 3)))
@settings(max_examples=40, deadline=None)
def test_blocks_are_the_definition(rows):
    assert neighbour_distances(rows) == pytest.approx(plainly(rows), abs=1e-4)


def test_more_than_one_block_is_the_same(monkeypatch):
    from harness_magpie import neighbours as module

    texts = [f"word{i % 7} and {i % 11} things" for i in range(60)]
    rows = hashed(texts)(texts)
    whole = near(rows)
    monkeypatch.setattr(module, "BLOCK", 7)
    for one, other in zip(whole, near(rows), strict=True):
        assert np.array_equal(one, other)


def test_faiss_finds_the_same():
    faiss = pytest.importorskip("faiss")
    rows = np.concatenate([unit(*range(0, 180, 7)), unit(0, 7, 7)])
    index = faiss.IndexFlatL2(2)
    index.add(rows)
    theirs = index.search(rows, len(rows))
    others = [
        [d for d, j in zip(*row, strict=True) if j != i] for i, row in enumerate(zip(*theirs, strict=True))
    ]
    distance, repeats, _ = near(rows)
    assert distance == pytest.approx([min(row) for row in others], abs=1e-6)
    assert list(repeats) == [sum(d < REPEAT for d in row) for row in others]


def test_one_row_and_none_have_no_neighbour():
    assert list(neighbour_distances(unit(3))) == [math.inf]
    assert len(neighbour_distances(np.zeros((0, 2)))) == 0


def test_a_vector_that_is_no_number_is_named():
    with pytest.raises(HarnessError, match="not a number"):
        neighbour_distances([[np.nan, 1.0], [0.0, 1.0]])


def test_an_encoder_that_fails_on_a_text_is_named_in_a_run_too(tmp_path):
    import torch
    from harness_magpie.preparation import tiny_tokenizer
    from transformers import BertConfig, BertModel

    made = tiny_tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    broken = BertModel(BertConfig(vocab_size=len(made), **sizes))
    with torch.no_grad():
        broken.embeddings.word_embeddings.weight[len(made) // 2 :] = float("nan")
    broken.save_pretrained(tmp_path / "bert")
    made.save_pretrained(tmp_path / "bert")
    rows = [{"id": i, "instruction": text} for i, text in enumerate(("what is rain", "why songs."))]
    with pytest.raises(HarnessError, match="not a number: the encoder failed"):
        mark(rows, lambda texts: encoded_vectors(str(tmp_path / "bert"), texts, tmp_path, "cpu"))


def test_equal_texts_have_equal_vectors():
    texts = ["Write a poem.", "Why is it so?", "Write a poem."]
    rows = hashed(texts)(texts).toarray()
    assert (rows[0] == rows[2]).all()
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1], abs=1e-6)


def test_an_encoder_is_read_with_the_pooling_and_the_prompt_that_are_said(tmp_path):
    from harness_magpie.preparation import tiny_tokenizer
    from transformers import BertConfig, BertModel

    from harness.nn.encoder import load_encoder

    made = tiny_tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(made), **sizes)).save_pretrained(tmp_path / "bert")
    made.save_pretrained(tmp_path / "bert")
    texts = ["what is rain", "why"]
    found = encoded_vectors(str(tmp_path / "bert"), texts, tmp_path, "cpu", "lasttoken", "tell ")
    own = load_encoder(tmp_path / "bert", pooling="lasttoken").encode([f"tell {text}" for text in texts])
    np.testing.assert_allclose(found, own / np.linalg.norm(own, axis=1, keepdims=True), atol=1e-6)
    assert np.abs(found - encoded_vectors(str(tmp_path / "bert"), texts, tmp_path, "cpu")).max() > 1e-3
