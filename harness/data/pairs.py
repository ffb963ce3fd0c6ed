"""Instructions and their responses as tokens, for tuning: padded, with labels on the responses alone.

A tokenizer's chat template says how an instruction is put; without one an instruction is a line. Responses end with
the end-of-text token, so that a tuned model learns to stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pair:
    """A pair's tokens, of which the first `given` are the instruction's and no target."""

    ids: list[int]
    given: int


def prompt_of(row: Mapping[str, Any], tokenizer: Any) -> str:
    """Return what stands before a row's response: `instruction`, and `input` where it has one, as put to a model."""
    asked = str(row["instruction"]).strip()
    if more := str(row.get("input") or "").strip():
        asked += f"\n{more}"
    if not tokenizer.chat_template:
        return f"{asked}\n"
    said = [{"role": "user", "content": asked}]
    text: str = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    return text


def prompt_ids(row: Mapping[str, Any], tokenizer: Any) -> list[int]:
    """Return `prompt_of` as tokens; a template brings its own special tokens."""
    special = not tokenizer.chat_template
    ids: list[int] = tokenizer(prompt_of(row, tokenizer), add_special_tokens=special)["input_ids"]
    return ids


def pair(row: Mapping[str, Any], tokenizer: Any) -> Pair:
    """Return a row's `instruction` and `response` as tokens; `input` belongs to the first, as in Alpaca's rows."""
    given = prompt_ids(row, tokenizer)
    answer = tokenizer(str(row["response"]).strip(), add_special_tokens=False)["input_ids"]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return Pair([*given, *answer, *end], len(given))


def pairs(rows: Iterable[Mapping[str, Any]], tokenizer: Any, length: int) -> list[Pair]:
    """Return each row as `pair` does; those of more than `length` tokens are left out.

    Raises UsageError where no row is left.
    """
    whole = [pair(row, tokenizer) for row in rows]
    found = [one for one in whole if len(one.ids) <= length]
    if not found:
        shortest = min((len(one.ids) for one in whole), default=0)
        raise UsageError(
            f"no pair has {length} tokens or fewer (the shortest has {shortest}): raise task.length"
        )
    return found


def padded(some: Sequence[Pair]) -> dict[str, Tensor]:
    """Return `input_ids`, `attention_mask` and `labels`, each (pairs, longest - 1), padded on the right.

    `labels[:, t]` is the token after `input_ids[:, t]` where that is a response's, else -100.
    """
    import torch

    shape = len(some), max(len(one.ids) for one in some) - 1
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, -100)
    for row, one in enumerate(some):
        first, last = max(one.given, 1), len(one.ids) - 1
        ids[row, :last] = torch.tensor(one.ids[:-1])
        mask[row, :last] = 1
        labels[row, first - 1 : last] = torch.tensor(one.ids[first:])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
