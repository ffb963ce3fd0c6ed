"""Read the problems once: each split as tokens with its answers, and what stands between the turns.

Problems come from tables with `problem` (or `question`) and `answer`; of GSM8K's answers the number after
`####` counts. Code problems have tests instead of an answer. Without tables they are additions. Train, validation
and test share no problem. What cannot work is refused before a run starts, by the same code (`harness_score.fitting`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.data.documents import part_of
from harness.data.jsonl import read_json, write_jsonl
from harness.errors import UsageError
from harness.nn.bases import config_of, tokenizer_of
from harness.tools import write_json
from harness_score import addition
from harness_score.coding import asked, refuse_untested
from harness_score.episodes import Turns
from harness_score.numbers import stated_number
from harness_score.prompts import check_length, first_prompt, text_turns
from harness_score.settings import Prompt, Task, Verifier
from harness_score.verifiers import command_words

SPLITS = ("train", "validation", "test")


def prepare(task: Task, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Leave `train.jsonl`, `validation.jsonl`, `test.jsonl`, `turns.json` and `tokenizer/` in `data_dir`."""
    tokenizer, turns, reach, found = problems(task, data, model)
    tokenizer.save_pretrained(data_dir / "tokenizer")
    write_json(data_dir / "turns.json", asdict(turns))
    for part, rows in found.items():
        prompted = [{**row, "ids": first_prompt(row["problem"], task, tokenizer)} for row in rows]
        for row in prompted:
            check_length(len(row["ids"]), turns, task.length, reach)
        write_jsonl(data_dir / f"{part}.jsonl", prompted)


def problems(
    task: Task, data: Mapping[str, Any], model: Any
) -> tuple[Any, Turns, int | None, dict[str, list[dict[str, Any]]]]:
    """Return the tokenizer, the turns, the most tokens that the model reads, and the rows of each split."""
    wanted = {part: getattr(task, f"{part}_problems") for part in SPLITS}
    if task.verifier is Verifier.command:
        command_words(task.verifier_command)
    if "train" not in data:
        if model is not None or data:
            raise UsageError("model= and data.test need data.train: give a table of problems with answers")
        tokenizer = addition.tokenizer()
        found: dict[str, list[dict[str, Any]]] = {
            part: addition.rows(task, part, count) for part, count in wanted.items()
        }
        return tokenizer, addition.turns(task, tokenizer), None, found
    tokenizer, turns, reach = own_model(task, model)
    return tokenizer, turns, reach, {part: rows[: wanted[part]] for part, rows in divided(data, task).items()}


def own_model(task: Task, model: Any) -> tuple[Any, Turns, int | None]:
    """Return the tokenizer of a model that was given, the turns in its words, and the most tokens that it reads."""
    if model is None:
        raise UsageError("problems of your own need a language model: add model=<hub id or folder>")
    if model.path.is_file() and model.path.suffix != ".gguf":
        raise UsageError(
            f"model={model.path} is a file: give the folder, hub id or GGUF file of a causal language model"
        )
    if task.prompt is Prompt.addition and task.verifier.name != "exact":
        raise UsageError("say how problems are put: task.prompt=math, task.prompt=number or task.prompt=code")
    tokenizer = tokenizer_of(model)
    turns = text_turns(task, tokenizer, model.path)
    reach = getattr(config_of(model), "max_position_embeddings", None)
    if reach and reach < task.length:
        raise UsageError(f"task.length={task.length} is beyond the model's {reach} tokens: lower it")
    return tokenizer, turns, reach


def divided(data: Mapping[str, Any], task: Task) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each split; those without a source of their own come out of train, by their text.

    Problems of test are taken out of train and validation, and those of validation out of train.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SPLITS}
    for row in problem_rows(data["train"], task):
        part = part_of(row["problem"])
        found[part if part not in data else "train"].append(row)
    for name in SPLITS[1:]:
        if name in data:
            found[name] = problem_rows(data[name], task)
    judged = {row["problem"] for row in found["test"]}
    found["validation"] = [row for row in found["validation"] if row["problem"] not in judged]
    judged |= {row["problem"] for row in found["validation"]}
    found["train"] = [row for row in found["train"] if row["problem"] not in judged]
    for name in SPLITS:
        if not found[name]:
            raise UsageError(
                f"{data['train'].name} leaves no problems for {name}: give data.{name}, or more rows"
            )
    return found


def problem_rows(source: Any, task: Task) -> list[dict[str, Any]]:
    """Return a table's problems and answers as text, each problem once, and with the whole `row` for the verifier.

    Raises UsageError for a row without what the verifier judges by.
    """
    table = list(source.rows())
    coded = task.verifier is Verifier.code
    if coded:
        refuse_untested(table, source.name)
    rows: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(table, 1):
        named = coded or (("problem" in row or "question" in row) and "answer" in row)
        problem = asked(row) if coded else row.get("problem", row.get("question"))
        if not named:
            raise UsageError(
                f"{source.name} has the columns {', '.join(row)}: it needs problem (or question) and answer; say "
                f"which is which, '{source.name}?problem:ITS_NAME+answer:ITS_NAME'"
            )
        answer = "" if row.get("answer") is None else str(row["answer"])
        answer = answer.rpartition("####")[2].strip()
        if problem is None or not str(problem).strip() or not (answer or coded):
            raise UsageError(
                f"row {number} of {source.name} has no problem or no answer: fix it or leave it out"
            )
        if task.verifier is Verifier.number and stated_number(answer) is None:
            raise UsageError(
                f"row {number} of {source.name} has the answer {answer[:80]!r}, which states no number: fix it, leave "
                "it out, or take another task.verifier"
            )
        plain = json.loads(json.dumps(row, default=str))  # dates and the like of a table as text
        told = {"problem": str(problem), "answer": answer, "row": plain}
        rows.setdefault(str(problem), told)
    return list(rows.values())


def read_turns(data_dir: Path) -> Turns:
    """Return what `prepare` wrote of the turns."""
    found = read_json(data_dir / "turns.json")
    return Turns(
        tuple(found["correction"]),
        tuple(found["ends"]),
        found["first"],
        found["second"],
        tuple(found["words"]),
    )
