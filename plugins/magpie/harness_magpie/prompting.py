"""What instructions come from: the model's template, Self-Instruct's list of seed tasks, or people themselves.

Self-Instruct here is its first step alone, six human tasks as a numbered list that the model continues as plain
text; eight rows continue each list. Its classification split and its ROUGE filter between rounds are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness_magpie.cleaning import is_valid
from harness_magpie.generator import template_prompt
from harness_magpie.preparation import answerable, read
from harness_magpie.settings import Magpie, Prompt

EXAMPLES, ROWS_A_PROMPT = 6, 8  # seed tasks in a list; rows that continue one list


def prompts_for(run: Any, method: Magpie, tokenizer: Any) -> list[list[int]]:
    """Return the tokens that each sample continues."""
    task = run.task
    if method.prompt is not Prompt.examples:
        ids = template_prompt(tokenizer, task.system or None, method.prompt is Prompt.bare)
        return [ids] * task.samples
    seeds = [seed["instruction"] for seed in read(run.data_dir, "seeds")]
    if len(seeds) < EXAMPLES:
        raise UsageError("self_instruct needs six seed tasks: give data.seeds=seed_tasks.jsonl")
    found = []
    for group in range(-(-task.samples // ROWS_A_PROMPT)):
        chosen = np.random.default_rng([run.seed, group]).choice(len(seeds), EXAMPLES, replace=False)
        text = numbered_list([seeds[int(i)] for i in chosen])
        found.append(list(tokenizer(text)["input_ids"]))  # plain text, begun as the model wants
    return [found[row // ROWS_A_PROMPT] for row in range(task.samples)]


def human(run: Any) -> list[dict[str, Any]]:
    """Return seed tasks in an order of the seed's own, as rows like those that are sampled."""
    seeds = read(run.data_dir, "seeds")
    if not seeds:
        raise UsageError("human_written needs seed tasks: give data.seeds=seed_tasks.jsonl")
    if not any(map(answerable, seeds)):
        raise UsageError("human_written needs seed tasks that people answered: give data.seeds with output")
    order = np.random.default_rng([run.seed, 7]).permutation(len(seeds))[: run.task.samples]
    return [
        {
            "id": number,
            "instruction": seed["question"],
            "cut": "",
            "ended": True,
            "valid": is_valid(seed["instruction"]),
            "answer": seed["output"],
            "finished": True,
        }
        for number, seed in enumerate(seeds[int(i)] for i in order)
    ]


def numbered_list(seeds: Sequence[str]) -> str:
    """Return Self-Instruct's prompt: seed tasks as a numbered list that goes on."""
    lines = [f"{i}. {' '.join(seed.split())}" for i, seed in enumerate(seeds, 1)]
    return "\n".join(["Come up with a series of tasks:", "", *lines, f"{len(seeds) + 1}."])
