"""What is asked: calculations out of GSM8K's solutions, or sums made here, each after three solved ones."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from harness.data.jsonl import read_jsonl, write_jsonl
from harness.data.sources import Document
from harness.data.tokens import small_text
from harness.errors import UsageError
from harness_min_p.settings import Task

STEP = re.compile(r"<<([^<>=]+)=([^<>=]{1,4})>>")  # longer results are left out
SOLVED = 3


def prepare(task: Task, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Leave `test.jsonl` in `data_dir`: prompt and answer; and the sums that a small model learns."""
    found = steps(data["problems"].rows()) if "problems" in data else sums()
    solved, asked = found[:SOLVED], found[SOLVED:][: task.items]
    if len(asked) < task.items:
        raise UsageError(f"{len(asked)} calculations were found: lower task.items={task.items}")
    before = "".join(f"{left}={right}\n" for left, right in solved)
    write_jsonl(data_dir / "test.jsonl", ({"prompt": f"{before}{a}=", "answer": b} for a, b in asked))
    if model is None:
        known = (f"{a}={b}\n" for a, b in sums() if (a, b) not in asked)
        small_text([Document("sums", "".join(known))], data_dir)


def steps(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the first calculation of each solution, ("48/2", "24"), without repetition."""
    firsts = (STEP.search(str(row["answer"])) for row in rows)
    return list(dict.fromkeys((m[1].replace(" ", ""), m[2].strip()) for m in firsts if m))


def sums() -> list[tuple[str, str]]:
    """Return all sums of two numbers below 40, shuffled."""
    made = [(f"{a}+{b}", str(a + b)) for a in range(40) for b in range(40)]
    Random(0).shuffle(made)
    return made


def scramble(data_dir: Path, seed: int) -> None:
    """Give every calculation the answer of another."""
    rows = read_jsonl(data_dir / "test.jsonl")
    answers = Random(seed).sample([row["answer"] for row in rows], len(rows))
    write_jsonl(data_dir / "test.jsonl", (r | {"answer": a} for r, a in zip(rows, answers, strict=True)))
