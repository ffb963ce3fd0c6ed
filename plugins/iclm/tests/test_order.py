"""`harness iclm order`: stages that are made once, numbers instead of text, and what it says about bad input."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
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
        "duplicates.parquet", "order.parquet", "report.json", "windows.parquet"
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
        (
            ['{"text": "one word here"}'] * 9,
            {},
            "of 9 documents .8 left out as near duplicates. 1 is left to put in",
        ),
        (
            ['{"text": "one word here"}'],
            {},
            "1 document cannot be put in order: give at least two different ones",
        ),
        (["", ""], {}, "is empty: give a file with text in it"),
        (['{"text": ""}', '{"text": " "}'], {}, "holds no document with text"),
        (
            ['{"text": "one word here"}'] * 9 + ['{"text": "another"}', '{"text": " "}'],
            {},
            "of 2 documents, what is left of 10 documents .8 left out as near duplicates.: ask for 1 to 1",
        ),
        (['{"text": ["a", "list"]}'] * 3, {}, "a list"),
        (
            ['{"text": "one word here"}'] * 140 + ['{"text": " "}'] * 10,
            {},
            "of 150 documents .10 empty, 139 left out as near duplicates. 1 is left to put in order",
        ),
        (
            [f'{{"text": "word{i} other{i}"}}' for i in range(6)],
            {},
            "10 neighbours were asked of 6 documents",
        ),
        ([f'{{"text": "a b{i} b{i} c"}}' for i in range(6)], {"k": 2, "window": 0}, "window of 0 tokens"),
        (['{"text": "apple bread"}'] * 3, {"threshold": 1.5}, "threshold=1.5"),
        (['{"text": "apple bread"}'] * 3, {"threshold": -0.5}, "threshold=-0.5"),
        (['{"text": "apple bread"}'] * 3, {"k": 0}, "0 neighbours relate nothing"),
        (
            ['{"text": "apple bread"}'] * 3,
            {"restart": "residuel"},
            "--restart=residuel .* did you mean 'residual'",
        ),
        (['{"text": "apple bread"}'] * 3, {"index": "flat"}, "'flat' is no index that faiss can make"),
        (['{"text": "apple bread"}'] * 3, {"index": "PQ16"}, "'PQ16' is neither exact nor in lists"),
        (
            ['{"text": "apple bread"}'] * 13,
            {"index": "IVF9999,Flat"},
            "13 documents cannot fill the 9,999 lists",
        ),
        (['{"text": "apple bread"}'] * 3, {"probes": -1}, "-1 lists cannot be searched"),
        (['{"text": "apple bread"}'] * 3, {"to": ("parket",)}, "--to=parket .* did you mean 'parquet'"),
        (['{"text": "apple bread"}'] * 3, {"to": ("mds",)}, "--to=mds writes tokens: add --tokenizer"),
        (['{"text": "apple bread"}'] * 3, {"until": "embedings"}, "did you mean 'embeddings'"),
        (['{"text": "apple bread"}'] * 3, {"shard": 0}, "a shard of 0 documents"),
    ],
)
def test_bad_input_is_one_sentence_that_names_it(tmp_path, lines, recipe, said):
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=said):
        ordered(tmp_path / "corpus.jsonl", tmp_path, **recipe)


@pytest.mark.parametrize("place", ["taken", "taken/below"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(tmp_path, place):
    (tmp_path / "taken").write_text("a file")
    source = Source("nothing.jsonl", "file", tmp_path / "nothing.jsonl", "digest")
    with pytest.raises(UsageError, match="taken is a file, no folder to write to"):
        order_corpus(source, Recipe(), tmp_path / place, tmp_path / "stages", silent)


@pytest.mark.parametrize("setting", [{"window": 0}, {"k": 0}, {"threshold": 2.0}, {"index": "IVF,Flat"}])
def test_settings_are_checked_before_the_corpus_is_read(tmp_path, setting):
    source = Source("nothing.jsonl", "file", tmp_path / "nothing.jsonl", "digest")
    with pytest.raises(UsageError):
        order_corpus(source, Recipe(**setting), tmp_path / "out", tmp_path / "stages", silent)
    assert not (tmp_path / "stages").exists()


def test_an_index_that_the_documents_cannot_train_is_one_sentence():
    with pytest.raises(UsageError, match="40 documents cannot train the index 'IVF4,PQ4'"):
        neighbours(np.random.default_rng(0).normal(size=(40, 16)), 3, "IVF4,PQ4")


RENAMED = {
    "jsonl": ("?text:body", lambda folder, rows: (folder / "c.jsonl").write_text("".join(map(line, rows)))),
    "nested": ("?text:doc.body", lambda folder, rows: (folder / "c.jsonl").write_text(
        "".join(line({"doc": row}) for row in rows))),
    "two": ("?text:body+id:key", lambda folder, rows: (folder / "c.jsonl").write_text("".join(map(line, rows)))),
    "twice": ("?text:body?id:key", lambda folder, rows: (folder / "c.jsonl").write_text("".join(map(line, rows)))),
    "parquet": ("?text:body", lambda folder, rows: pq.write_table(pa.Table.from_pylist(rows), folder / "c.parquet")),
    "csv": ("?text:body", lambda folder, rows: (folder / "c.csv").write_text(
        "key,body\n" + "".join(f"{row['key']},{row['body']}\n" for row in rows))),
}  # fmt: skip


def line(row: dict) -> str:
    return json.dumps(row) + "\n"


@pytest.mark.parametrize("kind", RENAMED)
@pytest.mark.parametrize("whole", ["file", "folder", "file:"])
def test_a_text_in_a_column_of_another_name_is_ordered_from_first_to_last(tmp_path, kind, whole):
    mark, write = RENAMED[kind]
    (tmp_path / "data").mkdir()
    texts = [json.loads(one)["text"] for one in corpus(tmp_path / "c.jsonl", 110).read_text().splitlines()]
    write(tmp_path / "data", [{"key": f"k{i}", "body": text} for i, text in enumerate(texts)])
    (file,) = (tmp_path / "data").iterdir()
    name = {"file": str(file), "folder": str(file.parent), "file:": f"file:{file}"}[whole] + mark
    report = ordered(name, tmp_path)
    assert report["documents"] == report["kept"] == 110
    ids = pq.read_table(tmp_path / "out" / "order.parquet")["id"].to_pylist()
    assert ("k7" in ids) == ("id:key" in mark)


def test_shards_are_the_same_order_and_only_what_is_missing_is_made(tmp_path, monkeypatch):
    from harness_iclm import embedding

    file = corpus(tmp_path / "corpus.jsonl", 130)
    monkeypatch.setattr(
        embedding, "LEARNED", 120
    )  # so that TF-IDF is learned from some and applied by shards
    report = ordered(file, tmp_path, shard=40)
    first = pq.read_table(tmp_path / "out" / "order.parquet")
    parts = list((tmp_path / "stages").glob("iclm-embeddings-*[0-9a-f]"))
    assert len(parts) == 4
    assert len(list((tmp_path / "stages").glob("iclm-neighbours-*[0-9a-f]"))) == 4
    shutil.rmtree(parts[0])  # as if a job had been killed
    untouched = {part: part.stat().st_mtime_ns for part in parts[1:]}
    again = ordered(file, tmp_path, shard=40)
    assert {part: part.stat().st_mtime_ns for part in parts[1:]} == untouched
    assert parts[0].is_dir()
    assert pq.read_table(tmp_path / "out" / "order.parquet") == first
    assert report["path_weight"] == again["path_weight"]
    whole = ordered(file, tmp_path, shard=1000)
    assert whole["path_weight"] == pytest.approx(report["path_weight"], rel=1e-4)


def test_words_learned_and_applied_are_tfidf_itself(tmp_path):
    from harness_iclm.embedding import apply, learn, load_words, save_words

    texts = [json.loads(one)["text"] for one in corpus(tmp_path / "c.jsonl").read_text().splitlines()]
    save_words(learn(texts, 16), tmp_path)
    found = apply(load_words(tmp_path), texts)
    wanted = tfidf(texts, 16)
    assert np.abs(found @ found.T - wanted @ wanted.T).max() < 0.02


def test_until_stops_after_a_step_and_the_rest_goes_on_from_there(tmp_path):
    file = corpus(tmp_path / "corpus.jsonl")
    for until in ("documents", "embeddings", "neighbours"):
        told = ordered(file, tmp_path, until=until)
        assert told["documents"] == 120
        assert not (tmp_path / "out").exists()
        assert list((tmp_path / "stages").glob(f"iclm-{until}-*[0-9a-f]"))
    assert not list((tmp_path / "stages").glob("iclm-order-*"))
    assert ordered(file, tmp_path)["kept"] == 120


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
    from harness_iclm import embedding
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from harness.nn.encoder import load_encoder

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
    texts = ["a b", "b a a"]
    first = embedding.load(source, pooling="cls", prompt="b ").encode(texts)
    own = load_encoder(folder)
    own.pooling = "cls"
    np.testing.assert_allclose(first, own.encode([f"b {text}" for text in texts]), atol=1e-6)


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


def test_an_order_is_not_written_among_the_documents_that_are_read(tmp_path):
    from harness_iclm.commands import order

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "texts.jsonl").write_text('{"text": "apple bread"}\n' * 3)
    for out in (tmp_path / "mine", tmp_path / "mine" / "order"):
        with pytest.raises(UsageError, match="lies in what is read"):
            order(str(tmp_path / "mine"), out, results=tmp_path / "results")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["texts.jsonl"]


def test_fewer_documents_than_none_is_one_sentence(tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"text": "apple bread"}\n')
    with pytest.raises(UsageError, match=r"task\.documents=-3 .* or 0 for all"):
        next(read(resolve(str(tmp_path / "texts.jsonl"), cache=tmp_path), limit=-3))
