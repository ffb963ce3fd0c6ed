"""Read the instructions once, hold some out, and leave the text that a small model begins with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data.jsonl import write_jsonl
from harness.data.pairs import pair
from harness.data.sources import Document
from harness.data.tokens import small_text
from harness.errors import UsageError
from harness.nn.bases import tokenizer_of
from harness.tools import digest
from harness_neftune.settings import Task


def prepare(task: Task, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Leave `test.jsonl` and `train.jsonl` in `data_dir`: pairs that are not too long."""
    rows = sorted(answered(data["instructions"].rows()), key=digest)  # an order of nobody's choice
    if model is None:
        texts = (f"{row['instruction']}\n{row['response']}" for row in rows[task.test :])
        tokenizer = small_text([Document(str(i), text) for i, text in enumerate(texts)], data_dir)
    else:
        tokenizer = tokenizer_of(model)
    fit = [row for row in rows if len(pair(row, tokenizer).ids) <= task.length]
    if len(fit) <= task.test:
        raise UsageError(
            f"{len(fit)} pairs have {task.length} tokens or fewer and {task.test} are held out: lower task.test"
        )
    write_jsonl(data_dir / "test.jsonl", fit[: task.test])
    write_jsonl(data_dir / "train.jsonl", fit[task.test :])


def answered(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Yield instruction and response of rows in Alpaca's form or Self-Instruct's; those without one are left out."""
    for row in rows:
        first = (row.get("instances") or [row])[0]
        given, response = (str(first.get(name) or "").strip() for name in ("input", "output"))
        response = str(row.get("response") or "").strip() or response
        if response:
            yield {
                "instruction": f"{str(row['instruction']).strip()}\n{given}".strip(),
                "response": response,
            }
