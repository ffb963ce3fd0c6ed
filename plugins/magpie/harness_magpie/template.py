"""The pre-query template: everything a chat holds before the user's first word. Magpie's only prompt.

It is cut out of the model's own chat template at a sentinel that stands where the user would write, so
the default system message that many templates insert is part of it. Without that message a model writes
headless fragments. Where a turn ends is told by `harness.nn.turns`, for all that write with a chat model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import UsageError
from harness.nn.turns import NOTHING, ends_of, render

SENTINEL = "MAGPIESENTINELQUERY"
OTHER = "MAGPIESENTINELSYSTEM"
PROBES = ("What is the capital of France?", "Write a poem.", "2 + 2?", "오늘 날씨는 어때?")


def pre_query_template(
    tokenizer: Any, system: str | None = None, arguments: Mapping[str, Any] = NOTHING
) -> str:
    """Return the text that comes before a user's query, with the template's own system message or `system`.

    `arguments` are what the template reads besides. Raises UsageError for a tokenizer without a chat template, or
    one whose template takes no system message.
    """
    turns = [{"role": "system", "content": system}] if system is not None else []
    return next_query(tokenizer, turns, arguments)


def next_query(
    tokenizer: Any, messages: Sequence[Mapping[str, str]], arguments: Mapping[str, Any] = NOTHING
) -> str:
    """Return the text of a conversation so far, up to where its next query begins. Raises UsageError."""
    name = _name(tokenizer)
    if not getattr(tokenizer, "chat_template", None):
        raise UsageError(
            f"{name} has no chat template, so it is a base model: Magpie needs an aligned one "
            "(an instruct or chat model)"
        )
    refuse_unread(tokenizer, arguments)
    asked = [{"role": "user", "content": SENTINEL}]
    try:
        text = render(tokenizer, [*messages, *asked], True, arguments)
    except Exception as error:
        system = messages[0]["content"] if len(messages) == 1 else None
        if system is None or not _renders(tokenizer, asked, arguments):
            what = "one query" if len(messages) < 2 else "a second query"
            raise UsageError(f"the chat template of {name} fails on {what}: {error}") from None
        raise UsageError(
            f"the chat template of {name} takes no system message ({error}): leave it out"
        ) from None
    before, found, after = text.partition(SENTINEL)
    said = [one["content"].strip() for one in messages if one["role"] != "assistant"]
    if not found or SENTINEL in after or any(one not in before for one in said):
        raise UsageError(
            f"the chat template of {name} does not show a turn as it was written, once: give a template that does"
        )
    return before


def refuse_unread(tokenizer: Any, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that a tokenizer's chat template does not read."""
    template = str(getattr(tokenizer, "chat_template", None) or "")
    for name in arguments:
        if not re.search(rf"\b{re.escape(name)}\b", template):
            raise UsageError(
                f"the chat template of {_name(tokenizer)} reads no {name!r}: check its spelling, or leave it out"
            )


def _renders(tokenizer: Any, messages: Sequence[Mapping[str, str]], arguments: Mapping[str, Any]) -> bool:
    try:
        render(tokenizer, messages, True, arguments)
    except Exception:
        return False
    return True


def bare_template(tokenizer: Any, arguments: Mapping[str, Any] = NOTHING) -> str:
    """Return the template without any system message: the header of the user's turn alone, and BOS."""
    before = pre_query_template(tokenizer, None, arguments)
    asked = [{"role": "user", "content": SENTINEL}]
    try:
        end = render(tokenizer, asked, False, arguments).partition(SENTINEL)[2]
        with_system = pre_query_template(tokenizer, OTHER, arguments)
    except Exception:
        return before  # a template without system messages has none to leave out
    start, _, header = with_system.partition(OTHER)
    if not end or not header.startswith(end):
        return before
    bos = getattr(tokenizer, "bos_token", None) or ""
    header = header.removeprefix(end)
    # ChatML models may call the turn's first token BOS: it is in the header already.
    return header if not bos or not start.startswith(bos) or header.startswith(bos) else bos + header


def template_ids(tokenizer: Any, template: str) -> list[int]:
    """Return the template's tokens, checked to be those that a real chat begins with.

    A blank that would be one token with the query's first word is left to the model. Raises UsageError
    for a second BOS and for a template that no chat begins with.
    """
    bos = getattr(tokenizer, "bos_token_id", None)
    tried = dict.fromkeys([template, template.rstrip(" ")])
    for text in tried:
        ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        if bos is not None and ids[:2] == [bos, bos]:
            raise UsageError(
                f"{template[:40]!r} begins with {tokenizer.bos_token} twice: write it once, it is not added"
            )
        if ids and all(_continues(tokenizer, template, ids, probe) for probe in PROBES):
            return ids
    raise UsageError(
        f"{template[-40:]!r} is tokenised differently when a query follows: end it at a special token or "
        "a line break"
    )


def _continues(tokenizer: Any, template: str, ids: list[int], query: str) -> bool:
    whole = tokenizer(template + query, add_special_tokens=False)["input_ids"]
    return list(whole[: len(ids)]) == ids


def begins_a_chat(
    tokenizer: Any,
    ids: Sequence[int],
    system: str | None = None,
    arguments: Mapping[str, Any] = NOTHING,
) -> bool:
    """Return whether a chat rendered by the tokenizer itself begins with these tokens."""
    turns = [{"role": "system", "content": system}] if system is not None else []
    text = render(tokenizer, [*turns, {"role": "user", "content": PROBES[0]}], True, arguments)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"][: len(ids)]) == list(ids)


def stops(
    tokenizer: Any, generation: Any = None, arguments: Mapping[str, Any] = NOTHING
) -> tuple[list[int], list[str]]:
    """Return the tokens and the words that end a turn (`harness.nn.turns.ends_of`)."""
    ends = ends_of(tokenizer, generation, arguments)
    return list(ends.ids), list(ends.words)


def _name(tokenizer: Any) -> str:
    return getattr(tokenizer, "name_or_path", "") or "the tokenizer"
