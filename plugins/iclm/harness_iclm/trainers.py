"""Windows in the files that trainers read: parquet for Hugging Face datasets, MDS shards, Megatron's .bin and .idx.

Each format is written from its public description: MDS by mosaicml-streaming's (a count, offsets, a description in
JSON, the samples; `index.json` lists the shards), Megatron's by megatron-core's `IndexedDataset` (header, sequence
lengths, byte offsets, document bounds; tokens end to end). A row is a window, in the order of `windows.parquet`. The
one window that is not full is apart, in a folder of its own, since trainers of one length read full ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from harness.data.sources import Source
from harness.data.tokens import starts
from harness.errors import UsageError, said
from harness.tools import digest, write_json
from harness_iclm.packing import Windows

BYTES = 2**26  # of tokens in a file, as int32
MEGATRON = {np.dtype(np.uint16): 8, np.dtype(np.int32): 4}  # its codes of number types


@dataclass(frozen=True)
class Filled:
    """Windows with the tokens that fill them: `tokens[begins[d]:begins[d + 1]]` are those of document d.

    `numbers` says which document of the corpus each one of `packed` is.
    """

    packed: Windows
    numbers: np.ndarray
    tokens: np.ndarray
    begins: np.ndarray
    vocabulary: int
    end: int

    def rows(self, first: int, last: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each window's tokens, (length,) int32, and the document each of them is of, (length,) int32."""
        for window in range(first, last):
            pieces = self.packed[window]
            documents = self.numbers[pieces[:, 0]]
            spans = [
                self.tokens[self.begins[d] + a : self.begins[d] + b]
                for d, (_, a, b) in zip(documents, pieces, strict=True)
            ]
            sizes = pieces[:, 2] - pieces[:, 1]
            yield np.concatenate(spans).astype(np.int32), np.repeat(documents, sizes).astype(np.int32)


def tokenizer_of(source: Source, marked: bool = False) -> Any:
    """Return a tokenizer, of a folder or a GGUF file.

    Raises UsageError where there is none, and where it must mark the end of a document and has no token for it.
    """
    from harness.nn import bases

    try:
        found = bases.tokenizer_of(source)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{source.name} holds no tokenizer that transformers reads ({said(error)}): name another"
        ) from None
    if marked and end_of(found) is None:
        raise UsageError(
            f"the tokenizer {source.name} has no end-of-text token, so that trainers could not tell documents apart: "
            "name its eos_token in tokenizer_config.json, or give another"
        )
    return found


def end_of(tokenizer: Any) -> int | None:
    """Return the token that closes a document, as `harness.data.tokens.encode` writes it."""
    found: int | None = (
        tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    )
    return found


def filled(packed: Windows, numbers: np.ndarray, counted: Path, source: Source) -> Filled:
    """Return windows with the tokens that lie in `counted`."""
    tokenizer = tokenizer_of(source, marked=True)
    tokens = np.load(counted / "tokens.npy", mmap_mode="r")
    end = end_of(tokenizer)
    assert end is not None
    return Filled(packed, numbers, tokens, starts(counted / "tokens.npy"), len(tokenizer), end)


def parts(packed: Windows, window: int) -> list[tuple[int, int, bool]]:
    """Return the files' windows, (first, last, full): full ones by 64 MiB of tokens, the short one by itself."""
    full = int((packed.tokens == window).sum())
    size = max(1, BYTES // (4 * window))
    found = [(first, min(first + size, full), True) for first in range(0, full, size)]
    return found + [(full, len(packed), False)] * (full < len(packed))


def parquet(filled: Filled, first: int, last: int, folder: Path) -> None:
    """Write windows as `input_ids` and `document_ids`, both lists of int32."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(filled.rows(first, last))
    bounds = np.append(0, np.cumsum([len(ids) for ids, _ in rows])).astype(np.int32)
    columns = {
        name: pa.ListArray.from_arrays(bounds, np.concatenate([row[i] for row in rows]))
        for i, name in enumerate(("input_ids", "document_ids"))
    }
    pq.write_table(pa.table(columns), folder / "part.parquet")


def mds(filled: Filled, first: int, last: int, folder: Path) -> None:
    """Write windows as an MDS shard of `tokens` and `document_ids`, both int32 arrays of one length."""
    rows = list(filled.rows(first, last))
    length = len(rows[0][0])
    about = {
        "column_encodings": [f"ndarray:int32:{length}"] * 2,
        "column_names": ["tokens", "document_ids"],
        "column_sizes": [4 * length] * 2,
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": BYTES,
        "version": 2,
    }
    told = json.dumps(about, sort_keys=True).encode()
    samples = [ids.tobytes() + documents.tobytes() for ids, documents in rows]
    offsets = (
        np.append(0, np.cumsum([len(sample) for sample in samples])) + 4 + 4 * (len(rows) + 1) + len(told)
    )
    head = np.uint32(len(rows)).tobytes() + offsets.astype(np.uint32).tobytes()
    (folder / "part.mds").write_bytes(head + told + b"".join(samples))
    write_json(folder / "part.json", about | {"samples": len(rows), "zip_data": None})


def megatron(filled: Filled, first: int, last: int, folder: Path) -> None:
    """Write windows as an indexed data set: each is a sequence and a document, so that it stays whole.

    Documents within a window are told apart by the end mark, as Megatron's reset of masks and positions does.
    """
    dtype = np.dtype(np.uint16 if filled.vocabulary < 65_500 else np.int32)
    lengths = []
    with (folder / "part.bin").open("wb") as file:
        for ids, _ in filled.rows(first, last):
            file.write(ids.astype(dtype).tobytes())
            lengths.append(len(ids))
    sizes = np.array(lengths, np.int32)
    offsets = np.append(0, np.cumsum(sizes[:-1], dtype=np.int64)) * dtype.itemsize
    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, MEGATRON[dtype], len(sizes), len(sizes) + 1)
    bounds = np.arange(len(sizes) + 1, dtype=np.int64)
    (folder / "part.idx").write_bytes(
        head + sizes.tobytes() + offsets.astype(np.int64).tobytes() + bounds.tobytes()
    )


WRITERS: dict[str, Callable[[Filled, int, int, Path], None]] = {
    "parquet": parquet,
    "mds": mds,
    "megatron": megatron,
}
FORMATS = (*WRITERS, "text")
NAMES = {"parquet": "windows-{:05d}", "mds": "shard.{:05d}", "megatron": "windows-{:05d}"}


def gather_text(folder: Path, out: Path, locks: Path) -> None:
    """Put the shards of text in the folder `out`, in the place of what was there."""
    with _replaced(out, locks) as fresh:
        for file in sorted(folder.glob("part-*.jsonl")):
            _placed(file, fresh / file.name.replace("part", "documents"))


@contextlib.contextmanager
def _replaced(out: Path, locks: Path) -> Iterator[Path]:
    """Give a new folder to fill, that is then put in the place of `out`."""
    with filelock.FileLock(locks / f".iclm-out-{digest(str(out.resolve()))[:16]}.lock"):
        fresh = out.with_name(f".{out.name}.unfinished")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        yield fresh
        shutil.rmtree(out, ignore_errors=True)
        fresh.rename(out)


def gather(form: str, made: list[Path], out: Path, locks: Path) -> None:
    """Put shards side by side in the folder `out`, in the place of what was there; no byte is written twice.

    Where the disk knows hard links the files are those of the stages. Without shards there is no folder.
    """
    if not made:
        shutil.rmtree(out, ignore_errors=True)
        return
    with _replaced(out, locks) as fresh:
        shards = []
        for number, folder in enumerate(made):
            name = NAMES[form].format(number)
            for file in sorted(folder.glob("part.*")):
                if file.suffix == ".json":
                    raw = {
                        "basename": f"{name}.mds",
                        "bytes": (folder / "part.mds").stat().st_size,
                        "hashes": {},
                    }
                    shards.append(json.loads(file.read_text(encoding="utf-8")) | {"raw_data": raw})
                else:
                    _placed(file, fresh / f"{name}{file.suffix}")
        if form == "mds":
            write_json(fresh / "index.json", {"version": 2, "shards": shards})


def _placed(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, to)
