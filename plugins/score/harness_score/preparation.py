"""Read the problems once: each split as tokens with its answers, and what stands between the turns.

Problems come from tables with `problem` (or `question`) and `answer`; of GSM8K's answers the number after
`####` counts. Without tables they are additions. Train, validation and test share no problem.
"""

from __future__ import annotations

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
from harness_score.episodes import Turns
from harness_score.prompts import check_length, first_prompt, text_turns
from harness_score.settings import Prompt, Task

SPLITS = ("train", "validation", "test")


def prepare(task: Task, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Leave `train.jsonl`, `validation.jsonl`, `test.jsonl`, `turns.json` and `tokenizer/` in `data_dir`."""
    wanted = dict(
        zip(SPLITS, (task.train_problems, task.validation_problems, task.test_problems), strict=True)
    )
    for part, count in wanted.items():
        if count < 1:
            raise UsageError(f"task.{part}_problems={count} leaves no problem in {part}: ask for 1 or more")
    if task.lora_rank < 0:
        raise UsageError(f"task.lora_rank={task.lora_rank}: give a rank above 0, or 0 to train every weight")
    if "train" not in data:
        if model is not None or data:
            raise UsageError("model= and data.test need data.train: give a table of problems with answers")
        tokenizer = addition.tokenizer()
        turns = addition.turns(task, tokenizer)
        found = {part: addition.rows(task, part, count) for part, count in wanted.items()}
    else:
        tokenizer, turns = own_model(task, model)
        found = divided(data)
    tokenizer.save_pretrained(data_dir / "tokenizer")
    write_json(data_dir / "turns.json", asdict(turns))
    for part, rows in found.items():
        asked = [
            {**row, "ids": first_prompt(row["problem"], task, tokenizer)} for row in rows[: wanted[part]]
        ]
        for row in asked:
            check_length(len(row["ids"]), turns, task.length, "task.length")
        write_jsonl(data_dir / f"{part}.jsonl", asked)


def own_model(task: Task, model: Any) -> tuple[Any, Turns]:
    """Return the tokenizer of a model that was given, and the turns in its words."""
    if model is None:
        raise UsageError("problems of your own need a language model: add model=<hub id or folder>")
    if model.path.is_file() and model.path.suffix != ".gguf":
        raise UsageError(
            f"model={model.path} is a file: give the folder, hub id or GGUF file of a causal language model"
        )
    if task.prompt is Prompt.addition and task.verifier.name != "exact":
        raise UsageError("say how problems are put: task.prompt=math or task.prompt=number")
    tokenizer = tokenizer_of(model)
    turns = text_turns(task, tokenizer)
    reach = getattr(config_of(model), "max_position_embeddings", None)
    if reach and reach < task.length:
        raise UsageError(f"task.length={task.length} is beyond the model's {reach} tokens: lower it")
    return tokenizer, turns


def divided(data: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Return the rows of each split; those without a source of their own come out of train, by their text.

    Problems of test are taken out of train and validation, and those of validation out of train.
    """
    found: dict[str, list[dict[str, str]]] = {name: [] for name in SPLITS}
    for row in problem_rows(data["train"]):
        part = part_of(row["problem"])
        found[part if part not in data else "train"].append(row)
    for name in SPLITS[1:]:
        if name in data:
            found[name] = problem_rows(data[name])
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


def problem_rows(source: Any) -> list[dict[str, str]]:
    """Return a table's problems and answers as text, each problem once; UsageError for one without an answer."""
    rows: dict[str, dict[str, str]] = {}
    for number, row in enumerate(source.rows(), 1):
        problem = row.get("problem", row.get("question"))
        if problem is None or "answer" not in row:
            raise UsageError(
                f"{source.name} has the columns {', '.join(row)}: it needs problem (or question) and answer; say "
                f"which is which, '{source.name}?problem:ITS_NAME+answer:ITS_NAME'"
            )
        answer = "" if row["answer"] is None else str(row["answer"])
        answer = answer.rpartition("####")[2].strip()
        if not str(problem).strip() or not answer:
            raise UsageError(
                f"row {number} of {source.name} has no problem or no answer: fix it or leave it out"
            )
        rows.setdefault(str(problem), {"problem": str(problem), "answer": answer})
    return list(rows.values())


def read_turns(data_dir: Path) -> Turns:
    """Return what `prepare` wrote of the turns."""
    found = read_json(data_dir / "turns.json")
    return Turns(tuple(found["correction"]), tuple(found["ends"]), found["first"], found["second"])
