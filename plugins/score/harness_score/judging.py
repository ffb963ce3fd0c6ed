"""Let a policy answer a split's problems twice, and ask the verifier about both answers."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

from harness.engines import Engine
from harness.nn.generate import pad_left
from harness_score.asked import asked
from harness_score.episodes import Turns, sample
from harness_score.verifiers import Verify, rewards


@dataclass
class Judged:
    """What a policy answered, per problem: rewards, tokens, and whether an answer was cut off."""

    first: list[float]
    second: list[float]
    answers: list[tuple[list[int], list[int]]]
    cut: list[tuple[bool, bool]]

    @property
    def accuracy(self) -> tuple[float, float]:
        """The mean reward of both turns."""
        return sum(self.first) / len(self.first), sum(self.second) / len(self.second)


def judge(
    model: Any,
    problems: list[dict[str, Any]],
    turns: Turns,
    tokenizer: Any,
    verify: Verify,
    task: Any,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    blank: bool = False,
    engine: Engine | None = None,
) -> Judged:
    """Answer all `problems` twice with `model`, where it lies, or by an engine that has it; greedy at temperature 0."""
    device = next(model.parameters()).device
    write = (
        functools.partial(asked, engine)
        if engine
        else functools.partial(sample, model, blank=blank, tokenizer=tokenizer)
    )
    found = Judged([], [], [], [])
    for rows in pieces(problems, task.judge_batch):
        prompts = pad_left([row["ids"] for row in rows]).to(device)
        first = seed * 1_000_003 + len(found.first)
        episodes = write(prompts, turns, temperature=temperature, seeds=range(first, first + len(rows)))
        both = episodes.answers(1), episodes.answers(2)
        texts = [decode(tokenizer, answers) for answers in both]
        found.first += rewards(verify, rows, texts[0], task.verifier_seconds)
        found.second += rewards(verify, rows, texts[1], task.verifier_seconds)
        found.answers += list(zip(*both, strict=True))
        found.cut += [(bool(a), bool(b)) for a, b in episodes.cut.tolist()]
    return found


def pieces(rows: list[Any], size: int) -> list[list[Any]]:
    """Cut rows into pieces of at most `size`, none of which is a single row where two can be had."""
    count = -(-len(rows) // max(size, 2))
    edges = [len(rows) * i // count for i in range(count + 1)]
    return [rows[low:high] for low, high in itertools.pairwise(edges)]


def decode(tokenizer: Any, answers: list[list[int]]) -> list[str]:
    """Return answers as text, without special tokens."""
    texts: list[str] = tokenizer.batch_decode(answers, skip_special_tokens=True)
    return texts
