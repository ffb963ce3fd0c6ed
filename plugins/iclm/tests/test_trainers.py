"""Files for trainers: read back by `datasets`, and by readers written here from the formats' descriptions.

`reading_back.py` beside this file reads the same with mosaicml-streaming and megatron-core, in an environment of
their own.
"""

import json
import struct
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from harness_iclm import best_fit, trainers
from harness_iclm.ordering import Recipe, order_corpus
from harness_iclm.preparation import tokenizer_for
from harness_iclm.settings import Task
from harness_iclm.training import WindowBatches, decoder, share, step
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.sources import Document, Source, resolve
from harness.errors import UsageError

WINDOW, SHARD = 64, 5


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """An order of made documents with all formats, five windows a file; and the documents."""
    folder = tmp_path_factory.mktemp("written")
    random = np.random.default_rng(0)
    texts = [" ".join(f"t{n % 5}w{random.integers(40)}" for _ in range(15)) for n in range(120)]
    texts[3], texts[50] = "", texts[49]
    (folder / "c.jsonl").write_text(
        "".join(json.dumps({"id": f"d{i}", "text": t}) + "\n" for i, t in enumerate(texts))
    )
    tokenizer = tokenizer_for(Task(vocabulary=300), [Document("a", " ".join(texts))], folder)
    tokenizer.save_pretrained(folder / "tokenizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers, "BYTES", 4 * WINDOW * SHARD)
        report = order(folder)
    return folder, texts, tokenizer, report


def order(folder, **recipe):
    source = resolve(str(folder / "c.jsonl"), cache=folder, columns=())
    tokenizer = Source("tokenizer", "file", folder / "tokenizer", "digest")
    given = {"window": WINDOW, "tokenizer": tokenizer, "to": trainers.FORMATS, "shard": 50} | recipe
    return order_corpus(source, Recipe(**given), folder / "out", folder / "stages", lambda *_: None)


def wanted(written) -> list[tuple[list[int], list[int]]]:
    """Return each window's tokens and the documents they are of, from windows.parquet and the texts."""
    folder, texts, tokenizer, _ = written
    rows: dict[int, tuple[list[int], list[int]]] = {}
    for piece in pq.read_table(folder / "out" / "windows.parquet").to_pylist():
        ids = [*tokenizer(texts[piece["document"]])["input_ids"], tokenizer.eos_token_id]
        row = rows.setdefault(piece["window"], ([], []))
        row[0].extend(ids[piece["first"] : piece["end"]])
        row[1].extend([piece["document"]] * (piece["end"] - piece["first"]))
    return [rows[i] for i in range(len(rows))]


def test_datasets_reads_the_windows_and_their_documents(written, tmp_path):
    from datasets import load_dataset

    folder, expected = written[0] / "out", wanted(written)
    found = load_dataset("parquet", data_dir=str(folder / "parquet"), split="train", cache_dir=str(tmp_path))
    assert [(row["input_ids"], row["document_ids"]) for row in found] == expected[:-1]
    assert {len(row) for row in found["input_ids"]} == {WINDOW}
    short = load_dataset(
        "parquet", data_dir=str(folder / "parquet-short"), split="train", cache_dir=str(tmp_path)
    )
    assert [(row["input_ids"], row["document_ids"]) for row in short] == expected[-1:]
    assert len(list((folder / "parquet").glob("*.parquet"))) == -(-(len(expected) - 1) // SHARD) > 2


def test_every_document_is_there_once_with_its_end(written):
    _, _, tokenizer, report = written
    ends = Counter(
        document
        for ids, documents in wanted(written)
        for token, document in zip(ids, documents, strict=True)
        if token == tokenizer.eos_token_id
    )
    assert set(ends.values()) == {1}
    assert set(ends) == set(range(120)) - {3, 50}
    assert report["kept"] == 118
    assert 0 < report["short_window"] < WINDOW


def mds_rows(folder):
    """Read MDS shards as their description says: count, offsets, JSON, samples."""
    for shard in json.loads((folder / "index.json").read_text())["shards"]:
        data = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"]
        (count,) = struct.unpack_from("<I", data)
        offsets = np.frombuffer(data, "<u4", count + 1, 4)
        assert count == shard["samples"]
        for first, last in pairwise(offsets):
            yield tuple(part.tolist() for part in np.split(np.frombuffer(data[first:last], "<i4"), 2))


def megatron_rows(prefix):
    """Read a .bin and .idx as megatron-core's `IndexedDataset` lays them out."""
    index = prefix.with_suffix(".idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, documents = struct.unpack_from("<QBQQ", index, 9)
    assert (version, documents) == (1, sequences + 1)
    sizes = np.frombuffer(index, "<i4", sequences, 34)
    offsets = np.frombuffer(index, "<i8", sequences, 34 + 4 * sequences)
    bounds = np.frombuffer(index, "<i8", documents, 34 + 12 * sequences)
    assert bounds.tolist() == list(range(documents))
    data, dtype = prefix.with_suffix(".bin").read_bytes(), {8: "<u2", 4: "<i4"}[code]
    for size, offset in zip(sizes, offsets, strict=True):
        yield np.frombuffer(data, dtype, size, offset).tolist()


def test_mds_shards_are_as_their_format_says(written):
    folder, expected = written[0] / "out", wanted(written)
    assert list(mds_rows(folder / "mds")) == expected[:-1]
    assert list(mds_rows(folder / "mds-short")) == expected[-1:]


def test_megatron_files_are_as_their_format_says(written):
    folder, expected = written[0] / "out", [ids for ids, _ in wanted(written)]
    prefixes = sorted((folder / "megatron").glob("*.bin"))
    assert [row for prefix in prefixes for row in megatron_rows(prefix)] == expected[:-1]
    (short,) = (folder / "megatron-short").glob("*.bin")
    assert list(megatron_rows(short)) == expected[-1:]


def test_the_text_in_its_new_order_is_the_kept_corpus(written):
    folder, texts, _, _ = written
    files = sorted((folder / "out" / "text").glob("documents-*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    order = pq.read_table(folder / "out" / "order.parquet").to_pylist()
    assert [(row["document"], row["id"]) for row in rows] == [(row["document"], row["id"]) for row in order]
    assert all(row["text"] == texts[row["document"]] for row in rows)
    assert len(files) == 3


def test_a_killed_export_goes_on_with_the_missing_file_and_another_window_takes_its_place(written):
    folder = written[0]
    before = {p.name: p.read_bytes() for p in (folder / "out" / "mds").iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers, "BYTES", 4 * WINDOW * SHARD)
        stages = sorted((folder / "stages").glob("iclm-mds-*[0-9a-f]"))
        kept = {p: (p / "part.mds").stat().st_mtime_ns for p in stages[1:]}
        for file in stages[0].iterdir():
            file.unlink()
        stages[0].rmdir()
        order(folder, to=("mds",))
    assert {p: (p / "part.mds").stat().st_mtime_ns for p in stages[1:]} == kept
    assert {p.name: p.read_bytes() for p in (folder / "out" / "mds").iterdir()} == before
    about = json.loads((folder / "out" / "mds.json").read_text())
    assert (about["window"], about["end_of_document"]) == (WINDOW, written[2].eos_token_id)


def test_a_tokenizer_without_an_end_mark_is_refused_before_anything_is_read(written, tmp_path):
    written[2].save_pretrained(tmp_path / "tokenizer")
    config = json.loads((tmp_path / "tokenizer" / "tokenizer_config.json").read_text())
    config.pop("eos_token")
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer" / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(UsageError, match="has no end-of-text token"):
        order(written[0], tokenizer=Source("bare", "file", tmp_path / "tokenizer", "bare"))


def test_what_is_no_tokenizer_is_a_sentence_and_one_without_weights_or_in_files_of_old_is_read(tmp_path):
    from harness_iclm.commands import _tokenizer
    from harness_iclm.trainers import tokenizer_of

    (tmp_path / "old").mkdir()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty holds no tokenizer, such as a tokenizer\.json"):
        _tokenizer(str(tmp_path / "empty"), tmp_path)
    with pytest.raises(UsageError, match="model holds no tokenizer that transformers reads"):
        tokenizer_of(Source("model", "file", tmp_path / "empty", "digest"))
    (tmp_path / "old" / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "apple"])
    )
    (tmp_path / "old" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    found = _tokenizer(str(tmp_path / "old"), tmp_path)
    assert tokenizer_of(found, marked=True)("apple", add_special_tokens=False)["input_ids"] == [5]
    (tmp_path / "old" / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bread"])
    )
    assert _tokenizer(str(tmp_path / "old"), tmp_path).digest != found.digest


# Best fit


def sizes_of(packed) -> Counter:
    return Counter(tuple(sorted((piece[:, 2] - piece[:, 1]).tolist())) for piece in packed)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 17))
def test_best_fit_packs_as_trl_does(lengths, window):
    trl = pytest.importorskip("trl.data_utils")
    from datasets import Dataset

    rows = Dataset.from_dict({"input_ids": [[i] * n for i, n in enumerate(lengths)]})
    theirs = trl.pack_dataset(rows, window, strategy="bfd_split")
    packed = best_fit(np.arange(len(lengths)), np.array(lengths), window)
    assert sizes_of(packed) == Counter(tuple(sorted(row)) for row in theirs["seq_lengths"])
    assert packed.tokens.max() <= window
    held = sorted((d, t) for piece in packed.pieces.tolist() for d in [piece[0]] for t in range(*piece[1:]))
    assert held == [(d, t) for d, length in enumerate(lengths) for t in range(length)]


def test_best_fit_by_hand():
    packed = best_fit(np.arange(5), np.array([6, 4, 5, 3, 12]), 10, shuffled=False)
    assert [piece.tolist() for piece in packed] == [
        [[4, 0, 10]], [[0, 0, 6], [1, 0, 4]], [[2, 0, 5], [3, 0, 3], [4, 10, 12]]
    ]  # fmt: skip


def test_fillings_count_nothing_whatever_the_rows_that_go_through_at_once():
    import torch

    torch.manual_seed(0)
    task = Task(width=16, layers=1, heads=2, feedforward=32, length=12)
    model = decoder(task, 50).double()
    lengths = np.array([7, 3, 9, 5, 2, 4])
    tokens = np.random.default_rng(0).integers(1, 50, size=lengths.sum())
    begins = np.append(0, np.cumsum(lengths))
    packed = best_fit(np.arange(6), lengths, 12)
    batch = next(WindowBatches(tokens, begins, packed, 12, len(packed), 0, False, padded=True))
    loss = step(model, batch)
    wanted = [
        torch.nn.functional.cross_entropy(
            model(input_ids=row[None, :size]).logits[0, :-1].float(), row[1:size], reduction="none"
        )
        for row, size in zip(batch["input_ids"], packed.tokens, strict=True)
    ]
    assert loss.item() == pytest.approx(torch.cat(wanted).mean().item(), rel=1e-6)
    by_row = [
        step(model, {name: values[i : i + 1] for name, values in batch.items()}) for i in range(len(packed))
    ]
    assert torch.stack(by_row).mean().item() == pytest.approx(loss.item(), rel=1e-6)
    assert share([np.array([[0, 0, 4]])], 4).tolist() == [[1, 1, 1]]
