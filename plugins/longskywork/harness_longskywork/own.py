"""One's own files as what the stages train on: windows of `interleave`, conversations of `tables`.

Both tools write what a tokenizer makes of text, so both need `model=`. A file of interleaved windows holds its
documents whole, and so serves every order: windows as they are, or the same documents in a row. Of a conversation
the answers alone are learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness_longskywork.symbols import IGNORED, Rows

WINDOWS, CONVERSATIONS = "windows.npz", "conversations.npz"


def demand_reader(data: Mapping[str, Any], model: Any) -> None:
    """Raise UsageError for files of a tokenizer's text without the model that reads it."""
    for name in ("windows", "conversations"):
        if name in data and model is None:
            raise UsageError(f"data.{name} holds a tokenizer's text: name the model that reads it, model=")


def keep(task: Any, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Leave in `data_dir` the arrays of the files that were given; raise UsageError for what does not fit."""
    from harness.nn.bases import config_of, tokenizer_of

    kept: dict[str, dict[str, Any]] = {}
    if "windows" in data:
        entries = int(config_of(model).get_text_config().vocab_size)
        kept[WINDOWS] = read_windows(data["windows"].rows(), task.window, entries)
    if "conversations" in data:
        rows = data["conversations"].rows()
        kept[CONVERSATIONS] = read_conversations(rows, tokenizer_of(model), task.window)
    for name, arrays in kept.items():
        np.savez(data_dir / name, **arrays)


def read_windows(rows: Iterable[Mapping[str, Any]], window: int, entries: int) -> dict[str, np.ndarray]:
    """Return `interleave` and `concatenate`, the same documents in two orders, each (windows, 2, window): ids, owners.

    A last window that is not full is left out. Raises UsageError for windows of another length, and for ids that
    the model's `entries` do not hold.
    """
    found: list[np.ndarray] = []
    for number, row in enumerate(rows, 1):
        ids, owners = (np.asarray(row.get(name, ()), np.int64) for name in ("input_ids", "documents"))
        if not len(ids) or len(ids) != len(owners):
            raise UsageError(
                f"data.windows has no input_ids and documents alike in row {number}: give a file of "
                "harness longskywork interleave"
            )
        if ids.max() >= entries or ids.min() < 0:
            raise UsageError(
                f"data.windows has the token {ids.max()} in row {number} and model= reads {entries}: interleave with "
                "its tokenizer"
            )
        found.append(np.stack([ids, owners]))
    full = [one for one in found if one.shape[1] == window]
    if not full or any(one.shape[1] != window for one in found[:-1]):
        length = found[0].shape[1] if found else 0
        raise UsageError(
            f"data.windows has windows of {length} tokens and task.window is {window}: say task.window={length}"
        )
    windows = np.stack(full)
    flat = windows.transpose(1, 0, 2).reshape(2, -1)
    in_a_row = flat[:, np.argsort(flat[1], kind="stable")]  # a document's tokens keep their order
    return {"interleave": windows, "concatenate": in_a_row.reshape(2, -1, window).transpose(1, 0, 2)}


def read_conversations(rows: Iterable[Mapping[str, Any]], tokenizer: Any, most: int) -> dict[str, np.ndarray]:
    """Return all conversations one after the other: `ids`, `labels` (IGNORED but in answers), and where each `ends`.

    Raises UsageError where the tokenizer has no chat template, or no conversation is within `most` tokens.
    """
    ids: list[int] = []
    labels: list[int] = []
    ends: list[int] = []
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007
        tokens, learned = answers_of(tokenizer, row["messages"])
        if len(tokens) <= most:
            ids += tokens
            labels += [token if asked else IGNORED for token, asked in zip(tokens, learned, strict=True)]
            ends.append(len(ids))
    if not ends:
        raise UsageError(
            f"none of the {count} conversations of data.conversations is within task.window={most} tokens: raise it, "
            "or make smaller tables (--tokens)"
        )
    return {"ids": np.asarray(ids), "labels": np.asarray(labels), "ends": np.asarray(ends)}


def answers_of(tokenizer: Any, messages: list[dict[str, str]]) -> tuple[list[int], list[bool]]:
    """Return a conversation's tokens, and which of them an assistant writes: each answer with the end of its turn."""
    if not getattr(tokenizer, "chat_template", None):
        raise UsageError(
            "the tokenizer of model= has no chat template: choose a model that was tuned to chat"
        )

    def text(some: list[dict[str, str]], ask: bool) -> str:
        return str(tokenizer.apply_chat_template(some, tokenize=False, add_generation_prompt=ask))

    parts: list[tuple[str, bool]] = []
    done = ""
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        asked, answered = text(messages[:place], True), text(messages[: place + 1], False)
        if not (asked.startswith(done) and answered.startswith(asked)):
            raise UsageError(
                "the chat template of model= rewrites what was said before, so answers cannot be told from the rest: "
                "give one that only adds to it"
            )
        parts += [(asked[len(done) :], False), (answered[len(asked) :], True)]
        done = answered
    spans = list(accumulate((len(part) for part, _ in parts), initial=0))
    read = tokenizer(done, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    where = np.searchsorted(spans, [start for start, _ in read["offset_mapping"]], side="right") - 1
    return read["input_ids"], [parts[min(part, len(parts) - 1)][1] for part in where]


def windows_of(file: Path, order: str, masked: bool) -> list[Rows]:
    """Return each window of a kept file as a row of ids, labels and, if `masked`, segments."""
    with np.load(file) as kept:
        windows = kept[order]
    names = ("input_ids", "labels", "segments") if masked else ("input_ids", "labels")
    return [dict(zip(names, (ids, ids, owners), strict=False)) for ids, owners in windows]


def conversations_of(file: Path) -> list[Rows]:
    """Return each conversation of a kept file as a row of ids and labels."""
    with np.load(file) as kept:
        ids, labels, ends = kept["ids"], kept["labels"], kept["ends"]
    starts = [0, *ends[:-1]]
    return [{"input_ids": ids[a:b], "labels": labels[a:b]} for a, b in zip(starts, ends, strict=True)]


def side_by_side(rows: list[Rows]) -> dict[str, Any]:
    """Return rows as a batch of tensors, filled up on the right where no label asks for anything."""
    import torch

    width = max(len(row["input_ids"]) for row in rows)
    fill = {"labels": IGNORED}
    return {
        name: torch.from_numpy(
            np.stack(
                [
                    np.pad(row[name], (0, width - len(row[name])), constant_values=fill.get(name, 0))
                    for row in rows
                ]
            )
        )
        for name in rows[0]
    }
