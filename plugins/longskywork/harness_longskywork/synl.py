"""SynL: lengthy tables made by program, with questions whose answers come from the table itself.

Columns are typed, rows fill the table to a token count drawn log-uniformly, and the row an answer depends on is
drawn uniformly over the depth. Retrieval asks for cells, reasoning works over a few rows and shows its work,
global questions need the whole table. The paper's own columns, wordings and proportions are not known: these
are ours. `checking` executes every question again, by other means.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness_longskywork.questions import Sheet, question
from harness_longskywork.schemas import ENGLISH, KINDS, SCHEMAS, Language, Schema
from harness_longskywork.serialising import FORMS, head, row_text

ABSENT_SHARE = 0.08  # of retrieval questions: the key is not in the table


def language(name: str) -> Language:
    """Return what tables in this language are made of; UsageError for one that is not there."""
    from harness_longskywork.korean import KOREAN

    known = {"en": ENGLISH, "ko": KOREAN}
    if name not in known:
        raise UsageError(f"tables are not written in {name!r}: give {' or '.join(known)}")
    return known[name]


def tables(
    count: int,
    tokens: tuple[int, int],
    seed: int,
    split: str = "train",
    length: Callable[[str], int] | None = None,
    questions: int = 8,
    words: Language = ENGLISH,
) -> list[dict[str, Any]]:
    """Return `count` tables of `tokens` (least, most) tokens with 1 to `questions` questions each.

    A row is `{"table", "form", "questions", "answers", "steps", "kind", "depth", "programs", "tokens", "schema"}`; all
    but the table's own are lists, one entry a question; a depth is None where no single row decides. `split` is
    "train" or "test", which share no schema and no wording; `words` is the language. `length` counts a text's tokens;
    by default a word, a digit, a mark and a syllable of Hangul are one each. Raises UsageError where a size cannot hold
    the header and 12 rows.
    """
    if split not in SCHEMAS:
        raise UsageError(f"split={split!r} is not known: use train or test")
    least, most = tokens
    if not 0 < least <= most:
        raise UsageError(f"tokens={least}:{most} is no range: give least:most, both above 0")
    found = []
    for number in range(count):
        # The split is in the seed, so the two never share a table.
        random = np.random.default_rng([seed, sorted(SCHEMAS).index(split), number])
        target = math.exp(random.uniform(math.log(least), math.log(most)))
        found.append(_table(random, target, split, length or plain_length, questions, words))
    return found


def plain_length(text: str) -> int:
    """Count tokens without a tokenizer: words, single digits and marks."""
    return len(re.findall(r"[A-Za-z_]+|\d|[^\sA-Za-z_\d]", text))


def _table(
    random: np.random.Generator,
    target: float,
    split: str,
    length: Callable[[str], int],
    most: int,
    words: Language,
) -> dict[str, Any]:
    schema = words.schemas[split][int(random.integers(len(words.schemas[split])))]
    form = str(random.choice(FORMS))
    columns = int(random.integers(5, 13))
    for width in (columns, 5, 4):  # the narrowest where the size is small
        sheet = _fill(random, words, schema, width, form, target, length)
        if len(sheet.rows) >= 12:
            break
    else:
        raise UsageError(
            f"a table of {target:.0f} tokens holds its header and {len(sheet.rows)} rows, fewer than 12: "
            f"ask for {_enough(random, words, split, length):,} tokens or more a table"
        )
    text = head(form, sheet.header) + "".join(row_text(form, sheet.header, row) for row in sheet.rows)
    row: dict[str, Any] = {
        "table": text, "form": form, "schema": schema.subject, "tokens": length(text),
        "questions": [], "answers": [], "steps": [], "kind": [], "depth": [], "programs": [],
    }  # fmt: skip
    wanted = int(random.integers(1, most + 1))
    tries = 0
    while len(row["questions"]) < wanted and tries < 40 * most:
        tries += 1
        kind = str(random.choice(list(KINDS)))
        operation = str(random.choice([name for name in KINDS[kind] if name != "absent"]))
        if kind == "retrieval" and random.random() < ABSENT_SHARE:
            operation = "absent"
        asked = question(random, sheet, operation, split)
        if asked is None or asked["question"] in row["questions"]:
            continue  # the table does not allow it, or not without doubt
        row["questions"].append(asked["question"])
        row["answers"].append(asked["answer"])
        row["steps"].append(asked["steps"])
        row["kind"].append(kind)
        row["depth"].append(asked["depth"])
        row["programs"].append(asked["program"])
    return row


def _enough(random: np.random.Generator, words: Language, split: str, length: Callable[[str], int]) -> int:
    """Return a number of tokens, in hundreds, that holds 12 rows of any schema in any form and a tenth more."""
    size = 0
    for schema, form in itertools.product(words.schemas[split], FORMS):
        while len(_fill(random, words, schema, 4, form, size, length).rows) < 12:
            size += 100
    return 100 * math.ceil(1.1 * size / 100)


def _fill(
    random: np.random.Generator,
    words: Language,
    schema: Schema,
    width: int,
    form: str,
    target: float,
    length: Callable[[str], int],
) -> Sheet:
    """Fill a sheet to `target` tokens; its flaws (a key twice, a negative number, a turn) in a fifth each."""
    more = schema.more[: width - 3]
    header = [schema.key, schema.group, schema.reference, *(name for name, _ in more)]
    kinds = ["key", "group", "reference", *(kind for _, kind in more)]
    # A first row tells how many there will be: keys, references and groups are drawn for so many.
    room = target - length(head(form, header))
    trial = list(_rows(random, words, schema, kinds, 0, ["XX-10000"] * 4, 16))
    each = sum(length(row_text(form, header, row)) for row in trial) / len(trial)
    rough = max(1, int(1.3 * room / each) + 2)
    keys = [f"{schema.prefix}-{n}" for n in random.choice(90_000, min(rough, 90_000), replace=False) + 10_000]
    rows: list[list[str]] = []
    used = 0
    for key, row in zip(keys, _rows(random, words, schema, kinds, rough, keys, len(keys)), strict=True):
        row[0] = key
        size = length(row_text(form, header, row))
        if used + size / 2 > room:
            break
        rows.append(row)
        used += size
    sheet = Sheet(words, schema, header, kinds, rows)
    present = [row[0] for row in rows]
    for i, row in enumerate(rows):  # a reference names a row that is there, and another one
        row[2] = present[(i + 1 + int(random.integers(max(1, len(rows) - 1)))) % len(rows)]
    if len(rows) >= 12:
        _flaw(random, sheet)
    return sheet


def _flaw(random: np.random.Generator, sheet: Sheet) -> None:
    flaw = random.random()
    numbers = [c for c, kind in enumerate(sheet.kinds) if kind == "number"]
    column = int(random.choice(numbers))
    count = len(sheet.rows)
    if flaw < 0.2:
        i, j = random.choice(count, 2, replace=False)
        gone, kept = sheet.rows[i][0], sheet.rows[j][0]
        for row in sheet.rows:  # no reference may lead to a key that is gone, or that is there twice
            if row[2] in (gone, kept):
                others = [other[0] for other in sheet.rows[:5] if other[0] not in (gone, kept, row[0])]
                row[2] = others[0]
        sheet.rows[i][0] = kept
        sheet.twice = kept
    elif flaw < 0.4:
        row = sheet.rows[int(random.integers(count))]
        row[column] = f"-{row[column]}"
        sheet.negative = column
    elif flaw < 0.6:
        turn = int(random.integers(2, count - 2))
        steps = random.integers(1, 9, size=count)
        value = 100
        for i, row in enumerate(sheet.rows):
            value += int(steps[i]) if i <= turn else -int(steps[i])
            row[column] = str(value + 10 * count)
        sheet.turn = (column, turn)


def _rows(
    random: np.random.Generator,
    words: Language,
    schema: Schema,
    kinds: list[str],
    rough: int,
    keys: list[str],
    count: int,
) -> Iterator[list[str]]:
    """Yield `count` rows, drawn a column at a time: a draw for every cell alone would take most of the time."""
    columns = [_column(random, words, schema, kind, rough, keys, count) for kind in kinds]
    return map(list, zip(*columns, strict=True))


def _column(
    random: np.random.Generator,
    words: Language,
    schema: Schema,
    kind: str,
    rough: int,
    keys: list[str],
    count: int,
) -> list[str]:
    def draw(low: int, high: int) -> list[int]:
        found: list[int] = random.integers(low, high, size=count).tolist()
        return found

    if kind == "group":
        return [f"{schema.group[0].upper()}{n:04d}" for n in draw(0, max(2, rough // 5))]
    if kind == "number":
        return [str(n) for n in draw(100, 10_000)]
    if kind == "date":
        dates = zip(draw(1950, 2024), draw(1, 13), draw(1, 29), strict=True)
        return [f"{year}-{month:02d}-{day:02d}" for year, month, day in dates]
    if kind == "category":
        # The first one more often than chance has it, so that there is a most frequent one.
        first = (random.random(count) < 0.2).tolist()
        drawn = draw(0, len(schema.categories))
        return [schema.categories[0 if fixed else n] for fixed, n in zip(first, drawn, strict=True)]
    if kind == "name":
        syllables = random.choice(words.syllables, (count, 4)).tolist()
        return ["".join(s[:n]).capitalize() for s, n in zip(syllables, draw(3, 5), strict=True)]
    return [keys[n] for n in draw(0, len(keys))]
