"""A table as text, in four forms, and read back from it: what the checker works on is the text alone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

FORMS = ("markdown", "csv", "json_lines", "key_values")


def head(form: str, header: Sequence[str]) -> str:
    """Return what stands above the rows."""
    if form == "markdown":
        return f"| {' | '.join(header)} |\n|{' --- |' * len(header)}\n"
    return ",".join(header) + "\n" if form == "csv" else ""


def row_text(form: str, header: Sequence[str], row: Sequence[str]) -> str:
    """Return one row as text, with its line break."""
    if form == "markdown":
        return f"| {' | '.join(row)} |\n"
    if form == "csv":
        return ",".join(row) + "\n"
    if form == "json_lines":
        return json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) + "\n"
    return "".join(f"{name}: {value}\n" for name, value in zip(header, row, strict=True)) + "\n"


def read(form: str, text: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a serialised table."""
    if form == "csv":
        lines = list(csv.reader(io.StringIO(text)))
        return lines[0], lines[1:]
    if form == "markdown":
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().split("\n")]
        return lines[0], lines[2:]
    if form == "json_lines":
        records = [json.loads(line) for line in text.strip().split("\n")]
    else:
        blocks = text.strip().split("\n\n")
        records = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    return list(records[0]), [list(record.values()) for record in records]
