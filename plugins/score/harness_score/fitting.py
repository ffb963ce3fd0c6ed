"""Refuse, before a sweep starts, problems, a model and lengths that cannot go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.engines import checked
from harness_score.settings import Task

LONGEST = 20  # problems, by their characters, whose tokens are counted


def fits(task: Task, data: Mapping[str, Any], model: Any) -> None:
    """Raise UsageError for what `prepare` would refuse; made-up additions always fit."""
    checked(task.engine, model)
    if not data and model is None and task.verifier.name != "command":
        return
    from harness_score.preparation import problems
    from harness_score.prompts import check_length, first_prompt

    tokenizer, turns, reach, found = problems(task, data, model)
    rows = sorted((row for part in found.values() for row in part), key=lambda row: len(row["problem"]))
    for row in rows[-LONGEST:]:
        check_length(len(first_prompt(row["problem"], task, tokenizer)), turns, task.length, reach)
