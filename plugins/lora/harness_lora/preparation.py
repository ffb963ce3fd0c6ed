"""Read the data once: which kind they are, a tokenizer, and each split as tokens or examples.

Plain text is taken from its beginning: what to adapt to, then validation, then test. Rows are split by
their prompt or text, so that all references of one prompt stay together. A text file of lines
"prompt||completion", the form of the paper's E2E files, is read as prompts and completions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.data.documents import part_of, split
from harness.data.jsonl import read_json, write_jsonl
from harness.data.sources import Document
from harness.data.tokens import character_tokenizer, encode
from harness.errors import UsageError
from harness.nn.bases import tokenizer_of
from harness.tools import digest, write_json
from harness_lora.settings import Task

SPLITS = ("train", "validation", "test")


@dataclass
class Form:
    """What kind the data are: "text", "pairs" or "labels"; the labels' names; a digest of the tokenizer."""

    kind: str
    labels: list[str] = field(default_factory=list)
    digest: str = ""


def form_of(data_dir: Path) -> Form:
    """Return the kind of the data that `prepare` left in `data_dir`."""
    return Form(**read_json(data_dir / "form.json"))


def prepare(task: Task, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Leave `form.json`, `tokenizer/`, the splits (.npy or .jsonl) and the general text in `data_dir`."""
    kind = kind_of(data["train"])
    general = split(data["general"].documents())
    rows: dict[str, list[dict[str, Any]]] = {}
    texts: dict[str, list[Document]] = {}
    if kind == "text":
        texts = cropped(task, data)
    else:
        rows = divided(kind, data)
    tokenizer = tokenizer_for(
        model, [*general.train, *texts.get("train", []), *_documents(rows.get("train", []))]
    )
    tokenizer.save_pretrained(data_dir / "tokenizer")
    for name, documents in texts.items():
        encode(documents, tokenizer, data_dir / f"{name}.npy")
    encode(general.test, tokenizer, data_dir / "general.npy")
    if model is None:
        encode(general.train, tokenizer, data_dir / "general-train.npy")
    labels = sorted({str(row["label"]) for row in rows.get("train", [])}) if kind == "labels" else []
    for name, some in rows.items():
        some = some if name == "train" else some[: task.examples]
        write_jsonl(data_dir / f"{name}.jsonl", examples(kind, some, tokenizer, labels, task))
    form = Form(kind, labels, digest(tokenizer.get_vocab()))
    write_json(data_dir / "form.json", asdict(form))


def kind_of(source: Any) -> str:
    """Return "pairs", "labels" or "text" by the columns of the source's first row."""
    first = next(iter(source.rows()))
    for kind, columns in (("pairs", ("prompt", "completion")), ("labels", ("text", "label"))):
        if set(columns) <= set(first):
            return kind
    if "text" not in first:
        raise UsageError(
            f"{source.name} has the columns {', '.join(first)}: it needs text, or prompt and completion, or "
            f"text and label; say which is which, '{source.name}?prompt:ITS_NAME+completion:ITS_NAME'"
        )
    return "pairs" if "||" in first["text"] else "text"


def cropped(task: Task, data: Mapping[str, Any]) -> dict[str, list[Document]]:
    """Return the beginning of the text, and what follows it for validation and test (or their own)."""
    sizes = {"train": task.train_characters, **dict.fromkeys(SPLITS[1:], task.held_out_characters)}
    found: dict[str, list[Document]] = {}
    start = 0
    whole = _joined(data["train"])
    for name in SPLITS:
        if name in data and name != "train":
            found[name] = [Document(name, _joined(data[name])[: sizes[name]])]
            continue
        piece = whole[start : start + sizes[name]]
        start += sizes[name]
        if len(piece) < sizes[name]:
            raise UsageError(
                f"{data['train'].name} has {len(whole):,} characters and {start:,} are asked for: give more, or "
                "lower task.train_characters and task.held_out_characters"
            )
        found[name] = [Document(name, piece)]
    return found


def divided(kind: str, data: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each split; those without a source of their own come out of train."""
    key = "prompt" if kind == "pairs" else "text"
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SPLITS}
    for row in _rows(data["train"]):
        part = part_of(str(row[key]))
        found[part if part not in data else "train"].append(row)
    for name in SPLITS[1:]:
        if name in data:
            found[name] = list(_rows(data[name]))
        if not found[name]:
            raise UsageError(
                f"{data['train'].name} has too few rows to hold some out for {name}: give data.{name}"
            )
    return found


def examples(
    kind: str, rows: Iterable[dict[str, Any]], tokenizer: Any, labels: list[str], task: Task
) -> Iterable[dict[str, Any]]:
    """Yield each row as tokens: `ids` with a `label`, or `ids` of which the first `prompt` are given.

    Pairs of one prompt carry all its completions as `references`.
    """
    if kind == "labels":
        for row in rows:
            if str(row["label"]) not in labels:
                raise UsageError(
                    f"the label {row['label']!r} is not among those of train: use one of {', '.join(labels)}"
                )
            ids = tokenizer(str(row["text"]), truncation=True, max_length=task.length)["input_ids"]
            yield {"ids": ids, "label": labels.index(str(row["label"]))}
        return
    references: dict[str, list[str]] = {}
    rows = list(rows)
    for row in rows:
        references.setdefault(str(row["prompt"]), []).append(str(row["completion"]).strip())
    end = tokenizer.eos_token_id
    for row in rows:
        prompt = tokenizer(str(row["prompt"]).rstrip() + "\n")["input_ids"]
        answer = tokenizer(str(row["completion"]).strip(), add_special_tokens=False)["input_ids"]
        answer = [*answer, end] if end is not None else answer
        kept = max(1, task.length - len(answer))  # the end of a prompt that is too long
        ids = (prompt[-kept:] + answer)[: task.length]
        found = references[str(row["prompt"])]
        yield {"ids": ids, "prompt": len(prompt[-kept:]), "text": str(row["prompt"]), "references": found}


def tokenizer_for(model: Any, documents: list[Document]) -> Any:
    """Return the model's own tokenizer, or one of the characters of `documents`."""
    if model is None:
        return character_tokenizer(documents)
    tokenizer = tokenizer_of(model)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _rows(source: Any) -> Iterable[dict[str, Any]]:
    for row in source.rows():
        if set(row) == {"text"} and "||" in row["text"]:
            prompt, _, completion = row["text"].partition("||")
            yield {"prompt": prompt, "completion": completion}
        else:
            yield row


def _documents(rows: list[dict[str, Any]]) -> list[Document]:
    return [Document(str(n), "\n".join(map(str, row.values()))) for n, row in enumerate(rows)]


def _joined(source: Any) -> str:
    return "\n".join(document.text for document in source.documents())
