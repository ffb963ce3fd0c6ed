"""NLI data as triplets: a premise, a hypothesis it entails, and one it contradicts.

A premise is kept when it has both, as the paper does; where it has several, they are paired in order.
Reads tables of sentence1, sentence2, gold_label (SNLI, MNLI, KorNLI; KLUE's premise and hypothesis), and
SentEval's aligned files s1.*, s2.*, labels.*.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data import files
from harness.errors import UsageError

NAMES = (
    ("sentence1", "sentence2", "gold_label"),
    ("premise", "hypothesis", "gold_label"),
    ("premise", "hypothesis", "label"),
)
LABELS = {"entailment": 0, "contradiction": 1, "0": 0, "2": 1}


def triplets(rows: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Return (premise, entailed, contradicted) from (premise, hypothesis, label) rows, premises in their order."""
    sides: dict[str, tuple[list[str], list[str]]] = {}
    for premise, hypothesis, label in rows:
        side = LABELS.get(label.strip().lower())
        if side is not None and premise.strip() and hypothesis.strip():
            sides.setdefault(premise.strip(), ([], []))[side].append(hypothesis.strip())
    return [
        (premise, entailed, contradicted)
        for premise, both in sides.items()
        for entailed, contradicted in zip(*both, strict=False)
    ]


def rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (premise, hypothesis, label) from a table, or from a folder of them or of aligned files."""
    aligned = sorted(path.glob("s1.*")) if path.is_dir() else []
    for first in aligned:
        columns = []
        for name in ("s1", "s2", "labels"):
            file = first.with_name(name + first.suffix)
            if not file.exists():
                raise UsageError(f"{first} has no {file.name} beside it: s1, s2 and labels belong together")
            columns.append(file.read_text(encoding="utf-8").splitlines())
        if len({len(column) for column in columns}) > 1:
            raise UsageError(f"{first} and its s2 and labels have different numbers of lines: fix them")
        yield from zip(*columns, strict=True)
    for file in [] if aligned else files.data_files(path):
        yield from pairs_of(files.rows(file), file)


def pairs_of(records: Iterable[Mapping[str, Any]], where: object) -> Iterator[tuple[str, str, str]]:
    """Yield (premise, hypothesis, label) of a table's rows. Raises UsageError where the columns are not NLI's."""
    names: tuple[str, str, str] | None = None
    for row in records:
        names = names or next((names for names in NAMES if set(names) <= set(row)), None)
        if names is None:
            raise UsageError(
                f"{where} has the columns {', '.join(row)}: NLI needs sentence1, sentence2 and gold_label, "
                f"or say '{where}?gold_label:ITS_NAME'"
            )
        yield str(row[names[0]]), str(row[names[1]]), str(row[names[2]])


def write(found: list[tuple[str, str, str]], to: Path) -> None:
    """Write triplets as a csv that `data.triplets=` takes."""
    with to.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("sent0", "sent1", "hard_neg"), *found])
