"""People's own summaries: read from one table or three text files, and written with a score an item.

An `id` column is carried through, and items of one document get one `group`: they are not independent.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness_rdass.judging import blank

FIELDS = ("document", "reference", "summary")
ENDINGS = (".csv", ".json", ".jsonl", ".parquet")
Column = Sequence[str]


@dataclass(frozen=True)
class Given:
    """Documents, references and summaries by column, and the items' names where the table has an `id`."""

    columns: Mapping[str, Column]
    ids: Column | None = None

    @property
    def groups(self) -> list[int]:
        """Return a number for each item, alike where items share a document, from 1 on."""
        return numbered(self.columns["document"])


def numbered(names: Sequence[Any]) -> list[int]:
    """Return the number of each name among the distinct ones, from 1 on."""
    number = {name: i for i, name in enumerate(dict.fromkeys(names), 1)}
    return [number[name] for name in names]


def rows_of(name: str, fields: Sequence[str] = FIELDS) -> list[dict[str, Any]]:
    """Return a table's records; it must have `fields`."""
    from harness.data.sources import resolve

    with tempfile.TemporaryDirectory() as cache:
        return list(resolve(name, cache=Path(cache), columns=fields).rows())


def from_table(name: str) -> Given:
    """Read one table. An empty summary stays; an empty document or reference is named with its row."""
    rows = rows_of(name)
    for number, row in enumerate(rows, 1):
        if row.get("summary", "") is None:
            row["summary"] = ""  # a system that wrote nothing
        for field in FIELDS:
            text = row.get(field)
            if not isinstance(text, str) or (field != "summary" and blank(text)):
                raise UsageError(
                    f"row {number} of {name} has an empty or no `{field}`: fill it in, or remove it"
                )
    named = bool(rows) and all(row.get("id") is not None for row in rows)
    ids = [str(row["id"]) for row in rows] if named else None
    return Given({field: [row[field] for row in rows] for field in FIELDS}, ids)


def from_files(paths: Sequence[Path | None]) -> Given:
    """Read three text files of a line an item; the first trouble is named with its file and line."""
    given = [path for path in paths if path is not None]
    if len(given) < len(FIELDS):
        raise UsageError(
            "there is nothing to score: "
            "give --documents, --references and --summaries (text files, an item a line), or one table"
        )
    columns = {
        field: lines(path, empty=field == "summary") for field, path in zip(FIELDS, given, strict=True)
    }
    counts = {len(column) for column in columns.values()}
    if len(counts) > 1:
        told = ", ".join(f"{path} {len(c)}" for path, c in zip(given, columns.values(), strict=True))
        raise UsageError(f"the files have different numbers of lines ({told}): line n of each is one item")
    return Given(columns)


def lines(path: Path, empty: bool = False) -> Column:
    """Return the lines of a UTF-8 text file; UsageError names the line that is no UTF-8, or empty if none may be."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}: check the name")
    found = []
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            found.append(line.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{path} line {number} is not UTF-8 (byte {error.start + 1}): convert the file with "
                f"iconv -f CP949 -t UTF-8 (Korean) or -f LATIN1 (Western)"
            ) from None
    if found and not found[-1]:
        found.pop()  # after the last line break
    for number, text in enumerate(found, 1):
        if blank(text) and not empty:
            raise UsageError(f"{path} line {number} is empty: fill it in, or remove that line from all three")
    if not found:
        raise UsageError(f"{path} is empty: give a line an item")
    return found


def write(out: Path, report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write an item a row; a .json has the means too."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(map(dict, rows))), out)
    elif out.suffix == ".csv":
        with out.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif out.suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        out.write_text(text, encoding="utf-8")
    else:
        whole = json.dumps({**report, "scores": rows}, ensure_ascii=False, indent=1)
        out.write_text(whole + "\n", encoding="utf-8")
