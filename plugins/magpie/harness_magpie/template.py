"""The pre-query template: everything a chat holds before the user's first word. Magpie's only prompt.

It is cut out of the model's own chat template at a sentinel that stands where the user would write, so
the default system message that many templates insert is part of it. Without that message a model writes
headless fragments. What follows the sentinel tells where a turn ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import UsageError

SENTINEL = "MAGPIESENTINELQUERY"
OTHER = "MAGPIESENTINELSYSTEM"
PROBES = ("What is the capital of France?", "Write a poem.", "2 + 2?", "오늘 날씨는 어때?")


def pre_query_template(tokenizer: Any, system: str | None = None) -> str:
    """Return the text that comes before a user's query, with the template's own system message or `system`.

    Raises UsageError for a tokenizer without a chat template, or one whose template takes no system message.
    """
    return around(tokenizer, system)[0]


def around(tokenizer: Any, system: str | None = None) -> tuple[str, str]:
    """Return what a chat template puts before a user's query, and what it puts after it."""
    if not getattr(tokenizer, "chat_template", None):
        raise UsageError(
            f"{_name(tokenizer)} has no chat template, so it is a base model: Magpie needs an aligned one "
            "(an instruct or chat model)"
        )
    turns = [{"role": "system", "content": system}] if system is not None else []
    try:
        text = render(tokenizer, [*turns, {"role": "user", "content": SENTINEL}])
    except Exception as error:
        if system is None:
            raise UsageError(f"the chat template of {_name(tokenizer)} fails on one query: {error}") from None
        raise UsageError(
            f"the chat template of {_name(tokenizer)} takes no system message ({error}): leave it out"
        ) from None
    before, found, after = text.partition(SENTINEL)
    if not found or SENTINEL in after or (system and system.strip() not in before):
        raise UsageError(
            f"the chat template of {_name(tokenizer)} does not show a turn as it was written, once: "
            "give a template that does"
        )
    return before, after


def bare_template(tokenizer: Any) -> str:
    """Return the template without any system message: the header of the user's turn alone, and BOS."""
    before, end = around(tokenizer)
    try:
        with_system, _ = around(tokenizer, OTHER)
    except UsageError:
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


def begins_a_chat(tokenizer: Any, ids: Sequence[int], system: str | None = None) -> bool:
    """Return whether a chat rendered by the tokenizer itself begins with these tokens."""
    turns = [{"role": "system", "content": system}] if system is not None else []
    text = render(tokenizer, [*turns, {"role": "user", "content": PROBES[0]}])
    return list(tokenizer(text, add_special_tokens=False)["input_ids"][: len(ids)]) == list(ids)


def stops(tokenizer: Any, generation: Any = None) -> tuple[list[int], list[str]]:
    """Return the tokens and the texts that end a turn: role and end tokens, and words where there are no such.

    `generation` is the model's generation config, whose end tokens count too.
    """
    added = getattr(tokenizer, "added_tokens_decoder", {})
    ids = {number for number, token in added.items() if token.special}
    ids |= {number for number in (tokenizer.eos_token_id, tokenizer.bos_token_id) if number is not None}
    more = getattr(generation, "eos_token_id", None)
    ids |= set(more) if isinstance(more, list | tuple) else {more} - {None}
    _, after = around(tokenizer)
    special = {str(added[number]) for number in ids if number in added}
    text = after.strip()
    texts = [] if not text or any(text.startswith(token) for token in special) else [text.split("\n")[0]]
    return sorted(ids), texts


def render(tokenizer: Any, messages: list[dict[str, str]], answer: bool = False) -> str:
    """Return a conversation as text, with the header of an answer behind it if `answer`."""
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer))


def _name(tokenizer: Any) -> str:
    return getattr(tokenizer, "name_or_path", "") or "the tokenizer"
