"""`harness iclm order`: stages that are made once, numbers instead of text, and what it says about bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from harness_iclm import neighbours, path, windows
from harness_iclm.documents import read
from harness_iclm.embedding import encode, tfidf
from harness_iclm.intrinsic import path_weight
from harness_iclm.ordering import Recipe, order_corpus

from harness.data.sources import Source, resolve
from harness.errors import UsageError


def silent(name: str, done: int, total: int) -> None:
    """Show nothing."""


def corpus(path: Path, documents: int = 120, words: int = 15) -> Path:
    """Write documents of made words about five topics as jsonl."""
    random = np.random.default_rng(0)
    with path.open("w") as file:
        for number in range(documents):
            text = " ".join(f"t{number % 5}w{random.integers(40)}" for _ in range(words))
            file.write(json.dumps({"id": f"d{number}", "text": text}) + "\n")
    return path


def ordered(file: Path, tmp_path: Path, told=silent, **recipe):
    source = resolve(str(file), cache=tmp_path, columns=())
    return order_corpus(
        source, Recipe(**{"window": 300, **recipe}), tmp_path / "out", tmp_path / "stages", told
    )


def test_the_order_and_its_windows_are_numbers_that_cover_the_corpus(tmp_path):
    file = corpus(tmp_path / "corpus.jsonl")
    report = ordered(file, tmp_path)
    texts = [json.loads(line) for line in file.read_text().splitlines()]
    order = pq.read_table(tmp_path / "out" / "order.parquet").to_pylist()
    assert len(order) == report["kept"]
    assert [row["id"] for row in order] == [texts[row["document"]]["id"] for row in order]
    pieces = pq.read_table(tmp_path / "out" / "windows.parquet").to_pylist()
    held = sorted((p["document"], b) for p in pieces for b in range(p["first"], p["end"]))
    kept = sorted(row["document"] for row in order)
    assert held == [(d, b) for d in kept for b in range(len(texts[d]["text"].encode()))]
    assert report["in_context"]["window_similarity"] > report["random"]["window_similarity"] + 0.2
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "order.parquet", "report.json", "windows.parquet"
    ]  # fmt: skip
    assert b"t1w" not in (tmp_path / "out" / "windows.parquet").read_bytes()


def test_a_changed_walk_makes_the_walk_anew_and_not_the_embeddings(tmp_path):
    file = corpus(tmp_path / "corpus.jsonl")
    ordered(file, tmp_path)
    first = {p.name for p in (tmp_path / "stages").iterdir() if p.is_dir()}
    ordered(file, tmp_path, restart="static")
    new = {p.name for p in (tmp_path / "stages").iterdir() if p.is_dir()} - first
    assert sorted(name.rsplit("-", 1)[0] for name in new) == ["iclm-order", "iclm-windows"]
    ordered(file, tmp_path, window=100)
    assert len({p.name for p in (tmp_path / "stages").iterdir() if p.is_dir()} - first - new) == 1


def test_empty_documents_and_duplicates_are_counted_and_an_enormous_one_is_cut(tmp_path):
    file = corpus(tmp_path / "corpus.jsonl")
    texts = [json.loads(line)["text"] for line in file.read_text().splitlines()]
    with file.open("a") as more:
        for text in ["", "  \n", texts[0], texts[1], " ".join(texts) * 20]:
            more.write(json.dumps({"text": text}) + "\n")
    report = ordered(file, tmp_path, threshold=0.999)
    assert (report["documents"], report["empty"], report["duplicates"], report["kept"]) == (125, 2, 2, 121)
    pieces = pq.read_table(tmp_path / "out" / "windows.parquet").to_pylist()
    assert sum(p["document"] == 124 for p in pieces) > 100
    assert max(p["end"] - p["first"] for p in pieces) == 300


@pytest.mark.parametrize(
    ("lines", "recipe", "said"),
    [
        (['{"text": ""}'] * 5, {}, "no document with text"),
        (['{"text": "one word here"}'] * 9, {}, "10 neighbours were asked of 1 documents"),
        (
            [f'{{"text": "word{i} other{i}"}}' for i in range(6)],
            {},
            "10 neighbours were asked of 6 documents",
        ),
        ([f'{{"text": "a b{i} b{i} c"}}' for i in range(6)], {"k": 2, "window": 0}, "window of 0 tokens"),
        (['{"text": "apple bread"}'] * 3, {"threshold": 1.5}, "threshold=1.5"),
    ],
)
def test_bad_input_is_one_sentence_that_names_it(tmp_path, lines, recipe, said):
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=said):
        ordered(tmp_path / "corpus.jsonl", tmp_path, **recipe)


def test_embeddings_that_are_not_numbers_and_unknown_restarts_are_told():
    vectors = np.ones((20, 4))
    vectors[7, 2] = np.nan
    with pytest.raises(UsageError, match="embeddings of 1 documents are not finite, first of number 7"):
        neighbours(vectors, 3)
    with pytest.raises(UsageError, match="did you mean 'residual'"):
        path(np.zeros((3, 1), int), np.zeros((3, 1)), "residuel")
    with pytest.raises(UsageError, match="no words"):
        tfidf(["...", "!!"])
    with pytest.raises(UsageError, match="window of -1"):
        windows(np.arange(3), np.ones(3, int), -1)


def test_a_corpus_that_changes_while_it_is_read_is_refused(tmp_path):
    file = corpus(tmp_path / "corpus.jsonl")

    def meddle(name: str, done: int, total: int) -> None:
        if name == "embeddings":
            with file.open("a") as more:
                more.write('{"text": "one document more"}\n')

    with pytest.raises(UsageError, match="changed while it was read"):
        ordered(file, tmp_path, meddle)
    assert not list((tmp_path / "stages").glob("iclm-embeddings-*[0-9a-f]"))


def test_a_path_weighs_its_edges_and_counts_its_jumps():
    ids = np.array([[1], [0], [3], [2]])
    cosines = np.array([[0.5], [0.5], [0.25], [0.25]])
    assert path_weight(ids, cosines, np.array([0, 1, 2, 3])) == (0.75, 1)
    assert path_weight(ids, cosines, np.array([0, 2, 1, 3])) == (0.0, 3)


def test_an_encoder_embeds_in_the_place_of_tfidf_and_an_empty_text_gets_zeros(tmp_path):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    folder = tmp_path / "encoder"
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=9, max_position_embeddings=16, **size)).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=words, **marks).save_pretrained(folder)
    source = Source(str(folder), "file", folder, "digest")
    vectors = encode(["a b", "", "b a a"], source, tmp_path / "vectors.npy", max_length=8)
    assert vectors.shape == (3, 16)
    assert not vectors[1].any()
    assert vectors[0].any()


# From the command line


def harness(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_order_and_show_from_the_command_line(tmp_path):
    corpus(tmp_path / "corpus.jsonl")
    words = ["iclm", "order", "--documents", "corpus.jsonl", "--out", "order", "--window", "200"]
    report = json.loads(harness(tmp_path, *words, "--json").stdout)
    assert report == json.loads((tmp_path / "order" / "report.json").read_text())
    shown = harness(tmp_path, "iclm", "show", "order", "--documents", "corpus.jsonl").stdout
    assert shown.startswith("d")
    corpus(tmp_path / "corpus.jsonl", documents=121)
    refused = harness(tmp_path, "iclm", "show", "order", "--documents", "corpus.jsonl", code=2)
    assert "not the corpus that was ordered" in refused.stderr


def test_fewer_documents_than_none_is_one_sentence(tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"text": "apple bread"}\n')
    with pytest.raises(UsageError, match=r"task\.documents=-3 .* or 0 for all"):
        next(read(resolve(str(tmp_path / "texts.jsonl"), cache=tmp_path), limit=-3))
