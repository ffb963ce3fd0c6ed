"""The task two cores can learn: additions, answered twice, and a small base with the paper's weakness.

`0123+4567=` then five digits, `?` (the correction prompt), five digits again. Writing from the left needs the
carries ahead of time; at the second try the first answer's digits tell them, so a second look can help. The
base first learns to add, until validation accuracy passes `base_accuracy`. Then it learns to answer twice
*without labels*, from its own samples before: the second answer is a copy of the first, for a share
`chat_copies`, or else a fresh, hotter sample; for `chat_steps`, or until `chat_same` of its second answers on
validation repeat the first. So it adds decently, and makes things worse when asked to correct: what the paper
reports of large models.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.batches import Counted
from harness.data.sources import Document
from harness.data.tokens import character_tokenizer
from harness.errors import HarnessError
from harness.fit import fit, seed_everything
from harness.nn.decoder import Decoder
from harness_score.episodes import Turns, sample, scores
from harness_score.settings import Task

CORRECTION = "?"
CHARACTERS = "0123456789+=?"
PARTS = ("train", "validation", "test", "base")
HOT = 1.3


def part_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which part an addition belongs to, as its number in `PARTS`: no problem is in two.

    The numbers are mixed (SplitMix64), since any rule of their digits would leak into what can be learned.
    """
    mixed = first.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + second.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.minimum((mixed ^ (mixed >> np.uint64(31))) % np.uint64(20), 3).astype(int)  # 5 % each of three


def problems(task: Task, part: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` different pairs of numbers of a part, (count,) each."""
    size = 10**task.digits
    draw = np.random.default_rng([seed, PARTS.index(part)])
    found: dict[tuple[int, int], None] = {}
    for _ in range(1000):
        first, second = draw.integers(size, size=(2, 30 * count))
        mine = part_of(first, second) == PARTS.index(part)
        pairs = zip(first[mine].tolist(), second[mine].tolist(), strict=True)
        found.update(dict.fromkeys(pairs))
        if len(found) >= count:
            pairs_found = np.array(list(found)[:count])
            return pairs_found[:, 0], pairs_found[:, 1]
    raise HarnessError(
        f"additions of {task.digits} digits have no {count} problems for {part}: ask for fewer or more digits"
    )


def rows(task: Task, part: str, count: int) -> list[dict[str, str]]:
    """Return additions with their sums as text, zero padded."""
    width = task.digits
    return [
        {"problem": f"{a:0{width}}+{b:0{width}}=", "answer": f"{a + b:0{width + 1}}"}
        for a, b in zip(*problems(task, part, count, seed=task.draw), strict=True)
    ]


def tokenizer() -> Any:
    """Return a tokenizer with a token for each character of an addition."""
    return character_tokenizer([Document("characters", CHARACTERS)])


def turns(task: Task, numbers: Any) -> Turns:
    """Return the turns of an addition: answers of a fixed length, without end tokens."""
    return Turns((numbers.convert_tokens_to_ids(CORRECTION),), (), task.digits + 1, task.digits + 1)


def small(task: Task, vocabulary: int) -> Decoder:
    """Return the untrained small base: layers of about torch's own weights, GPT-2's small vectors before them."""
    model = Decoder.of(
        task, vocabulary, "base_", length=3 * task.digits + 4 + task.digits + 1, position="learned",
        scale_embeddings=False, tie_word_embeddings=False, initializer_range=0.08,
    )  # fmt: skip
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name.startswith(("embedding", "position")):
                weights.mul_(0.25)  # 0.02
    return model


class Reached(Exception):
    """The base does well enough what it is taught: this part of its training ends."""


def train_base(
    task: Task, folder: Path, seed: int, device: str, precision: str, progress: Any = None
) -> None:
    """Train a seed's small base on additions that no part holds, and save it in `folder`."""
    numbers = tokenizer()
    seed_everything(int(np.random.SeedSequence([task.draw, seed]).generate_state(1)[0]))
    model = small(task, len(numbers))
    digits = Digits(numbers, task)
    held = digits.sums(*problems(task, "validation", task.validation_problems, seed=task.draw))
    shared = {"device": device, "precision": precision, "schedule": "constant", "progress": progress}
    prompt = 2 * task.digits + 2

    def add(model: Any, batch: dict[str, Tensor]) -> Tensor:
        return answer_loss(model, batch["input_ids"], prompt)

    def added(model: Any) -> bool:
        return correct(model, held, prompt, digits.turns) >= task.base_accuracy

    try:
        fit(
            model, Additions(task, digits, seed), until(added, task.base_every, add), steps=task.base_steps,
            warmup=task.base_warmup, learning_rate=task.base_learning_rate, weight_decay=0.01, **shared,
        )  # fmt: skip
    except Reached:
        pass
    else:
        raise HarnessError(
            f"the base still adds too badly after {task.base_steps} steps: raise task.base_steps, "
            "or lower task.base_accuracy"
        )
    frozen = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def answered_twice(batch: dict[str, Tensor]) -> Tensor:
        prompts = batch["input_ids"][:, :prompt]
        seeds = int(batch["seed"][0]) * 1009 + np.arange(2 * len(prompts)).reshape(2, -1)
        drawn = [
            sample(frozen, prompts, digits.turns, temperature=t, seeds=of, only_first=True).tokens
            for t, of in zip((1.0, HOT), seeds.tolist(), strict=True)
        ]
        copied = np.random.default_rng(int(batch["seed"][0])).random((len(prompts), 1)) < task.chat_copies
        again = torch.where(torch.from_numpy(copied).to(prompts.device), drawn[0], drawn[1])[:, prompt:]
        asked = prompts.new_tensor(digits.turns.correction).expand(len(prompts), -1)
        return torch.cat([drawn[0], asked, again], dim=1)

    def answer_twice(model: Any, batch: dict[str, Tensor]) -> Tensor:
        return answer_loss(model, answered_twice(batch), prompt)

    def copies(model: Any) -> bool:
        return repeated(model, held, prompt, digits.turns) >= task.chat_same

    with contextlib.suppress(Reached):
        fit(
            model, Additions(task, digits, seed, half=1), until(copies, task.base_every, answer_twice),
            steps=task.chat_steps, learning_rate=task.chat_learning_rate, weight_decay=0.01, **shared,
        )  # fmt: skip
    model.save_pretrained(folder)
    numbers.save_pretrained(folder)


def until(
    reached: Callable[[Any], bool], every: int, step: Callable[[Any, dict[str, Tensor]], Tensor]
) -> Callable[[Any, dict[str, Tensor]], Tensor]:
    """Return `step`, which raises Reached when it finds, looking `every` so many steps, that `reached(model)`."""
    counted = itertools.count()

    def stopping(model: Any, batch: dict[str, Tensor]) -> Tensor:
        number = next(counted)
        if number and number % every == 0 and reached(model):
            raise Reached
        return step(model, batch)

    return stopping


def answer_loss(model: Any, tokens: Tensor, start: int) -> Tensor:
    """Return the mean loss of predicting the columns from `start` on."""
    logits = scores(model, tokens, torch.ones_like(tokens, dtype=torch.bool), start)
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, start:].flatten())


@torch.no_grad()
def correct(model: Any, sums: Tensor, prompt: int, turns: Turns) -> float:
    """Return the share of sums that are added right, greedily."""
    sums = sums.to(next(model.parameters()).device)
    made = sample(model, sums[:, :prompt], turns, temperature=0, only_first=True).tokens
    return float((made == sums).all(dim=1).float().mean())


@torch.no_grad()
def repeated(model: Any, sums: Tensor, prompt: int, turns: Turns) -> float:
    """Return the share of sums whose second answer is the first one again, greedily."""
    prompts = sums[:, :prompt].to(next(model.parameters()).device)
    made = sample(model, prompts, turns, temperature=0).tokens
    first, second = made[:, prompt : prompt + turns.first], made[:, -turns.second :]
    return float((first == second).all(dim=1).float().mean())


class Digits:
    """Write additions as tokens, without going through text."""

    def __init__(self, numbers: Any, task: Task) -> None:
        self.places = task.digits
        self.digit = np.array(numbers.convert_tokens_to_ids(list("0123456789")))
        self.plus, self.equals = numbers.convert_tokens_to_ids(["+", "="])
        self.turns = turns(task, numbers)

    def sums(self, first: np.ndarray, second: np.ndarray) -> Tensor:
        """Return `first + second = sum` a row, (count, 3 digits + 3)."""
        rows = len(first)
        columns = [
            self.written(first, self.places), np.full((rows, 1), self.plus),
            self.written(second, self.places), np.full((rows, 1), self.equals),
            self.written(first + second, self.places + 1),
        ]  # fmt: skip
        return torch.from_numpy(np.concatenate(columns, axis=1))

    def written(self, numbers: np.ndarray, places: int) -> np.ndarray:
        powers = 10 ** np.arange(places - 1, -1, -1)
        return self.digit[numbers[:, None] // powers % 10]


class Additions(Counted):
    """Endless batches of additions that belong to no part, other ones for each half of a base's training."""

    def __init__(self, task: Task, digits: Digits, seed: int, half: int = 0) -> None:
        self.task, self.digits, self.seed, self.half = task, digits, seed, half

    def __next__(self) -> dict[str, Tensor]:
        draw = np.random.default_rng([self.task.draw, self.seed, self.half, self.drawn])
        size, count = 10**self.task.digits, self.task.base_batch
        first, second = draw.integers(size, size=(2, 2 * count + 20))
        own = np.flatnonzero(part_of(first, second) == PARTS.index("base"))[:count]
        self.drawn += 1
        ids = self.digits.sums(first[own], second[own])
        return {"input_ids": ids, "seed": torch.full((len(ids),), int(draw.integers(2**31)))}
