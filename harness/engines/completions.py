"""A server of OpenAI's `completions`: vLLM, SGLang, llama.cpp's, or anything that speaks as they do.

A prompt goes as tokens where the server takes them, else as text that the server makes tokens of; what it counted
is then compared. Which of the forms below a server takes is found out by one token of one prompt. The samplers that
servers add of their own (top_k, min_p, penalties of repetition) are turned off by name where they can be named.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.engines.address import Address
from harness.engines.asking import Ask, Progress, Prompt, Written, cut, rows_of, tokens_of
from harness.engines.kept import Kept, key_of
from harness.engines.wire import Again, Refused, ServerError, Wire, alike, part, served
from harness.errors import UsageError
from harness.nn.generate import prompt_seeds
from harness.nn.turns import word_end

NEUTRAL = {"min_p": 0.0, "repetition_penalty": 1.0, "repeat_penalty": 1.0}
EXACT = {"return_token_ids": True, "skip_special_tokens": False, "top_k": -1, **NEUTRAL}
FORMS: Mapping[
    str, tuple[str, Mapping[str, Any]]
] = {  # by how they are told: the prompt's form, what else is said
    "tokens": ("tokens", EXACT),
    "text": ("text", {"top_k": 0, **NEUTRAL}),
    "text, the server's own top_k and penalties": ("text", {}),
}
SEEDS = 2**31  # servers take seeds below this


@dataclass(frozen=True)
class Answer:
    """A choice as the server sent it; `pieces` are its tokens' texts, `read` the tokens counted in the prompt."""

    text: str
    stopped: bool
    model: str
    tokens: list[int] | None = None
    pieces: list[str] | None = None
    log_probs: list[float] | None = None
    read: int | None = None


class Completions:
    """An engine (`harness.engines.Engine`) whose weights a server has. Opening it meets the server.

    `model` is how the model is called here, `tokenizer` its tokenizer. What comes is kept in the file `keep` and not
    asked for again. Raises UsageError where there is no such server, model or route.
    """

    def __init__(
        self,
        address: Address,
        model: str,
        tokenizer: Any,
        *,
        keep: Path | None = None,
        tries: int = 6,
        seconds: float = 300.0,
    ) -> None:
        self.wire = Wire(address, tries=tries, seconds=seconds)
        self.tokenizer = tokenizer
        self.served = served(self.wire, model)
        self.kept = Kept(keep)
        self.form, self.answers_as = self._meet()

    @property
    def told(self) -> dict[str, str]:
        """The server's model, by the list of its models and by its answers; the address; how prompts go."""
        return {
            "engine": "completions",
            "model": self.served,
            "answers as": self.answers_as,
            "address": self.wire.base,
            "prompts": self.form,
        }

    def _meet(self) -> tuple[str, str]:
        """Find out which form of a request the server takes, and by which name it answers."""
        prompt = self.tokenizer("Hello")["input_ids"] or [0]
        ask = Ask(max_tokens=1, temperature=0.0)
        for place, form in enumerate(FORMS):
            last = place == len(FORMS) - 1
            try:
                answer = self.wire.ask(
                    "completions",
                    functools.partial(_read, log_probs=False),
                    self._body(form, prompt, ask, 0),
                    tries=0 if last else 2,
                )
            except Refused as error:
                if last or error.status in (401, 403, 404, 405):
                    raise
                continue
            except ServerError:  # some servers fail at what they do not know
                if last:
                    raise
                continue
            if answer.model and not (
                alike(answer.model, self.served) or answer.model.startswith(self.served)
            ):
                raise UsageError(
                    f"{self.wire.base} was asked for {self.served} and answers as {answer.model}: give the address of "
                    "a server that has that model"
                )
            return form, answer.model
        raise AssertionError("the last form has returned or raised")

    def complete(
        self,
        prompts: Sequence[Prompt],
        ask: Ask,
        *,
        seeds: Sequence[int] = (),
        at_once: int = 32,
        progress: Progress = None,
    ) -> list[Written]:
        """Continue the prompts, `at_once` requests on their way (see `Engine`).

        Raises ServerError where the server dies meanwhile: what had come is kept.
        """
        rows = rows_of(prompts, self.tokenizer)
        drawn = [seed % SEEDS for seed in seeds or prompt_seeds(rows, 0)]
        names = [key_of(self.served, row, asdict(ask), seed) for row, seed in zip(rows, drawn, strict=True)]
        over = word_end(self.tokenizer, ask.words)
        left = {i: self._body(self.form, rows[i], ask, drawn[i]) for i in self._missing(names)}
        done = len(rows) - len(left)
        if progress:
            progress(done, len(rows))

        def hear(place: int, answer: Answer) -> None:
            nonlocal done
            written = cut(self._written(answer, rows[place], ask), ask, over)
            self.kept.add(names[place], asdict(written))
            done += 1
            if progress:
                progress(done, len(rows))

        if left:
            read = functools.partial(_read, log_probs=ask.log_probs)
            self.wire.all("completions", left, read, hear, at_once=at_once)
        return [Written(**self.kept.found[name]) for name in names]

    def _missing(self, names: Sequence[str]) -> list[int]:
        """Return the places of the first of each request that has no answer yet."""
        first = {name: i for i, name in reversed(list(enumerate(names))) if name not in self.kept.found}
        return sorted(first.values())

    def _body(self, form: str, row: list[int], ask: Ask, seed: int) -> dict[str, Any]:
        prompt, more = FORMS[form]
        body = {
            "model": self.served,
            "prompt": row if prompt == "tokens" else self._text(row),
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature,
            "top_p": ask.top_p,
            "seed": seed,
            **more,
        }
        if ask.log_probs:
            body["logprobs"] = 1
        if prompt == "tokens" and ask.ends:
            body["stop_token_ids"] = list(ask.ends)
        return body

    def _text(self, row: list[int]) -> str:
        """Return a prompt as the text of which a server makes these tokens: it adds the first one itself."""
        begins = self.tokenizer("", add_special_tokens=True)["input_ids"][:1]
        first = begins and begins == row[:1] == [self.tokenizer.bos_token_id]
        text: str = self.tokenizer.decode(
            row[1:] if first else row, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _written(self, answer: Answer, row: list[int], ask: Ask) -> Written:
        """Return an answer in tokens of our tokenizer. Raises ServerError where it is another model's."""
        if answer.model and answer.model != self.answers_as:
            raise ServerError(
                f"{self.wire.base} answered as {self.answers_as or self.served} and now does as {answer.model}: what "
                "has come is kept; serve the first again, and repeat the command"
            )
        if FORMS[self.form][0] == "text" and answer.read not in (None, len(row)):
            raise ServerError(
                f"{self.wire.base} reads {answer.read} tokens where {len(row)} were meant: its tokenizer is another "
                "one, or adds tokens of its own"
            )
        tokens, told = answer.tokens, answer.log_probs
        if tokens is None and answer.pieces is not None:
            tokens = self._by_pieces(answer)
        if tokens is None:  # as our tokenizer has the text; whose log-probabilities came is then not known
            tokens, told = tokens_of(answer.text, self.tokenizer), None
        if max(tokens, default=0) >= len(self.tokenizer):
            raise ServerError(
                f"{self.wire.base} wrote the token {max(tokens)}, and the tokenizer has {len(self.tokenizer)}: it has "
                "another model"
            )
        return Written(tokens, answer.stopped, told)

    def _by_pieces(self, answer: Answer) -> list[int] | None:
        """Return the tokens whose texts the server sent; None where one is missing or is not told by its text."""
        known, pieces = self._by_text, answer.pieces or []
        found = [known.get(piece, -1) for piece in pieces]
        whole = "".join(pieces) == answer.text or all(piece.startswith("token_id:") for piece in pieces)
        return found if whole and -1 not in found else None

    @functools.cached_property
    def _by_text(self) -> dict[str, int]:
        """The tokens by their text, those alone that no other shares; `token_id:7` is how vLLM says 7."""
        size = len(self.tokenizer)
        texts = self.tokenizer.batch_decode([[i] for i in range(size)], clean_up_tokenization_spaces=False)
        known: dict[str, int] = {}
        for i, text in enumerate(texts):
            known[text] = -1 if text in known else i
        return known | {f"token_id:{i}": i for i in range(size)}


def _read(answer: Any, log_probs: bool) -> Answer:
    """Return the choice in a server's answer.

    Raises Again for what is none, ServerError for log-probabilities that are missing.
    """
    text = part(answer, "choices", 0, "text", kind=str)
    choice = answer["choices"][0]
    usage = answer.get("usage")
    found: dict[str, Any] = {
        "text": text,
        "stopped": choice.get("finish_reason") == "stop",
        "model": answer["model"] if isinstance(answer.get("model"), str) else "",
        "read": usage.get("prompt_tokens") if isinstance(usage, dict) else None,
    }
    if choice.get("token_ids") is not None:
        found["tokens"] = _list(choice, "token_ids", int)
    if log_probs:
        told = choice.get("logprobs")
        if not told:
            raise ServerError(
                "the server sends no log-probabilities: start it so that it does (llama-cpp-python: --logits_all true)"
            )
        if isinstance(told, dict) and "content" in told:  # llama.cpp's own server
            rows = part(told, "content", kind=list)
            found["log_probs"] = [float(part(row, "logprob", kind=int | float)) for row in rows]
            if all(isinstance(row, dict) and isinstance(row.get("id"), int) for row in rows):
                found["tokens"] = [row["id"] for row in rows]
        else:
            found["log_probs"] = [float(one) for one in _list(told, "token_logprobs", int | float)]
            found["pieces"] = _list(told, "tokens", str) if "tokens" in told else None
        lengths = {
            len(found[name]) for name in ("tokens", "pieces", "log_probs") if found.get(name) is not None
        }
        if len(lengths) > 1 or not all(map(math.isfinite, found["log_probs"])):
            raise Again("its log-probabilities are not one a token")
    return Answer(**found)


def _list(value: Any, name: str, kind: Any) -> list[Any]:
    rows: list[Any] = part(value, name, kind=list)
    return [part(rows, i, kind=kind) for i in range(len(rows))]
