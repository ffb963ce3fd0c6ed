"""Files of text and of tables: what they hold, what is wrong with them, and their digest.

A text file is one document; its rows are its lines that are not blank, as `{"text": line}`. A table
(jsonl, json, csv, tsv, parquet) has a row a record. A folder is the files in it that can be read, in
sorted order, without those that are about the data (README, LICENSE ...). All text is UTF-8.
A csv is read with quoting on. So is a tsv in which every field that begins with a quote was quoted by a writer,
as pandas does; any other with quoting off, since sentence data are full of unbalanced quotes. What cannot be
read is refused in one sentence.
"""

from __future__ import annotations

import codecs
import csv
import errno
import hashlib
import io
import json
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import UsageError, nearest, said

TABLES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
TEXTS = (".txt", ".text", ".md", ".rst", ".py")
ABOUT = re.compile(r"(SOURCE|README|LICEN[CS]E|NOTICE|COPYING).*|(source|readme|licen[cs]e|notice)(\.\w+)?")
LINE = 2**27  # characters; no record is longer, so what is read line by line fits into memory
HALF = re.compile(r"\\u[dD][89a-fA-F]")  # the escape of one half of a character beyond 16 bits
QUOTED = re.compile(r'"(?:[^"]|"")*"')  # a field that a writer quoted
LARGE = 16 * 2**20  # a file from this size on has its digest kept, by size and time of change


def data_files(path: Path) -> list[Path]:
    """Return the files that `path` stands for: itself, or those of a folder that can be read."""
    if not there(path):
        raise UsageError(f"{path} does not exist: {_neighbours(path)}")
    if path.is_file():
        return [path]
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
    for file in found:
        if file.is_symlink() and not file.resolve().is_relative_to(path.resolve()):
            raise UsageError(
                f"{file} is a link that leads outside its folder, to {file.resolve()}: copy that file into the "
                "folder, or name it itself"
            )
    return found


def there(path: Path) -> bool:
    """Say whether a path leads to something; False for a name that no file can have."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
            return False
        raise UsageError(f"{path} cannot be read ({error.strerror}): check your rights to it") from None
    except ValueError:  # a zero byte
        return False
    return True


def _neighbours(path: Path) -> str:
    parent = path.absolute().parent
    if not (there(parent) and parent.is_dir()):
        return f"nor does its folder {parent}; a data set of the hub is written hub:<id>"
    names = [p.name for p in parent.iterdir()]
    hint = nearest(path.name, names)
    return hint if len(hint) < 200 else f"check the spelling, {len(names)} other names do in {parent}"


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield each record of one file. Raises UsageError with the line that is not one."""
    match path.suffix.lower():
        case ".parquet":
            yield from _parquet(path)
        case ".csv" | ".tsv":
            yield from _delimited(path)
        case ".jsonl":
            for number, line in enumerate(_lines(path), 1):
                if not line.isspace():
                    yield _record(path, line, number)
        case ".json":
            yield from _json(path)
        case _:
            for line in _lines(path):
                if not line.isspace():
                    yield {"text": line.rstrip("\n")}


def _lines(path: Path, newline: str | None = None) -> Iterator[str]:
    """Yield a file's lines, none of which may take more memory than a record ever needs."""
    with path.open(encoding="utf-8-sig", newline=newline) as file:
        for number, line in enumerate(iter(partial(file.readline, LINE), ""), 1):
            if len(line) == LINE and line[-1] not in "\r\n":
                raise UsageError(
                    f"{path} line {number} is longer than {LINE:,} characters: break it, so that each record is a line"
                )
            yield line


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(
            f"{path} is not a whole parquet file ({said(error)[:150]}): write or fetch it again"
        ) from None


def _delimited(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(LINE)
    tabs = path.suffix.lower() == ".tsv"
    raw = tabs and not _quoted(path)
    reader = csv.reader(
        _lines(path, newline=""),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if raw else csv.QUOTE_MINIMAL,
    )
    sign = "tabs" if raw else "quotes"
    try:
        names = next(reader, [])
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(names):
                raise UsageError(
                    f"{path} line {reader.line_num} has {len(fields)} fields, its header {len(names)}: "
                    f"correct that line, or the {sign} before it"
                )
            yield dict(zip(names, fields, strict=True))
    except csv.Error as error:
        raise UsageError(
            f"{path} line {reader.line_num} cannot be read ({error}): correct it, or the {sign} before it"
        ) from None


def _quoted(path: Path) -> bool:
    """Say whether a tsv was written with quotes: whether every field that begins with one was quoted by a writer.

    Such a field ends with a quote too, and has all quotes inside doubled (pandas, Excel, R). Where some have that
    form and others do not, nothing is undone, and a warning says how many look quoted. Quotes that would join
    lines which are whole without them are a writer's only if writing the records again gives the file.
    """
    with path.open("rb") as file:
        if not any(b'"' in chunk for chunk in iter(partial(file.read, 2**20), b"")):
            return False
    taken: list[str] = []
    raw: set[int] = set()  # fields a line, quotes or not
    form: Counter[str] = Counter()

    def noted() -> Iterator[str]:
        for line in _lines(path, newline=""):
            taken.append(line)
            yield line

    widths: set[int] = set()
    exact, joined, header = True, False, ""
    try:
        for fields in csv.reader(noted(), delimiter="\t", strict=True):
            record = "".join(taken).rstrip("\r\n")
            raw |= {line.count("\t") + 1 for line in taken if line.strip()}
            taken.clear()
            header = header or record
            widths |= {len(fields)} - {0}
            joined = joined or any("\n" in field or "\t" in field for field in fields)
            exact = exact and (not fields or _written(fields) == record)
    except csv.Error:  # unbalanced
        widths = set()
    # Sentences come without quotes around the names of their columns.
    named = all(QUOTED.fullmatch(field) for field in header.split("\t"))
    if len(widths) == 1 and (not joined or exact or named or len(raw) > 1):
        return True
    for line in _lines(path, newline=""):
        for field in line.rstrip("\r\n").split("\t"):
            whole = QUOTED.fullmatch(field)
            form["doubled" if whole and '""' in field[1:-1] else "whole" if whole else "other"] += (
                field[:1] == '"'
            )
    if form["doubled"] and form["other"]:
        warnings.warn(
            f"{path}: {form['doubled']} fields look quoted by a writer, and {form['other']} begin with a quote and are "
            "not, so all are read as they stand: save it as csv, or correct the others, to have the quotes undone",
            stacklevel=2,
        )
    return False


def _written(fields: list[str]) -> str:
    """Return a record as a writer writes it that quotes where it must."""
    written = io.StringIO()
    csv.writer(written, delimiter="\t").writerow(fields)
    return written.getvalue().removesuffix("\r\n")


def _record(path: Path, text: str, line: int) -> dict[str, Any]:
    try:
        record = _value(f"{path} line {line}", text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} line {line} is not JSON ({error.msg}): correct or remove it") from None
    if not isinstance(record, dict):
        raise UsageError(f'{path} line {line} is not a JSON object: write it as {{"text": ...}}')
    return record


def _json(path: Path) -> Iterator[dict[str, Any]]:
    """A .json file is one record, or a list of them."""
    try:
        value = _value(str(path), "".join(_lines(path)))
    except json.JSONDecodeError as error:
        hint = "call it .jsonl if it has a record a line" if error.msg == "Extra data" else "correct it there"
        raise UsageError(f"{path} line {error.lineno} is not JSON ({error.msg}): {hint}") from None
    for record in value if isinstance(value, list) else [value]:
        if not isinstance(record, dict):
            raise UsageError(
                f"{path} is not a list of JSON objects: make each one an object with named columns"
            )
        yield record


def _value(place: str, text: str) -> Any:
    """Parse JSON; raises JSONDecodeError for what is none, and UsageError for what nothing could work with."""
    try:
        value = json.loads(text)
        if HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise UsageError(
            f"{place} nests thousands of lists or objects: give columns of text and numbers"
        ) from None
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise UsageError(
            f"{place} holds half a character, {half}: remove it, or write the whole one"
        ) from None
    except ValueError:
        digits = sys.get_int_max_str_digits()
        raise UsageError(
            f"{place} holds a whole number of more than {digits:,} digits: write it as text, in quotes"
        ) from None
    return value


def reach(row: Mapping[str, Any], column: str) -> Any:
    """Return what a row holds in a column: `labels.score` is `score` of the object in `labels`. Raises KeyError."""
    if column in row:
        return row[column]
    outer, dot, inner = column.partition(".")
    if not dot or not isinstance(row.get(outer), Mapping):
        raise KeyError(column)
    return reach(row[outer], inner)


def _names(row: Mapping[str, Any], outer: str = "") -> Iterator[str]:
    """Yield the names by which a row's columns can be reached: its own first."""
    yield from (f"{outer}{name}" for name in row)
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{outer}{name}.")


def text(path: Path) -> str:
    """Return a text file whole, with line breaks as `\\n`."""
    return path.read_text(encoding="utf-8-sig")


def columns(path: Path) -> tuple[str, ...]:
    """Return the columns of a file: of a text file `text`, of a table those of its first record, nested ones last."""
    if path.suffix.lower() not in TABLES:
        return ("text",)
    first = next(rows(path), None)
    if first is None:
        raise UsageError(f"{path} has no rows: give a table with at least one")
    return tuple(_names(first))


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
