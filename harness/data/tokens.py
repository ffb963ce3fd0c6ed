"""Documents to one long array of token numbers, with any tokenizer of transformers or one made here.

Two are made here, from the training text alone: one token a character, and one token a word (with
line breaks as words, as WikiText is usually read). Both are plain `PreTrainedTokenizerFast`: saved
in a folder, `AutoTokenizer` finds them. The end-of-text mark closes every document.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.sources import Document

PAD, END, UNKNOWN = "<|pad|>", "<|end|>", "<|unknown|>"  # none that a corpus holds as text
SMALL = "small"  # the folder, beside what `prepare` leaves, of what a small model is trained from
PIECE = 2**16  # characters that go through the tokenizer at once


def character_tokenizer(documents: Iterable[Document]) -> Any:
    """Return a tokenizer with one token for each character of `documents`, however rare."""
    from tokenizers import Regex, decoders, pre_tokenizers

    found = sorted(set().union(*(document.text for document in documents)))
    each = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")  # "." would leave line breaks out
    return _tokenizer([PAD, END, UNKNOWN, *found], UNKNOWN, each, decoders.Fuse())


def word_tokenizer(documents: Iterable[Document], vocabulary: int) -> Any:
    """Return a tokenizer of the most frequent words, `vocabulary` of them with the special tokens.

    Words stand between blanks; a line break is one. The unknown token is `<unk>`, as in WikiText.
    """
    from tokenizers import Regex, pre_tokenizers

    unknown = "<unk>"
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(re.findall(r"\n|[^ \t\r\f\v\n]+", document.text))
    for mark in (PAD, END, unknown):
        del counts[mark]
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    words = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"[ \t\r\f\v]+"), "removed"), pre_tokenizers.Split("\n", "isolated")]
    )
    return _tokenizer([PAD, END, unknown, *ranked][:vocabulary], unknown, words)


def _tokenizer(tokens: list[str], unknown: str, split: Any, decoder: Any = None) -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    numbers = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=unknown))
    tokenizer.pre_tokenizer = split
    if decoder is not None:
        tokenizer.decoder = decoder
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=unknown,
        clean_up_tokenization_spaces=False,
    )


def encode(documents: Iterable[Document], tokenizer: Any, path: Path) -> np.ndarray:
    """Write the documents' tokens to `path` (.npy) and return them, (tokens,) uint16 or uint32, read lazily.

    `starts(path)` says where each document begins. Of the text, a little is in memory at a time; a
    long document goes through the tokenizer in pieces.
    """
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    dtype = np.dtype("<u2" if len(tokenizer) <= 2**16 else "<u4")
    begins, count = [0], 0
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        _header(file, dtype, 0)
        pieces = _pieces(documents)
        while some := list(islice(pieces, 64)):
            found = tokenizer(
                [text for text, _ in some],
                add_special_tokens=False,
                split_special_tokens=True,  # a mark that stands in the text is text
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )["input_ids"]
            for numbers, (_, last) in zip(found, some, strict=True):
                if last and end is not None:
                    numbers.append(end)
                file.write(np.asarray(numbers, dtype).tobytes())
                count += len(numbers)
                if last:
                    begins.append(count)
        file.seek(0)
        _header(file, dtype, count)  # as long as before: numpy leaves room for the length to grow
    np.save(_starts_path(path), np.asarray(begins, np.int64))
    temporary.replace(path)
    return np.load(path, mmap_mode="r") if count else np.load(path)


def small_text(documents: Iterable[Document], data_dir: Path) -> Any:
    """Leave in `data_dir` what `Run.base` trains a small model from where none is given; return its tokenizer.

    That is the text in characters, for papers that start from a given model: call it where `model` is None.
    """
    documents = list(documents)
    tokenizer = character_tokenizer(documents)
    tokenizer.save_pretrained(data_dir / SMALL)
    encode(documents, tokenizer, data_dir / SMALL / "text.npy")
    return tokenizer


def starts(path: Path) -> np.ndarray:
    """Return where each document begins in `encode`'s array, and its end: (documents + 1,) int64."""
    found: np.ndarray = np.load(_starts_path(path))
    return found


def together(begins: np.ndarray, places: Any) -> dict[str, Any]:
    """Return how items that begin at these rising `places` hang together, as `Items` takes it.

    `begins` is what `starts` gives. Items of several documents are grouped by them; those of one document
    are contiguous pieces of it.
    """
    document = np.searchsorted(begins, places, side="right") - 1
    if len(np.unique(document)) > 1:
        return {"groups": {"document": document.tolist()}}
    return {"contiguous": True}


def _starts_path(path: Path) -> Path:
    return path.with_suffix(".starts.npy")


def _header(file: Any, dtype: np.dtype, count: int) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype.str, "fortran_order": False, "shape": (count,)}
    )


def _pieces(documents: Iterable[Document]) -> Iterator[tuple[str, bool]]:
    """Yield the text in pieces, with whether the piece is its document's last.

    A piece ends after a line break, or else before a blank, so no word is cut if that can be helped.
    """
    for document in documents:
        text, at = document.text, 0
        while len(text) - at > PIECE:
            end = at + PIECE
            cut = text.rfind("\n", at, end) + 1 or max(text.rfind(" ", at + 1, end), 0) or end
            yield text[at:cut], False
            at = cut
        yield text[at:], True
