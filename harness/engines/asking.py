"""What is asked of an engine and what it returns; where an answer ends is decided here, whatever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from harness.errors import UsageError

Prompt = Sequence[int] | str  # tokens, or a text whose special tokens stand in it
Progress = Callable[[int, int], object] | None


@dataclass(frozen=True)
class Ask:
    """How to continue a prompt: greedily at temperature 0, up to `max_tokens`, until one of `ends` or a word.

    `ends` are tokens, `words` what ends a turn where a template has no such token (`harness.nn.turns`). A cut by
    either leaves it out. `log_probs` asks for each token's log-probability under the model, at temperature 1.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    ends: tuple[int, ...] = ()
    words: tuple[str, ...] = ()
    log_probs: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise UsageError(
                f"max_tokens={self.max_tokens} must be 1 or more, temperature={self.temperature} 0 or more and "
                f"top_p={self.top_p} above 0, at most 1: change that one"
            )


@dataclass(frozen=True)
class Written:
    """A continuation: its tokens without what ended it, whether it ended, and each token's log-probability.

    Without log-probabilities where a server tells tokens by texts that several have, as parts of a character do.
    """

    tokens: list[int]
    ended: bool
    log_probs: list[float] | None = None


@runtime_checkable
class Engine(Protocol):
    """Whatever continues prompts. `told` says by which means and by which model, for the record."""

    @property
    def told(self) -> Mapping[str, str]: ...

    def complete(
        self,
        prompts: Sequence[Prompt],
        ask: Ask,
        *,
        seeds: Sequence[int] = (),
        at_once: int = 32,
        progress: Progress = None,
    ) -> list[Written]:
        """Return the continuation of each prompt, in order.

        Each draws by its own seed of `seeds` (default: one made from its tokens and how many equal ones came
        before). `at_once` bounds the rows of a batch, or the requests on their way. `progress(done, total)` hears
        of what has come. Raises UsageError for an empty prompt.
        """
        ...


def rows_of(prompts: Sequence[Prompt], tokenizer: Any) -> list[list[int]]:
    """Return prompts as tokens. Raises UsageError for one that has none."""
    rows = [
        list(map(int, tokens_of(prompt, tokenizer) if isinstance(prompt, str) else prompt))
        for prompt in prompts
    ]
    if not all(rows):
        raise UsageError("a prompt without tokens cannot be continued: give each at least one token")
    return rows


def tokens_of(text: str, tokenizer: Any) -> list[int]:
    """Return a text's tokens as it stands: none is added."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def cut(written: Written, ask: Ask, over: Callable[[Sequence[int]], int] | None = None) -> Written:
    """End a continuation where it should have: at the first token of `ask.ends`, or at its words.

    `over` finds these (`harness.nn.turns.word_end`).
    """
    tokens = written.tokens
    end = next((i for i, token in enumerate(tokens) if token in ask.ends), len(tokens))
    if over and (place := over(tokens[:end])) >= 0:
        end = min(end, place)
    kept = None if written.log_probs is None else written.log_probs[:end]
    return Written(tokens[:end], written.ended or end < len(tokens), kept)
