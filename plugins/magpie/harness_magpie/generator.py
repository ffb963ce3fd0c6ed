"""The aligned model that writes: loaded once, asked for instructions and then for greedy answers.

A thinking model's thoughts are taken apart from its answer, which is all that a conversation goes on with.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.engines import Engine
from harness.errors import UsageError
from harness.fit import for_writing
from harness.nn.turns import NOTHING, apart, dated, ending, ends_of, render, word_end
from harness_magpie.cleaning import clean, is_valid
from harness_magpie.rows import kept
from harness_magpie.sampling import Continued, Over, Sampling, breaking_tokens, in_batches
from harness_magpie.template import bare_template, begins_a_chat, next_query, pre_query_template, template_ids

Tell = Callable[..., None] | None
Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Generator:
    """A chat model with its tokenizer, what ends a turn, which tokens break a line, and its template's arguments.

    `model` is one of transformers, or an engine that has it elsewhere (`harness.engines`). `thoughts` are the tokens
    that begin or end a thought: no user writes them.
    """

    model: Any
    tokenizer: Any
    ends: set[int]
    stop_texts: list[str]
    breaks: set[int]
    thoughts: set[int] = field(default_factory=set)
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def over(self) -> Over:
        """What finds the words that end a turn."""
        return word_end(self.tokenizer, self.stop_texts)


def load_generator(
    folder: str | Path,
    precision: str,
    device: str,
    arguments: Mapping[str, Any] = NOTHING,
    opened: Callable[[Any], Engine] | None = None,
) -> Generator:
    """Load a chat model for generation. Raises UsageError for one without a chat template.

    `opened(tokenizer)` gives an engine that has the weights: then the folder's tokenizer alone is read.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    pre_query_template(tokenizer, None, arguments)  # says at once what is no chat model
    model: Any
    if opened:
        model, generation = opened(tokenizer), Path(folder)
    else:
        model = for_writing(AutoModelForCausalLM, folder, precision, device)
        generation = model.generation_config
    ends = ends_of(tokenizer, generation, arguments)
    breaks = breaking_tokens(tokenizer)
    return Generator(
        model, tokenizer, set(ends.ids), list(ends.words), breaks, set(ends.thoughts), dict(arguments)
    )


def at(generator: Generator, moment: datetime) -> Generator:
    """Return the generator with a chat template that takes `moment` for now."""
    tokenizer = copy.copy(generator.tokenizer)
    tokenizer.chat_template = dated(tokenizer.chat_template, moment)
    return replace(generator, tokenizer=tokenizer)


def template_prompt(
    tokenizer: Any,
    system: str | None = None,
    bare: bool = False,
    arguments: Mapping[str, Any] = NOTHING,
) -> list[int]:
    """Return the tokens of the pre-query template, checked against a real chat."""
    template = (
        bare_template(tokenizer, arguments) if bare else pre_query_template(tokenizer, system, arguments)
    )
    ids = template_ids(tokenizer, template)
    if not bare and not begins_a_chat(tokenizer, ids, system, arguments):
        raise UsageError(
            "a chat rendered by the tokenizer does not begin with its pre-query template: "
            "its chat template and its special tokens do not fit together"
        )
    return ids


def query_prompt(generator: Generator, messages: Messages) -> list[int]:
    """Return the tokens of a conversation so far, up to where its next query begins."""
    return template_ids(generator.tokenizer, next_query(generator.tokenizer, messages, generator.arguments))


def instructions(
    generator: Generator,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    mode: str,
    *,
    batch_size: int,
    start: int = 0,
    tell: Tell = None,
) -> Iterator[list[dict[str, Any]]]:
    """Yield rows of sampled instructions, a batch at a time: what was written, and what is left of it."""
    breaks = generator.breaks if mode == "official" else set()
    number = start
    for batch in in_batches(
        generator.model,
        prompts,
        sampling,
        generator.ends | generator.thoughts,
        breaks,
        over=generator.over,
        batch_size=batch_size,
        start=start,
        tell=tell,
    ):
        rows = []
        for one in batch:
            rows.append(as_row(generator, number, one, mode))
            number += 1
        yield rows


def as_row(generator: Generator, number: int, one: Continued, mode: str) -> dict[str, Any]:
    """Return a sampled instruction as a row: `raw`, `instruction`, `cut`, `ended`, `valid`, `tokens`."""
    raw = generator.tokenizer.decode(one.tokens, skip_special_tokens=True)
    cleaned = clean(raw, mode, generator.stop_texts)
    ended = one.ended or bool(cleaned.cut)
    return {
        "id": number,
        "raw": raw,
        "instruction": cleaned.text,
        "cut": cleaned.cut,
        "ended": ended,
        "valid": is_valid(cleaned.text, ended),
        "tokens": len(one.tokens),
    }


def answers(
    generator: Generator,
    conversations: Sequence[str | Messages],
    max_tokens: int,
    *,
    batch_size: int,
    start: int = 0,
    tell: Tell = None,
) -> Iterator[list[dict[str, Any]]]:
    """Yield greedy answers to questions, or to what conversations end with, a batch at a time, in order.

    An answer is `answer`, whether it `finished`, its `answer_tokens`; of a model that thought `reasoning_content`,
    and `unfinished_thought` where it ended in its thoughts. Greedy since the most likely text is the nearest to
    what the model was trained on; no system message.
    """
    encode = generator.tokenizer
    texts = [
        render(
            encode,
            [{"role": "user", "content": one}] if isinstance(one, str) else one,
            True,
            generator.arguments,
        )
        for one in conversations
    ]
    prompts = [encode(text, add_special_tokens=False)["input_ids"] for text in texts]
    sampling = Sampling(temperature=0.0, max_tokens=max_tokens)
    number = start
    for batch in in_batches(
        generator.model,
        prompts,
        sampling,
        generator.ends,
        over=generator.over,
        batch_size=batch_size,
        start=start,
        tell=tell,
    ):
        rows = []
        for one in batch:
            rows.append(as_answer(generator, one, texts[number]))
            number += 1
        yield rows


def as_answer(generator: Generator, one: Continued, prompt: str) -> dict[str, Any]:
    """Return what was written behind `prompt` as an answer, its thoughts apart."""
    # Every special token but a thought's marks has ended it: what is left of them is read here.
    text = generator.tokenizer.decode(one.tokens, skip_special_tokens=not generator.thoughts)
    place = ending(text, generator.stop_texts)
    said = apart(text if place < 0 else text[:place], prompt)
    thought = {"reasoning_content": said.reasoning} if said.reasoning or said.unfinished else {}
    return {
        "answer": said.content,
        "finished": one.ended and not said.unfinished,
        "answer_tokens": len(one.tokens),
        **thought,
        **({"unfinished_thought": True} if said.unfinished else {}),
    }


def kept_answers(
    path: Path,
    generator: Generator,
    questions: Sequence[str | Messages],
    max_tokens: int,
    *,
    batch_size: int,
    tell: Tell = None,
) -> list[dict[str, Any]]:
    """Return the greedy answers, kept in a file: questions of like length share a batch, which saves padding."""
    order = sorted(range(len(questions)), key=lambda i: (_long(questions[i]), i))
    asked = [questions[i] for i in order]

    def make(start: int) -> Iterator[list[dict[str, Any]]]:
        return answers(generator, asked, max_tokens, batch_size=batch_size, start=start, tell=tell)

    rows = kept(path, batch_size, len(questions), make)
    back = dict(zip(order, rows, strict=True))
    return [back[i] for i in range(len(questions))]


def _long(question: str | Messages) -> int:
    return len(question) if isinstance(question, str) else sum(len(one["content"]) for one in question)


def described(sampling: Sampling) -> dict[str, Any]:
    """Return a sampling as plain values for a row's provenance; top_k 0 says that it is not used."""
    return {**asdict(sampling), "top_k": 0}
