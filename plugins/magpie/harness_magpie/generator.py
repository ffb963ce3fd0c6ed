"""The aligned model that writes: loaded once, asked for instructions and then for greedy answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness_magpie.cleaning import clean, is_valid
from harness_magpie.rows import kept
from harness_magpie.sampling import Continued, Sampling, breaking_tokens, in_batches
from harness_magpie.template import (
    bare_template,
    begins_a_chat,
    pre_query_template,
    render,
    stops,
    template_ids,
)

Tell = Callable[..., None] | None


@dataclass
class Generator:
    """A chat model with its tokenizer, what ends a turn, and which tokens break a line."""

    model: Any
    tokenizer: Any
    ends: set[int]
    stop_texts: list[str]
    breaks: set[int]


def load_generator(folder: str | Path, precision: str, device: str) -> Generator:
    """Load a chat model for generation. Raises UsageError for one without a chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    pre_query_template(tokenizer)  # says at once what is no chat model
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, precision))
    model = model.to(device).eval()
    ends, texts = stops(tokenizer, model.generation_config)
    return Generator(model, tokenizer, set(ends), texts, breaking_tokens(tokenizer))


def template_prompt(tokenizer: Any, system: str | None = None, bare: bool = False) -> list[int]:
    """Return the tokens of the pre-query template, checked against a real chat."""
    ids = template_ids(tokenizer, bare_template(tokenizer) if bare else pre_query_template(tokenizer, system))
    if not bare and not begins_a_chat(tokenizer, ids, system):
        raise UsageError(
            "a chat rendered by the tokenizer does not begin with its pre-query template: "
            "its chat template and its special tokens do not fit together"
        )
    return ids


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
        generator.ends,
        breaks,
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
    questions: Sequence[str],
    max_tokens: int,
    *,
    batch_size: int,
    start: int = 0,
    tell: Tell = None,
) -> Iterator[list[dict[str, Any]]]:
    """Yield greedy answers, a batch at a time, in order: `answer`, whether it `finished`, its `tokens`.

    Greedy since the most likely text is the nearest to what the model was trained on; no system message.
    """
    encode = generator.tokenizer
    prompts = [
        encode(
            render(encode, [{"role": "user", "content": question}], answer=True), add_special_tokens=False
        )["input_ids"]
        for question in questions
    ]
    sampling = Sampling(temperature=0.0, max_tokens=max_tokens)
    for batch in in_batches(
        generator.model, prompts, sampling, generator.ends, batch_size=batch_size, start=start, tell=tell
    ):
        texts = generator.tokenizer.batch_decode([one.tokens for one in batch], skip_special_tokens=True)
        yield [
            {"answer": text.strip(), "finished": one.ended, "answer_tokens": len(one.tokens)}
            for text, one in zip(texts, batch, strict=True)
        ]


def kept_answers(
    path: Path,
    generator: Generator,
    questions: Sequence[str],
    max_tokens: int,
    *,
    batch_size: int,
    tell: Tell = None,
) -> list[dict[str, Any]]:
    """Return the greedy answers, kept in a file: questions of like length share a batch, which saves padding."""
    order = sorted(range(len(questions)), key=lambda i: (len(questions[i]), i))
    asked = [questions[i] for i in order]

    def make(start: int) -> Iterator[list[dict[str, Any]]]:
        return answers(generator, asked, max_tokens, batch_size=batch_size, start=start, tell=tell)

    rows = kept(path, batch_size, len(questions), make)
    back = dict(zip(order, rows, strict=True))
    return [back[i] for i in range(len(questions))]


def described(sampling: Sampling) -> dict[str, Any]:
    """Return a sampling as plain values for a row's provenance; top_k 0 says that it is not used."""
    return {**asdict(sampling), "top_k": 0}
