"""Text becomes tokens and comes back; what a tokenizer has not seen is one unknown token, never an error."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data import tokens
from harness.data.sources import Document
from harness.data.tokens import character_tokenizer, encode, starts, together, word_tokenizer

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
slow_folder = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def docs(*contents):
    return [Document(str(i), content) for i, content in enumerate(contents)]


def test_each_character_is_a_token_and_line_breaks_are_too(tmp_path):
    tokenizer = character_tokenizer(docs("b a\n", "c"))
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == [
        "<|pad|>", "<|end|>", "<|unknown|>", "\n", " ", "a", "b", "c",
    ]  # fmt: skip
    found = encode(docs("a\nb", "c"), tokenizer, tmp_path / "t.npy")
    assert found.tolist() == [5, 3, 6, 1, 7, 1]
    assert starts(tmp_path / "t.npy").tolist() == [0, 4, 6]
    assert found.dtype == np.uint16


@given(st.lists(text, min_size=1, max_size=4))
@slow_folder
def test_any_text_comes_back_from_its_character_tokens(tmp_path, contents):
    documents = docs(*contents)
    tokenizer = character_tokenizer(documents)
    found = encode(documents, tokenizer, tmp_path / "t.npy")
    begins = starts(tmp_path / "t.npy")
    assert len(found) == sum(map(len, contents)) + len(contents)
    for content, low, high in zip(contents, begins, begins[1:], strict=False):
        assert tokenizer.decode(found[low : high - 1]) == content
        assert found[high - 1] == tokenizer.eos_token_id


def test_a_saved_tokenizer_is_found_by_transformers(tmp_path):
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    made = character_tokenizer(docs("hello\nworld"))
    made.save_pretrained(tmp_path)
    found = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(found, PreTrainedTokenizerFast)
    assert found("low\nhero")["input_ids"] == made("low\nhero")["input_ids"]
    assert (found.pad_token_id, found.eos_token_id, found.unk_token_id, len(found)) == (0, 1, 2, len(made))


def test_an_unknown_character_is_the_unknown_token(tmp_path):
    tokenizer = character_tokenizer(docs("ab"))
    assert encode(docs("a한b"), tokenizer, tmp_path / "t.npy").tolist() == [3, 2, 4, 1]


def test_a_mark_that_stands_in_the_text_is_text(tmp_path):
    documents = docs("a<|end|>b")
    tokenizer = character_tokenizer(documents)
    assert len(encode(documents, tokenizer, tmp_path / "t.npy")) == len("a<|end|>b") + 1


def test_the_most_frequent_words_are_kept_and_the_rest_is_unknown(tmp_path):
    documents = docs("the cat \n the  dog <unk>\tcat the")
    tokenizer = word_tokenizer(documents, vocabulary=6)
    vocabulary = ["<|pad|>", "<|end|>", "<unk>", "the", "cat", "\n"]
    assert tokenizer.convert_ids_to_tokens(range(6)) == vocabulary
    assert len(tokenizer) == 6
    found = encode(documents, tokenizer, tmp_path / "t.npy")
    assert found.tolist() == [3, 4, 5, 3, 2, 2, 4, 3, 1]
    assert tokenizer.decode(found[:4]) == "the cat \n the"


def test_a_vocabulary_beyond_sixteen_bits_is_kept_in_thirty_two(tmp_path):
    documents = docs(" ".join(f"w{i}" for i in range(70_000)))
    tokenizer = word_tokenizer(documents, vocabulary=10**6)
    found = encode(documents, tokenizer, tmp_path / "t.npy")
    assert found.dtype == np.uint32
    assert len(np.unique(found)) == 70_001


@given(st.lists(st.text("ab\n ", max_size=50), min_size=1, max_size=3), st.integers(1, 20))
@slow_folder
def test_a_long_document_has_the_same_tokens_in_pieces(tmp_path, contents, piece):
    documents = docs(*contents)
    tokenizer = character_tokenizer(docs("ab \n"))
    whole = encode(documents, tokenizer, tmp_path / "whole.npy").tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "PIECE", piece)
        assert encode(documents, tokenizer, tmp_path / "cut.npy").tolist() == whole
    assert starts(tmp_path / "cut.npy").tolist() == starts(tmp_path / "whole.npy").tolist()


def test_the_array_is_an_ordinary_numpy_file_that_need_not_fit_in_memory(tmp_path):
    content = "ab\n" * 60_000
    found = encode(docs(content), character_tokenizer(docs("ab\n")), tmp_path / "t.npy")
    assert isinstance(found, np.memmap)
    assert np.array_equal(np.load(tmp_path / "t.npy"), found)
    assert len(found) == len(content) + 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.npy", "t.starts.npy"]


def test_no_documents_are_no_tokens(tmp_path):
    assert encode([], character_tokenizer(docs("a")), tmp_path / "t.npy").shape == (0,)


def test_pieces_of_several_documents_are_grouped_by_them_and_those_of_one_are_contiguous():
    begins = np.array([0, 10, 10, 30])  # the second one is empty
    assert together(begins, [0, 9, 10, 29]) == {"groups": {"document": [0, 0, 2, 2]}}
    assert together(begins, np.arange(10, 30, 5)) == {"contiguous": True}
