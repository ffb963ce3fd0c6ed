"""How a chat is rendered, and where a turn of it ends: one rule for whatever writes turns with a chat model.

A turn ends at a token (of the tokenizer, of the generation config, of the template), and where a template marks
its turns with words ("ASSISTANT:", "### 응답:"), at those. Both are read off the template itself, rendered with
the header of an answer around sentinels. Marks of a thought end nothing: what a model thinks is taken apart from
what it says.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = [
    "NOTHING", "THOUGHTS", "Ends", "Said", "answer_end", "apart", "dated", "end_tokens", "ending", "ends_of", "render",
    "word_end",
]  # fmt: skip

Message = Mapping[str, str]
NOTHING: Mapping[str, Any] = MappingProxyType({})
USER, ANSWER, NEXT = "turnsSENTINELuser", "turnsSENTINELanswer", "turnsSENTINELnext"
THOUGHTS = (
    ("<think>", "</think>"), ("<thought>", "</thought>"), ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"), ("<|START_THINKING|>", "<|END_THINKING|>"),
)  # fmt: skip
CLOCK = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")


@dataclass(frozen=True)
class Ends:
    """What ends a turn: `ids` of tokens and, where a template has none, `words`; `thoughts` are marks that do not.

    A word with a line break before it is looked for at the beginning of a line.
    """

    ids: tuple[int, ...]
    words: tuple[str, ...] = ()
    thoughts: tuple[int, ...] = ()


def render(
    tokenizer: Any, messages: Sequence[Message], answer: bool = False, arguments: Mapping[str, Any] = NOTHING
) -> str:
    """Return a conversation as text, with the header of an answer behind it if `answer`.

    `arguments` are what the template reads besides (`enable_thinking`). Messages become parts for a template
    that asks for such, as those of models that see do.
    """
    return _rendered(tokenizer, messages, answer, arguments, _wants_parts(tokenizer, arguments))


def _rendered(
    tokenizer: Any, messages: Sequence[Message], answer: bool, arguments: Mapping[str, Any], parts: bool
) -> str:
    told = [
        {**one, "content": [{"type": "text", "text": one["content"]}] if parts else one["content"]}
        for one in messages
    ]
    return str(tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=answer, **arguments))


def _wants_parts(tokenizer: Any, arguments: Mapping[str, Any]) -> bool:
    """Say whether a plain text is lost on the template, and one in parts is not."""
    for parts in (False, True):
        for answer in (True, False):
            try:
                text = _rendered(tokenizer, [{"role": "user", "content": USER}], answer, arguments, parts)
            except Exception:  # whatever the template raises, `render` raises it again
                continue
            if USER in text:
                return parts
    return False


def dated(template: Any, moment: datetime) -> Any:
    """Return a chat template (or several by name) that takes `moment` for now, whenever it is rendered."""
    if isinstance(template, dict):
        return {name: dated(one, moment) for name, one in template.items()}
    return CLOCK.sub(lambda found: repr(moment.strftime(found[2])), template or "") or None


def ends_of(tokenizer: Any, generation: Any = None, arguments: Mapping[str, Any] = NOTHING) -> Ends:
    """Return what ends a turn of this tokenizer's chats; `generation` is a generation config, or its end tokens.

    Every special token ends a turn, as no answer holds one, but for the marks of a thought.
    """
    added = getattr(tokenizer, "added_tokens_decoder", {})
    thoughts = {number for number, token in added.items() if str(token) in _marks()}
    ids = {number for number, token in added.items() if token.special}
    ids |= {number for number in (tokenizer.eos_token_id, tokenizer.bos_token_id) if number is not None}
    ids |= end_tokens(generation)
    words: dict[str, None] = {}
    if getattr(tokenizer, "chat_template", None):
        for text in _between(tokenizer, arguments):
            token, word = _mark(text, added)
            ids |= {token} - {None}
            words |= {word: None} if word else {}
    return Ends(tuple(sorted(ids - thoughts)), tuple(words), tuple(sorted(thoughts)))


def answer_end(tokenizer: Any, arguments: Mapping[str, Any] = NOTHING) -> int | None:
    """Return the token that a chat has behind an answer: the template's, or else the tokenizer's own."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    behind = _between(tokenizer, arguments)[1:] if getattr(tokenizer, "chat_template", None) else []
    found = [token for token, _ in (_mark(text, added) for text in behind) if token is not None]
    return found[0] if found else tokenizer.eos_token_id


def end_tokens(generation: Any) -> set[int]:
    """Return the end tokens of a generation config, a number, several, None, or a model's folder or file."""
    if isinstance(generation, Path):
        return _tokens_in(generation)
    more = getattr(generation, "eos_token_id", generation)
    return (
        {int(one) for one in more}
        if isinstance(more, list | tuple | set)
        else set()
        if more is None
        else {more}
    )


def _tokens_in(path: Path) -> set[int]:
    told = [path / name for name in ("generation_config.json", "config.json")] if path.is_dir() else []
    read = [json.loads(file.read_text(encoding="utf-8")) for file in told if file.exists()]
    return set().union(*(end_tokens(config.get("eos_token_id")) for config in read))


def _between(tokenizer: Any, arguments: Mapping[str, Any]) -> list[str]:
    """Return what a chat has behind a question before its answer, and behind an answer before the next question."""
    asked = [{"role": "user", "content": USER}]
    more = [*asked, {"role": "assistant", "content": ANSWER}, {"role": "user", "content": NEXT}]
    found = []
    for messages, before, after in ((asked, USER, ""), (more, ANSWER, NEXT)):
        try:
            text = render(tokenizer, messages, True, arguments)
        except Exception:  # a template of one turn; whoever writes a chat with it is told by `render`
            continue
        _, there, text = text.rpartition(before)
        if there:
            found.append(text.partition(after)[0] if after else text)
    return found


def _mark(text: str, added: Mapping[int, Any]) -> tuple[int | None, str]:
    """Return the token, or else the words, that a turn's end begins with."""
    body = text.strip()
    tokens = {str(token): number for number, token in added.items() if str(token).strip()}
    first = max((token for token in tokens if body.startswith(token.strip())), key=len, default="")
    if first:
        return tokens[first], ""
    line = body.partition("\n")[0]
    line = line[: min((line.find(token) for token in tokens if token in line), default=len(line))].strip()
    broken = "\n" in text[: len(text) - len(text.lstrip())]
    return None, ("\n" if broken and line else "") + line


def _marks() -> set[str]:
    return {mark for pair in THOUGHTS for mark in pair}


def ending(text: str, words: Sequence[str]) -> int:
    """Return where the first of the `words` that end a turn begins in `text`; -1 where none is there."""
    found = [match.start(1) for word in words if (match := _pattern(word).search(text))]
    return min(found, default=-1)


@functools.lru_cache(maxsize=64)
def _pattern(word: str) -> re.Pattern[str]:
    body = word.strip()
    before = ""
    if body[0].isalnum():  # "Assistant:" may be said within a sentence, "### Assistant:" is not
        before = r"(?:^|\n)[ \t]*" if word.startswith("\n") else r"(?<!\w)"
    after = r"(?!\w)" if body[-1].isalnum() else ""
    return re.compile(f"{before}({re.escape(body)}{after})")


def word_end(tokenizer: Any, words: Sequence[str]) -> Callable[[Sequence[int]], int] | None:
    """Return a function from an answer's tokens so far to the place of the one where its end's words begin, or -1.

    None where there are no words to look for. Only the last tokens are read each time, so ask after each token.
    """
    if not words:
        return None
    bodies = [word.strip() for word in words]
    reach = 4 + max(len(tokenizer(body, add_special_tokens=False)["input_ids"]) for body in bodies)

    def place(tokens: Sequence[int]) -> int:
        tail = tokenizer.decode(list(tokens[-reach:]), skip_special_tokens=False)
        if not any(body in tail for body in bodies):
            return -1
        start = ending(tokenizer.decode(list(tokens), skip_special_tokens=False), words)
        if start < 0:
            return -1
        read = (
            len(tokenizer.decode(list(tokens[: i + 1]), skip_special_tokens=False))
            for i in range(len(tokens))
        )
        return next(i for i, long in enumerate(read) if long > start)

    return place


@dataclass(frozen=True)
class Said:
    """An answer without its thoughts, the thoughts, and whether the text ended before they did."""

    content: str
    reasoning: str = ""
    unfinished: bool = False


def apart(text: str, prompt: str = "") -> Said:
    """Take an answer's thoughts apart from what it says.

    A thought is begun by the answer (Qwen3) or by the end of its `prompt` (DeepSeek-R1), or is closed without
    having been begun.
    """
    rest, thoughts = text.strip(), []
    begun = next((pair for pair in THOUGHTS if prompt.rstrip().endswith(pair[0])), None)
    while begun or (begun := next((pair for pair in THOUGHTS if rest.startswith(pair[0])), None)):
        rest = rest.removeprefix(begun[0])
        thought, closed, rest = rest.partition(begun[1])
        thoughts.append(thought.strip())
        if not closed:
            return Said("", "\n\n".join(filter(None, thoughts)), True)
        rest, begun = rest.strip(), None
    for opens, closes in THOUGHTS:
        thought, closed, after = rest.partition(closes)
        if closed and opens not in thought:
            thoughts.append(thought.strip())
            rest = after.strip()
    return Said(rest, "\n\n".join(filter(None, thoughts)))
