"""Put a corpus in order, step by step: each step is a stage, so a changed walk does not embed again.

    documents -> embeddings -> kept -> neighbours -> order -> windows

The corpus is read twice, as a stream; what is kept are a length and a vector a document. Nothing is written
but numbers: the order, the windows as pieces of documents, and a report. The text is never copied.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.sources import Source, resolve
from harness.errors import UsageError
from harness.tools import stage, write_json
from harness_iclm import intrinsic
from harness_iclm.documents import read
from harness_iclm.duplicates import deduplicate
from harness_iclm.embedding import encode, tfidf
from harness_iclm.orders import shuffle
from harness_iclm.packing import windows
from harness_iclm.preparation import load_windows, save_windows
from harness_iclm.search import neighbours
from harness_iclm.walk import path

Progress = Callable[[str, int, int], object]  # stage, done, total (0: not known)


@dataclass
class Recipe:
    """How a corpus is to be ordered; `tokenizer` None counts UTF-8 bytes, `model` None is TF-IDF + SVD."""

    window: int = 8192
    k: int = 10
    threshold: float = 0.95
    restart: str = "residual"
    seed: int = 0
    index: str = "auto"
    probes: int = 0
    dimensions: int = 128
    encoder_length: int = 512
    batch_size: int = 128
    device: str = "cpu"
    tokenizer: Source | None = None
    model: Source | None = None


def order_corpus(
    source: Source, recipe: Recipe, out: Path, stages: Path, progress: Progress
) -> dict[str, Any]:
    """Write `order.parquet`, `windows.parquet` and `report.json` into `out`; return the report.

    Raises UsageError for a corpus without text, with too few documents, or that changed while it was read.
    """
    seconds: dict[str, float] = {}

    def kept_stage(name: str, inputs: dict[str, Any], make: Callable[[Path], None]) -> Path:
        begun = time.perf_counter()
        folder = stage(stages, f"iclm-{name}", inputs, make)
        seconds[name] = round(time.perf_counter() - begun, 3)
        progress(name, 1, 1)
        return folder

    r, corpus = recipe, {"corpus": source.digest}
    how = r.tokenizer.digest if r.tokenizer else "bytes"
    counted = kept_stage("documents", corpus | {"tokens": how}, lambda f: _count(source, r, f, progress))
    lengths, empty = np.load(counted / "lengths.npy"), np.load(counted / "empty.npy")
    how = f"{r.model.digest} {r.encoder_length}" if r.model else f"tfidf {r.dimensions}"
    total = len(lengths)
    embedded = kept_stage("embeddings", corpus | {"by": how}, lambda f: _embed(source, r, f, total, progress))
    vectors = np.load(embedded / "vectors.npy", mmap_mode="r")
    search = {"index": r.index, "probes": r.probes}

    def keep(folder: Path) -> None:
        real = np.flatnonzero(~empty)
        told = _tell(progress, "kept")
        np.save(folder / "kept.npy", real[deduplicate(vectors[real], r.threshold, r.index, r.probes, told)])

    inputs = {"embeddings": embedded.name, "threshold": r.threshold, **search}
    chosen = kept_stage("kept", inputs, keep)
    kept = np.load(chosen / "kept.npy")
    mine = vectors[kept]

    def find(folder: Path) -> None:
        ids, cosines = neighbours(mine, r.k, r.index, r.probes, progress=_tell(progress, "neighbours"))
        np.savez(folder / "near.npz", ids=ids, cosines=cosines)

    near = kept_stage("neighbours", {"kept": chosen.name, "k": r.k, **search}, find)
    with np.load(near / "near.npz") as found:
        ids, cosines = found["ids"], found["cosines"]

    def walk(folder: Path) -> None:
        np.save(folder / "order.npy", path(ids, cosines, r.restart, r.seed))

    inputs = {"neighbours": near.name, "restart": r.restart, "seed": r.seed}
    walked = kept_stage("order", inputs, walk)
    order = np.load(walked / "order.npy")

    def cut(folder: Path) -> None:
        save_windows(folder / "windows.npz", windows(order, lengths[kept], r.window, r.seed))

    inputs = {"order": walked.name, "documents": counted.name, "window": r.window, "seed": r.seed}
    packed = load_windows(kept_stage("windows", inputs, cut) / "windows.npz")
    random = shuffle(len(kept), r.seed)
    weight, jumps = intrinsic.path_weight(ids, cosines, order)
    report = {
        "corpus": source.name,
        "digest": source.digest,
        "documents": total,
        "empty": int(empty.sum()),
        "duplicates": int(total - empty.sum() - len(kept)),
        "kept": len(kept),
        "tokens": int(lengths[kept].sum()),
        "counted_in": r.tokenizer.name if r.tokenizer else "bytes",
        "window": r.window,
        "windows": len(packed),
        "path_weight": weight,
        "jumps": jumps,
        "in_context": intrinsic.measure(mine, order, packed),
        "random": intrinsic.measure(mine, random, windows(random, lengths[kept], r.window, r.seed)),
        "seconds": seconds,
    }
    _write(out, report, kept, order, packed, (counted / "ids.txt").read_text(encoding="utf-8").splitlines())
    return report


def _tell(progress: Progress, name: str) -> Callable[[int, int], object]:
    return lambda done, total: progress(name, done, total)


def _count(source: Source, recipe: Recipe, folder: Path, progress: Progress) -> None:
    """Leave each document's length, id and whether it is empty."""
    tokenizer = None
    if recipe.tokenizer:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(recipe.tokenizer.path)
    lengths: list[int] = []
    empty: list[bool] = []
    documents = read(source)
    with (folder / "ids.txt").open("w", encoding="utf-8") as file:
        while some := list(islice(documents, 256)):
            texts = [document.text for document in some]
            if tokenizer is None:
                lengths += [len(text.encode()) for text in texts]
            else:  # and the mark that ends a document
                found = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
                lengths += [len(numbers) + 1 for numbers in found["input_ids"]]
            empty += [not text.strip() for text in texts]
            file.writelines(json.dumps(document.id) + "\n" for document in some)
            progress("documents", len(lengths), 0)
    _unchanged(source)
    if not lengths or all(empty):
        raise UsageError(f"{source.name} holds no document with text: give another corpus")
    np.save(folder / "lengths.npy", np.array(lengths, np.int64))
    np.save(folder / "empty.npy", np.array(empty))


def _embed(source: Source, recipe: Recipe, folder: Path, total: int, progress: Progress) -> None:
    """Leave a vector a document."""

    def texts() -> Iterator[str]:
        for number, document in enumerate(read(source), 1):
            if number % 256 == 0 or number == total:
                progress("embeddings", number, total)
            yield document.text

    if recipe.model is None:
        vectors = tfidf(texts(), recipe.dimensions)
        np.save(folder / "vectors.npy", vectors)
    else:
        vectors = encode(
            texts(),
            recipe.model,
            folder / "vectors.npy",
            max_length=recipe.encoder_length,
            batch_size=recipe.batch_size,
            device=recipe.device,
        )
    _unchanged(source)
    if len(vectors) != total:
        raise UsageError(
            f"{source.name} had {total} documents and now {len(vectors)}: leave it as it is meanwhile"
        )


def _unchanged(source: Source) -> None:
    """Raise UsageError where the corpus is no longer the one whose digest names the stages."""
    if source.kind != "file":
        return  # fetched ones are pinned
    import tempfile

    with tempfile.TemporaryDirectory() as cache:
        now = resolve(source.name, cache=Path(cache), columns=()).digest
    if now != source.digest:
        raise UsageError(
            f"{source.name} changed while it was read (digest {source.digest[:12]}, now {now[:12]}): "
            "repeat the command once nobody writes to it"
        )


def _write(out: Path, report: dict[str, Any], kept: Any, order: Any, packed: Any, ids: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out.mkdir(parents=True, exist_ok=True)
    rows = kept[order]  # numbers of documents in the corpus
    names = [json.loads(ids[row]) for row in rows]
    pieces = {"first": packed.pieces[:, 1], "end": packed.pieces[:, 2]}
    number = np.repeat(np.arange(len(packed)), np.diff(packed.bounds))
    tables = {
        "order": pa.table({"document": rows, "id": names}),
        "windows": pa.table({"window": number, "document": kept[packed.pieces[:, 0]], **pieces}),
    }
    for name, table in tables.items():
        temporary = out / f".{name}.parquet"
        pq.write_table(table, temporary)
        temporary.replace(out / f"{name}.parquet")
    write_json(out / "report.json", report)
