"""Whose answers win: what two students write to the same unseen questions, beside what the generator answers.

The paper asks GPT-4. Here the one whose answer shares more of the generator's (ROUGE-L, which counts a word too many
against it) wins, since the generator is what both students of a claim have learned from. So a win says who follows
the teacher more closely, not whose answer is better; a student of people's answers is not compared by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness import Items
from harness.data.jsonl import read_jsonl
from harness.errors import HarnessError
from harness.nn.overlap import rouge_l, words

ANSWERS = "answers.jsonl"


def versus(one: Path, other: Path) -> Mapping[str, Items]:
    """Return which of two students answers each of data.questions more like the generator: 1, .5 or 0."""
    ours, theirs = (read(folder) for folder in (one, other))
    if [row["question"] for row in ours] != [row["question"] for row in theirs]:
        raise HarnessError(
            "the two students were asked other questions: run both with the same data.questions"
        )
    apart = np.sign([likeness(a) - likeness(b) for a, b in zip(ours, theirs, strict=True)])
    return {"nearer_answers": Items({"win": (apart + 1) / 2}, [row["id"] for row in ours])}


def read(output: Path) -> list[dict[str, Any]]:
    """Return what a student answered. Raises HarnessError where it was asked nothing."""
    if not (output / ANSWERS).exists():
        raise HarnessError(
            f"{output} holds no {ANSWERS}: make the run again with rerun=true, a student and data.questions"
        )
    return list(read_jsonl(output / ANSWERS))


def likeness(row: Mapping[str, str]) -> float:
    """Return how much of the generator's answer a student's shares, and the other way round: ROUGE-L."""
    return rouge_l(words(row["reference"]), words(row["answer"]))
