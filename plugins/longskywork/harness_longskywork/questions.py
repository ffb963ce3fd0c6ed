"""One question on a table: its wording, its program, its answer with the work shown, and where it lies.

An operation returns None where the table allows no question without doubt: a value that occurs twice, a tie, a
group too large to name its rows. Answers have one form: digits without separators, ISO dates, no rounding but
down.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness_longskywork.schemas import Language, Schema

NAMED = 12  # rows that an answer's work may name


@dataclass
class Sheet:
    """A table's cells, and the flaws it was given, if any."""

    language: Language
    schema: Schema
    header: list[str]
    kinds: list[str]
    rows: list[list[str]]
    twice: str = ""  # a key that stands in two rows
    negative: int = 0  # the column with a negative number
    turn: tuple[int, int] | None = None  # column, row of its summit


def question(random: np.random.Generator, sheet: Sheet, operation: str, split: str) -> dict[str, Any] | None:
    """Return `{"question", "answer", "steps", "depth", "program"}`, or None where it cannot be asked."""
    found = ASK[operation](random, sheet)
    if found is None:
        return None
    program, answer, steps, row = found
    words: tuple[str, ...] = sheet.language.wordings[split][operation]
    wording = words[int(random.integers(len(words)))]
    text = wording.format(**program, keys=sheet.schema.key)
    depth = None if row is None else (row + 0.5) / len(sheet.rows)
    return {
        "question": text[0].upper() + text[1:],
        "answer": answer,
        "steps": steps,
        "depth": depth,
        "program": {"operation": operation, **program},
    }


Asked = tuple[dict[str, str], str, list[str], int | None] | None


def _row(random: np.random.Generator, sheet: Sheet) -> int:
    """Draw a row, uniform over the depth, whose key is its own."""
    row = int(random.integers(len(sheet.rows)))
    return row if sheet.rows[row][0] != sheet.twice else _row(random, sheet)


def _column(random: np.random.Generator, sheet: Sheet, *kinds: str) -> int:
    there = [c for c, kind in enumerate(sheet.kinds) if kind in kinds]
    return int(random.choice(there)) if there else 0


def _value(random: np.random.Generator, sheet: Sheet) -> int:
    return int(random.integers(1, len(sheet.header)))


def _cell(random: np.random.Generator, sheet: Sheet) -> Asked:
    row, column = _row(random, sheet), _value(random, sheet)
    cells = sheet.rows[row]
    return {"column": sheet.header[column], "key": cells[0]}, cells[column], [], row


def _whole(random: np.random.Generator, sheet: Sheet) -> Asked:
    row = _row(random, sheet)
    return {"key": sheet.rows[row][0]}, "; ".join(sheet.rows[row]), [], row


def _key_of(random: np.random.Generator, sheet: Sheet) -> Asked:
    row, column = _row(random, sheet), _column(random, sheet, "number", "date", "name")
    value = sheet.rows[row][column]
    if not column or sum(cells[column] == value for cells in sheet.rows) > 1:
        return None
    return {"column": sheet.header[column], "value": value}, sheet.rows[row][0], [], row


def _two_cells(random: np.random.Generator, sheet: Sheet) -> Asked:
    row, other, column = _row(random, sheet), _row(random, sheet), _value(random, sheet)
    if row == other:
        return None
    cells, others = sheet.rows[row], sheet.rows[other]
    program = {"column": sheet.header[column], "key": cells[0], "other": others[0]}
    return program, f"{cells[column]}, {others[column]}", [], row


def _absent(random: np.random.Generator, sheet: Sheet) -> Asked:
    key = f"{sheet.schema.prefix}-{int(random.integers(10_000, 100_000))}"
    if any(key in cells for cells in sheet.rows):
        return None
    return {"column": sheet.header[_value(random, sheet)], "key": key}, sheet.language.absent, [], None


def _grouped(random: np.random.Generator, sheet: Sheet) -> tuple[str, list[int], int]:
    """Return a group, the rows in it, and a column of numbers; the row that chose it lies anywhere."""
    value = sheet.rows[int(random.integers(len(sheet.rows)))][1]
    rows = [i for i, cells in enumerate(sheet.rows) if cells[1] == value]
    return value, rows, _column(random, sheet, "number")


def _over(operation: str) -> Any:
    def ask(random: np.random.Generator, sheet: Sheet) -> Asked:
        value, rows, column = _grouped(random, sheet)
        if len(rows) > NAMED or not column:
            return None
        program = {"group": sheet.header[1], "value": value, "column": sheet.header[column]}
        numbers = [int(sheet.rows[i][column]) for i in rows]
        steps = [
            f"{sheet.rows[i][0]}: {sheet.header[column]} {n}" for i, n in zip(rows, numbers, strict=True)
        ]
        total = sum(numbers)
        if operation == "count":
            holds = sheet.language.holds
            steps = [holds.format(key=sheet.rows[i][0], group=sheet.header[1], value=value) for i in rows]
            return program, str(len(rows)), steps, None
        if operation == "sum":
            return program, str(total), [*steps, f"{' + '.join(map(str, numbers))} = {total}"], None
        if operation == "mean":
            floor = sheet.language.floor.format(total=total, count=len(rows))
            return program, str(total // len(rows)), [*steps, floor], None
        return program, str(min(numbers) if operation == "min" else max(numbers)), steps, None

    return ask


def _top(random: np.random.Generator, sheet: Sheet) -> Asked:
    value, rows, column = _grouped(random, sheet)
    ranked = sorted(rows, key=lambda i: -int(sheet.rows[i][column]))
    numbers = [sheet.rows[i][column] for i in ranked]
    if not 2 <= len(rows) <= NAMED or len(set(numbers)) < len(numbers):
        return None
    program = {"group": sheet.header[1], "value": value, "column": sheet.header[column]}
    steps = [f"{sheet.rows[i][0]}: {sheet.header[column]} {sheet.rows[i][column]}" for i in ranked]
    return program, f"{sheet.rows[ranked[0]][0]}, {sheet.rows[ranked[1]][0]}", steps, None


def _compare(random: np.random.Generator, sheet: Sheet) -> Asked:
    row, other, column = _row(random, sheet), _row(random, sheet), _column(random, sheet, "number")
    cells, others = sheet.rows[row], sheet.rows[other]
    if cells[column] == others[column]:
        return None
    program = {"column": sheet.header[column], "key": cells[0], "other": others[0]}
    steps = [f"{each[0]}: {sheet.header[column]} {each[column]}" for each in (cells, others)]
    return program, (cells if int(cells[column]) > int(others[column]) else others)[0], steps, row


def _two_hop(random: np.random.Generator, sheet: Sheet) -> Asked:
    row, column = _row(random, sheet), int(random.integers(3, len(sheet.header)))
    cells = sheet.rows[row]
    found = next(other for other in sheet.rows if other[0] == cells[2])
    if cells[2] == sheet.twice:
        return None
    program = {"column": sheet.header[column], "key": cells[0], "reference": sheet.header[2]}
    steps = [
        f"{cells[0]}: {sheet.header[2]} {cells[2]}",
        f"{found[0]}: {sheet.header[column]} {found[column]}",
    ]
    return program, found[column], steps, row


def _rows(random: np.random.Generator, sheet: Sheet) -> Asked:
    return {}, str(len(sheet.rows)), [], None


def _frequent(random: np.random.Generator, sheet: Sheet) -> Asked:
    column = _column(random, sheet, "category")
    if not column:
        return None
    (first, most), *others = Counter(cells[column] for cells in sheet.rows).most_common(2)
    if others and others[0][1] == most:
        return None
    return {"column": sheet.header[column]}, first, [], None


def _end(place: int) -> Any:
    def ask(random: np.random.Generator, sheet: Sheet) -> Asked:
        return {}, sheet.rows[place][0], [], None

    return ask


def _duplicate(random: np.random.Generator, sheet: Sheet) -> Asked:
    return ({}, sheet.twice, [], None) if sheet.twice else None


def _negative(random: np.random.Generator, sheet: Sheet) -> Asked:
    return ({}, sheet.header[sheet.negative], [], None) if sheet.negative else None


def _turn(random: np.random.Generator, sheet: Sheet) -> Asked:
    if sheet.turn is None:
        return None
    column, row = sheet.turn
    return {"column": sheet.header[column]}, sheet.rows[row][0], [], row


ASK: dict[str, Any] = {
    "cell": _cell, "row": _whole, "key_of": _key_of, "two_cells": _two_cells, "absent": _absent,
    **{name: _over(name) for name in ("count", "sum", "mean", "min", "max")},
    "compare": _compare, "two_hop": _two_hop, "top": _top, "rows": _rows, "frequent": _frequent,
    "first": _end(0), "last": _end(-1), "duplicate": _duplicate, "negative": _negative, "turn": _turn,
}  # fmt: skip
