"""Files of text and of tables: what they hold, what is wrong with them, and their digest.

A text file is one document; its rows are its lines that are not blank, as `{"text": line}`. A table
(jsonl, json, csv, tsv, parquet) has a row a record. A folder is the files in it that can be read, in
sorted order, without those that are about the data (README, LICENSE ...). All text is UTF-8.
A tsv is read with quoting off, since sentence data are full of unbalanced quotes; a csv with it on.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import UsageError, nearest

TABLES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
TEXTS = (".txt", ".text", ".md", ".rst", ".py")
ABOUT = re.compile(r"(SOURCE|README|LICEN[CS]E|NOTICE|COPYING).*|(source|readme|licen[cs]e|notice)(\.\w+)?")
LARGE = 16 * 2**20  # a file from this size on has its digest kept, by size and time of change


def data_files(path: Path) -> list[Path]:
    """Return the files that `path` stands for: itself, or those of a folder that can be read."""
    if path.is_file():
        return [path]
    if not path.exists():
        raise UsageError(f"{path} does not exist, {_neighbours(path)}")
    found = [
        file
        for file in sorted(path.rglob("*"), key=lambda f: f.relative_to(path).parts)
        if file.is_file()
        and file.suffix.lower() in TABLES + TEXTS
        and not ABOUT.fullmatch(file.name)
        and not any(part.startswith((".", "__")) for part in file.relative_to(path).parts[:-1])
        and not file.name.startswith(".")
    ]
    if not found:
        raise UsageError(f"{path} holds no file that can be read: put in one of {' '.join(TEXTS + TABLES)}")
    return found


def _neighbours(path: Path) -> str:
    parent = path.absolute().parent
    if not parent.is_dir():
        return f"nor does its folder {parent} (a data set of the hub is written hub:<id>)"
    names = [p.name for p in parent.iterdir()]
    hint = nearest(path.name, names)
    return hint if len(hint) < 200 else f"but {len(names)} other names do in {parent}: check the spelling"


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield each record of one file. Raises UsageError with the line that is not one."""
    match path.suffix.lower():
        case ".parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches():
                    yield from batch.to_pylist()
        case ".csv" | ".tsv":
            yield from _delimited(path)
        case ".jsonl":
            with path.open(encoding="utf-8-sig") as lines:
                for number, line in enumerate(lines, 1):
                    if not line.isspace():
                        yield _record(path, line, number)
        case ".json":
            yield from _json(path)
        case _:
            with path.open(encoding="utf-8-sig") as lines:
                for line in lines:
                    if not line.isspace():
                        yield {"text": line.rstrip("\n")}


def _delimited(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    tabs = path.suffix.lower() == ".tsv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(file)
        names = next(reader, [])
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(names):
                raise UsageError(
                    f"{path} line {reader.line_num} has {len(fields)} fields, its header {len(names)}: "
                    f"mend that line, or the {'tabs' if tabs else 'quotes'} before it"
                )
            yield dict(zip(names, fields, strict=True))


def _record(path: Path, text: str, line: int) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} line {line} is not JSON ({error.msg}): mend or remove it") from None
    if not isinstance(record, dict):
        raise UsageError(f'{path} line {line} is not a JSON object: write it as {{"text": ...}}')
    return record


def _json(path: Path) -> Iterator[dict[str, Any]]:
    """A .json file is one record, or a list of them."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        hint = "call it .jsonl if it has a record a line" if error.msg == "Extra data" else "mend it there"
        raise UsageError(f"{path} line {error.lineno} is not JSON ({error.msg}): {hint}") from None
    for record in value if isinstance(value, list) else [value]:
        if not isinstance(record, dict):
            raise UsageError(
                f"{path} is not a list of JSON objects: make each one an object with named columns"
            )
        yield record


def text(path: Path) -> str:
    """Return a text file whole, with line breaks as `\\n`."""
    return path.read_text(encoding="utf-8-sig")


def columns(path: Path) -> tuple[str, ...]:
    """Return the columns of a file: of a text file `text`, of a table those of its first record."""
    if path.suffix.lower() not in TABLES:
        return ("text",)
    first = next(rows(path), None)
    if first is None:
        raise UsageError(f"{path} has no rows: give a table with at least one")
    return tuple(first)


def digest(path: Path, cache: Path) -> str:
    """Return the SHA-256 of data: of a file, or of a folder's listing, `<sha256>  <relative path>` a line.

    Reading every byte, it refuses at once what is empty, binary or not UTF-8.
    """
    return _digest(path, data_files(path), cache, _read_through)


def model_digest(path: Path, cache: Path) -> str:
    """Return the SHA-256 of a file or of a folder's listing, over all its files whatever they hold."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return _digest(path, [p for p in files if not p.name.startswith(".")], cache, _sha256)


def _digest(path: Path, files: list[Path], cache: Path, read: Callable[[Path], str]) -> str:
    if path.is_file():
        return _kept(path, cache, read)
    listing = (f"{_kept(file, cache, read)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return hashlib.sha256("".join(listing).encode()).hexdigest()


def _kept(path: Path, cache: Path, read: Callable[[Path], str]) -> str:
    """Return `read(path)`, from the cache where a large file has not changed since."""
    status = path.stat()
    if status.st_size < LARGE:
        return read(path)
    key = hashlib.sha256(f"{read.__name__} {path.resolve()}".encode()).hexdigest()
    stamp, kept = f"{status.st_size} {status.st_mtime_ns} ", cache / "digests" / key
    if kept.exists() and kept.read_text().startswith(stamp):
        return kept.read_text().removeprefix(stamp)
    found = read(path)
    kept.parent.mkdir(parents=True, exist_ok=True)
    temporary = kept.with_name(f".{key}.{os.getpid()}")
    temporary.write_text(stamp + found)
    temporary.replace(kept)
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_through(path: Path) -> str:
    """Return a data file's SHA-256, or say why it cannot be one."""
    seen, blank = hashlib.sha256(), True
    check = None if path.suffix.lower() == ".parquet" else _TextCheck(path)
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            seen.update(chunk)
            blank = blank and chunk.isspace()
            if check:
                check(chunk)
    if check:
        check(b"", final=True)
    if blank:
        raise UsageError(f"{path} is empty: give a file with text in it")
    return seen.hexdigest()


class _TextCheck:
    """Follow a file's bytes and name the first that is no UTF-8 text."""

    def __init__(self, path: Path) -> None:
        self.path, self.decoder = path, codecs.getincrementaldecoder("utf-8")()
        self.offset, self.lines = 0, 1  # of the next byte

    def __call__(self, chunk: bytes, final: bool = False) -> None:
        path = self.path
        if self.offset == 0 and chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise UsageError(f"{path} is UTF-16, not UTF-8: convert it with {_iconv(path, 'UTF-16')}")
        if b"\0" in chunk:
            where = self.offset + chunk.index(b"\0")
            raise UsageError(
                f"{path} is binary (byte {where} is zero), not text: give {' '.join(TEXTS + TABLES)}"
            )
        kept = len(self.decoder.getstate()[0])  # bytes of a character that the last chunk cut
        try:
            self.decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            start = error.start - kept  # in this chunk; the kept bytes hold no line break
            line = self.lines + chunk[: max(0, start)].count(b"\n")
            raise UsageError(
                f"{path} is not UTF-8 (byte {self.offset + start}, line {line}): convert it with "
                f"{_iconv(path, 'ITS_ENCODING')} (Korean: CP949, Western: LATIN1)"
            ) from None
        self.offset += len(chunk)
        self.lines += chunk.count(b"\n")


def _iconv(path: Path, encoding: str) -> str:
    return f"iconv -f {encoding} -t UTF-8 {path.name} > {path.stem}-utf8{path.suffix}"
