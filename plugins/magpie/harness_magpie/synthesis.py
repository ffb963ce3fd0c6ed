"""A set made step by step: instructions, cleaning, tags, neighbours, filter, answers, filter, export.

What a model writes is appended to a file batch by batch, so a killed synthesis goes on where it was, to the
same rows as an unbroken one: a batch that is not whole is written again. Everything else follows from those
files, and is shared by the processes that make the set (`tagging`). Rules that need no answer are applied before
answering, which is 97 % of the paper's cost. A chat template that tells the date is rendered at the moment when the
set was begun, whenever it is gone on with.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import filelock

from harness.data.jsonl import read_json
from harness.errors import HarnessError, UsageError
from harness.tools import write_json
from harness_magpie.cleaning import clean
from harness_magpie.filters import Preset, preset_of, rules, select
from harness_magpie.generator import (
    Generator,
    at,
    described,
    instructions,
    kept_answers,
    query_prompt,
    template_prompt,
)
from harness_magpie.judging import LABELS
from harness_magpie.rows import kept
from harness_magpie.sampling import Sampling, refuse_sizes
from harness_magpie.tagging import SHARD, Shards, Tools, score, tag
from harness_magpie.template import pre_query_template

Tell = Callable[..., None]  # tell(step, done, total, tokens_per_second=)
DOMAINS = {  # our own words, in the manner of the paper's Figure 15
    "math": "You are an AI assistant that helps people with mathematics. The user asks you a question of "
    "mathematics, and you solve it step by step.",
    "code": "You are an AI assistant that helps people with programming. The user asks you about code.",
    "translation": "You are an AI assistant that translates. The user gives you a text and names a language.",
    "korean": "당신은 한국어로 대화하는 AI 비서입니다. 사용자는 한국어로 질문하고 당신은 한국어로 답합니다.",
    "japanese": "あなたは日本語で話すAIアシスタントです。ユーザーは日本語で質問し、あなたは日本語で答えます。",
}
SPOKEN = {"korean": "ko", "japanese": "ja"}  # the language that a domain asks for
GOING_ON = (  # of further turns alone, and of their questions alone, as in the paper
    "You are a helpful AI assistant. The user holds a conversation of several rounds with you and asks follow-up "
    "questions."
)


@dataclass(frozen=True)
class Recipe:
    """All that decides a set."""

    model: str
    revision: str
    licence: str
    count: int
    system: str | None
    sampling: Sampling
    mode: str
    answer_tokens: int
    preset: str
    batch_size: int
    precision: str
    encoder: str = ""
    pooling: str = ""
    prompt: str | None = None
    judge: str = ""
    base: str = ""
    reward: str = ""
    language: str = ""
    turns: int = 1
    template_args: Mapping[str, Any] = field(default_factory=dict)
    engine: str = ""  # the kind of engine and its model, where transformers does not write

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"--count {self.count} asks for nothing: sample at least one instruction")
        refuse_sizes(
            turns=self.turns,
            max_instruction_tokens=self.sampling.max_tokens,
            max_answer_tokens=self.answer_tokens,
            batch_size=self.batch_size,
        )
        if not 0 <= self.sampling.temperature < math.inf:
            raise UsageError(f"--temperature {self.sampling.temperature:g} is none: give 0 (greedy) or more")
        if not 0 < self.sampling.top_p <= 1:
            raise UsageError(f"--top-p {self.sampling.top_p:g} is no share: give more than 0 and at most 1")
        preset_of(self.preset)
        clean("", self.mode)  # refuses a mode that is not known

    @property
    def filter(self) -> Preset:
        """The preset's rules, and the language that is asked for."""
        preset = preset_of(self.preset)
        return replace(preset, language=self.language) if self.language else preset


@dataclass
class Made:
    """A finished set: its rows, how many were left after each step, and what was cut, dropped or null."""

    rows: list[dict[str, Any]]
    yields: dict[str, int]
    cuts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    nulls: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)  # of all finished instructions
    template: str = ""


def synthesize(
    recipe: Recipe,
    generator: Generator,
    tools: Tools,
    folder: Path,
    tell: Tell | None = None,
    shard: int = SHARD,
) -> Made:
    """Make the set in `folder`, going on from what is there. Raises UsageError for a folder of another set.

    Processes that make the same set share tags and scores by shards of rows; what a model writes, one writes.
    """
    stages = folder / "stages"
    hear = tell or (lambda *a, **k: None)
    parts = functools.partial(Shards, stages=stages, tell=hear, shard=shard)
    # A template that is none is refused before the folder is taken.
    pre_query_template(generator.tokenizer, recipe.system, generator.arguments)
    with alone(stages, hear):
        claim(recipe, stages)
        generator = dated_once(generator, recipe, stages)
        prompt = template_prompt(generator.tokenizer, recipe.system, arguments=generator.arguments)
        made = Made([], {}, template=generator.tokenizer.decode(prompt))
        rows = written(stages / "instructions.jsonl", recipe, generator, [prompt] * recipe.count, hear)
    made.yields["sampled"] = len(rows)
    made.cuts.update(row["cut"] or "role or end token" for row in rows if row["ended"])
    rows = cleaned(rows, made.dropped)
    made.yields["cleaned"] = len(rows)
    tag(parts(rows), tools, recipe.batch_size)
    made.nulls.update(kind for row in rows for kind in LABELS if row.get(kind, "") is None)
    made.languages.update(row["language"] or "not told" for row in rows)
    rows = [dict(r) for r in select(rows, recipe.filter, when="before", dropped=made.dropped)]
    made.yields["filtered before answering"] = len(rows)
    with alone(stages, hear):
        rows = answered(rows, recipe, generator, stages, made, hear)
    score(parts(rows), tools, recipe.batch_size)
    kept = select(rows, recipe.filter, when="after", raw=recipe.count, dropped=made.dropped)
    made.rows = [dict(row) for row in kept]
    made.yields["kept"] = len(made.rows)
    made.dropped = +made.dropped
    return made


def answered(
    rows: list[dict[str, Any]], recipe: Recipe, generator: Generator, stages: Path, made: Made, tell: Tell
) -> list[dict[str, Any]]:
    """Return the rows that got an answer, with their conversations of up to `recipe.turns` questions."""
    found = kept_answers(
        stages / "answers.jsonl",
        generator,
        [row["instruction"] for row in rows],
        recipe.answer_tokens,
        batch_size=recipe.batch_size,
        tell=_named(tell, "answers"),
    )
    rows = [row | one for row, one in zip(rows, found, strict=True)]
    made.dropped["unfinished thought"] += sum(row.get("unfinished_thought", False) for row in rows)
    made.dropped["empty answer"] += sum(
        not row["answer"] and not row.get("unfinished_thought", False) for row in rows
    )
    rows = [row | {"messages": exchange(row)} for row in rows if row["answer"]]
    made.yields["answered"] = len(rows)
    for turn in range(2, recipe.turns + 1):
        go_on(rows, turn, recipe, generator, stages, tell)
    return rows


def exchange(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a question and its answer as messages, with what the model thought where it did."""
    thought = {"reasoning_content": row["reasoning_content"]} if row.get("reasoning_content") else {}
    return [
        {"role": "user", "content": row["instruction"]},
        {"role": "assistant", "content": row["answer"], **thought},
    ]


def go_on(
    rows: list[dict[str, Any]], turn: int, recipe: Recipe, generator: Generator, stages: Path, tell: Tell
) -> None:
    """Add a `turn` to the conversations that have come so far, where the model has something further to ask.

    A query that is empty or unfinished, or no sentence where the filter wants one, ends its conversation; so does
    an empty answer.
    """
    going = [row for row in rows if len(row["messages"]) == 2 * (turn - 1)]
    if not going:
        return
    said = [[{k: one[k] for k in ("role", "content")} for one in row["messages"]] for row in going]
    system = going_on(recipe, generator)
    prompts = [query_prompt(generator, [*system, *messages]) for messages in said]
    sampling = replace(recipe.sampling, seed=recipe.sampling.seed + 1_000_003 * (turn - 1))
    path = stages / f"instructions-{turn}.jsonl"
    asked = written(
        path, replace(recipe, sampling=sampling, count=len(prompts)), generator, prompts, tell, turn
    )
    more = [
        (row, messages, one)
        for row, messages, one in zip(going, said, asked, strict=True)
        if one["instruction"] and one["ended"] and (one["valid"] or not recipe.filter.valid)
    ]
    found = kept_answers(
        stages / f"answers-{turn}.jsonl",
        generator,
        [[*messages, {"role": "user", "content": one["instruction"]}] for _, messages, one in more],
        recipe.answer_tokens,
        batch_size=recipe.batch_size,
        tell=_named(tell, f"answers of turn {turn}"),
    )
    for (row, _, one), answer in zip(more, found, strict=True):
        if answer["answer"]:
            row["messages"] = [*row["messages"], *exchange(one | answer)]


def going_on(recipe: Recipe, generator: Generator) -> list[dict[str, str]]:
    """Return the system message under which further questions are asked; none where the template takes none."""
    text = recipe.system or GOING_ON
    try:
        pre_query_template(generator.tokenizer, text, generator.arguments)
    except UsageError:
        return []
    return [{"role": "system", "content": text}]


def dated_once(generator: Generator, recipe: Recipe, stages: Path) -> Generator:
    """Return the generator with its template at the moment when this set was begun, which is kept with it.

    Raises UsageError where the template is another one by now.
    """
    path = stages / "template.json"
    moment = read_json(path)["moment"] if path.exists() else datetime.now().isoformat(timespec="seconds")
    generator = at(generator, datetime.fromisoformat(moment))
    template = pre_query_template(generator.tokenizer, recipe.system, generator.arguments)
    if not path.exists():
        write_json(path, {"moment": moment, "template": template})
    elif (before := read_json(path)["template"]) != template:
        raise UsageError(
            f"{stages.parent} was begun with the template {before[:80]!r}, and now it is {template[:80]!r}: name "
            "another folder with --out, or delete that one"
        )
    return generator


def claim(recipe: Recipe, stages: Path) -> None:
    """Write down what is made here, or check that it is the same."""
    path = stages / "recipe.json"
    now = json.loads(json.dumps(asdict(recipe)))
    if not path.exists():
        write_json(path, now)
        return
    unsaid = {f.name: f.default_factory() for f in fields(recipe) if f.default_factory is not MISSING}
    unsaid |= {f.name: f.default for f in fields(recipe) if f.default is not MISSING}
    before = unsaid | read_json(path)  # a set of before a setting was there has its default
    for name, value in now.items():
        if before.get(name) != value:
            raise UsageError(
                f"{stages.parent} holds a set made with {name}={before.get(name)}, not {value}: "
                "name another folder with --out, or delete that one"
            )


def written(
    path: Path,
    recipe: Recipe,
    generator: Generator,
    prompts: list[list[int]],
    tell: Tell,
    turn: int = 1,
) -> list[dict[str, Any]]:
    """Return the sampled rows, writing those that are missing."""
    heard = _named(tell, "instructions" if turn == 1 else f"instructions of turn {turn}")

    def check(rows: list[dict[str, Any]]) -> None:
        if turn == 1:
            never_ends(rows, recipe)

    def make(start: int) -> Iterator[list[dict[str, Any]]]:
        if not start:
            heard(0, recipe.count)
        return instructions(
            generator,
            prompts,
            recipe.sampling,
            recipe.mode,
            batch_size=recipe.batch_size,
            start=start,
            tell=heard,
        )

    return kept(path, recipe.batch_size, recipe.count, make, check)


def never_ends(rows: list[dict[str, Any]], recipe: Recipe) -> None:
    """Refuse to go on with a model that has not ended one of its instructions."""
    if rows and not any(row["ended"] for row in rows):
        raise HarnessError(
            f"{recipe.model} ended none of its first {len(rows)} instructions within "
            f"{recipe.sampling.max_tokens} tokens: raise --max-instruction-tokens, or it is no chat model"
        )


def cleaned(rows: Iterable[dict[str, Any]], dropped: Counter[str]) -> list[dict[str, Any]]:
    """Return the rows that hold a finished instruction; the others are counted."""
    kept = []
    for row in rows:
        reason = "empty" if not row["instruction"] else "unfinished" if not row["ended"] else ""
        dropped[reason or "kept"] += 1
        if not reason:
            kept.append(row)
    del dropped["kept"]
    return kept


@contextlib.contextmanager
def alone(stages: Path, tell: Tell) -> Iterator[None]:
    """Hold the set while a model writes to it; another process that makes it waits, and finds what was written."""
    stages.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(stages / ".writing.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        tell("another process writes this set", 0, 1)
        lock.acquire()
        tell("another process writes this set", 1, 1)
    try:
        yield
    finally:
        lock.release()


def asks_for(preset: str) -> Iterator[str]:
    """Yield the tags that a preset reads."""
    yield from (tag for _, tag, _ in rules(preset_of(preset)))


def provenance(recipe: Recipe, made: Made) -> dict[str, Any]:
    """Return what every row of a set has in common."""
    sampling = described(recipe.sampling)
    return {
        "model": recipe.model,
        "revision": recipe.revision,
        **({"engine": recipe.engine} if recipe.engine else {}),
        "template": made.template,
        **({"template_args": json.dumps(dict(recipe.template_args))} if recipe.template_args else {}),
        "seed": sampling.pop("seed"),
        "sampling": json.dumps(sampling),
    }


def _named(tell: Tell, name: str) -> Callable[..., None]:
    return lambda done, total, **more: tell(name, done, total, **more)
