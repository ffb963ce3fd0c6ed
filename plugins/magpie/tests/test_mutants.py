"""The errors that ports of Magpie have really made: each must break a law, or the laws are too weak."""

import numpy as np
import pytest
import torch
from harness_magpie import clean, neighbour_distances, select
from harness_magpie.neighbours import between
from harness_magpie.packing import Encoded, as_rows, token_losses
from harness_magpie.preparation import tiny_config
from harness_magpie.sets import Pair, shuffled
from harness_magpie.template import pre_query_template, template_ids
from magpie_models import FAMILIES, tokenizer
from transformers import LlamaForCausalLM

# Neighbours


def law_of_distances(distances) -> bool:
    rows = np.random.default_rng(0).normal(size=(30, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.concatenate([rows, rows[:2]])
    found = distances(rows)
    opposite = distances(np.array([[1, 0], [-1, 0]], dtype=np.float32))
    return (found[[0, 1, 30, 31]] == 0).all() and (found[2:30] > 0.5).all() and list(opposite) == [4, 4]


def not_squared(rows):
    return np.sqrt(neighbour_distances(rows))


def itself(rows):
    return ((rows[:, None] - rows) ** 2).sum(-1).min(axis=1)


def by_the_product(rows):
    near = 2 - 2 * (rows @ rows.T)
    np.fill_diagonal(near, np.inf)
    return near.min(axis=1)


def rank_one(rows):
    return np.sort(((rows[:, None] - rows) ** 2).sum(-1), axis=1)[:, min(2, len(rows) - 1)]


def law_of_first(first) -> bool:
    radians = np.radians([0, 8, 16, 90])
    return list(first(np.stack([np.cos(radians), np.sin(radians)], axis=1))) == [True, False, False, True]


def of_those_kept(rows):
    kept: list[int] = []
    for i in range(len(rows)):
        if all(((rows[i] - rows[j]) ** 2).sum() >= 0.05 for j in kept):
            kept.append(i)
    return [i in kept for i in range(len(rows))]


def by_first(rows):
    return [first > i for i, first in enumerate(between(rows, rows, same=True)[2])]


# Cleaning


def law_of_cleaning(official, whole) -> bool:
    code = "Fix this code:\nx = [1, 2"
    return (
        official("Build a virtual assistant.") == "Build a virtual"
        and official(code) == "Fix this code:"
        and whole("Build a virtual assistant.") == "Build a virtual assistant."
        and whole(code) == code
        and whole("Why?\nassistant\nBecause") == "Why?"
    )


def by(mode):
    return lambda text: clean(text, mode).text


# The template


def law_of_the_template(derive) -> bool:
    return all(
        derive(tokenizer(family)) == FAMILIES[family][4]
        for family in ("Llama-3", "Qwen2.5", "SmolLM2", "Gemma-1.1")
    )


def without_the_system_message(made):
    return "<|im_start|>user\n" if "<|im_start|>" in made.get_vocab() else pre_query_template(made)


def with_the_query_s_end(made):
    return made.apply_chat_template([{"role": "user", "content": ""}], tokenize=False)


def without_bos(made):
    return pre_query_template(made).removeprefix(made.bos_token or "")


def law_of_bos(ids) -> bool:
    made = tokenizer("Llama-3")
    return ids(made, pre_query_template(made)).count(made.bos_token_id) == 1


def added_again(made, text):
    return [made.bos_token_id, *made(text, add_special_tokens=False)["input_ids"]]


# Filters


def law_of_the_longest(choose) -> bool:
    sizes = [(9, 0.0, 0.0), (3, 1.0, 0.0), (8, 1.0, -12.0), (5, 1.0, 0.0), (5, 1.0, 0.0)]
    rows = [
        {"id": i, "instruction": "q", "answer": "a" * n, "distance": d, "reward": r}
        for i, (n, d, r) in enumerate(sizes)
    ]
    return [row["id"] for row in choose(rows)] == [3, 4]


def the_paper_s(rows):
    return select(rows, "pro3", raw=7)  # 0.3 of 7 are two


def longest_first(rows):
    longest = sorted(rows, key=lambda row: -len(row["answer"]))[:2]
    return [row for row in longest if row["distance"] > 0 and row["reward"] > -12]


def at_least(rows):
    kept = [row for row in rows if row["distance"] >= 0 and row["reward"] >= -12]
    return sorted(sorted(kept, key=lambda row: -len(row["answer"]))[:2], key=lambda row: row["id"])


# Pairs


def law_of_shuffling(shuffle) -> bool:
    pairs = [Pair(f"q{i}", f"a{i}", True) for i in range(6)]
    return all(
        all(one.answer != other.answer for one, other in zip(shuffle(pairs, seed), pairs, strict=True))
        for seed in range(20)
    )


def a_plain_shuffle(pairs, seed):
    order = np.random.default_rng(seed).permutation(len(pairs))
    return [Pair(p.question, pairs[i].answer, True) for p, i in zip(pairs, order, strict=True)]


def law_of_packing(rows) -> bool:
    torch.manual_seed(0)
    model = LlamaForCausalLM(tiny_config(48)).eval()
    pairs = [Encoded([3, 4, 5, 6, 7], 2), Encoded([8, 9, 10, 11], 1)]
    with torch.inference_mode():
        packed = token_losses(model, rows(pairs)).sum()
        alone = sum(token_losses(model, as_rows([pair], 16)).sum() for pair in pairs)
    return abs(float(packed - alone)) < 1e-4


def seen_across(pairs):
    batch = as_rows(pairs, 16)
    return {**batch, "position_ids": torch.arange(batch["input_ids"].shape[1])[None]}


def on_questions_too(pairs):
    return as_rows([Encoded(pair.ids, 1) for pair in pairs], 16)


def off_by_one(pairs):
    batch = as_rows(pairs, 16)
    return {**batch, "labels": batch["labels"].roll(1, dims=1)}


LAWS = {
    "distances": (law_of_distances, (neighbour_distances,)),
    "first of group": (law_of_first, (by_first,)),
    "cleaning": (law_of_cleaning, (by("official"), by("whole"))),
    "template": (law_of_the_template, (pre_query_template,)),
    "one BOS": (law_of_bos, (template_ids,)),
    "filter": (law_of_the_longest, (the_paper_s,)),
    "shuffled": (law_of_shuffling, (shuffled,)),
    "packing": (law_of_packing, (lambda pairs: as_rows(pairs, 16),)),
}
MUTANTS = {
    "distances not squared": (law_of_distances, (not_squared,)),
    "a row is its own neighbour": (law_of_distances, (itself,)),
    "copies lost in rounding": (law_of_distances, (by_the_product,)),
    "rank one left out among copies": (law_of_distances, (rank_one,)),
    "groups are components of what is kept": (law_of_first, (of_those_kept,)),
    "one mode for both": (law_of_cleaning, (by("official"), by("official"))),
    "nothing is cut": (law_of_cleaning, (str, str)),
    "the modes exchanged": (law_of_cleaning, (by("whole"), by("official"))),
    "no system message": (law_of_the_template, (without_the_system_message,)),
    "the turn's end as well": (law_of_the_template, (with_the_query_s_end,)),
    "no BOS": (law_of_the_template, (without_bos,)),
    "BOS twice": (law_of_bos, (added_again,)),
    "the longest before the rules": (law_of_the_longest, (longest_first,)),
    "at least instead of above": (law_of_the_longest, (at_least,)),
    "an answer stays at home": (law_of_shuffling, (a_plain_shuffle,)),
    "packed pairs see each other": (law_of_packing, (seen_across,)),
    "questions are targets": (law_of_packing, (on_questions_too,)),
    "labels off by one": (law_of_packing, (off_by_one,)),
}


@pytest.mark.parametrize("law", LAWS)
def test_what_is_here_keeps_the_law(law):
    holds, given = LAWS[law]
    assert holds(*given)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_breaks_its_law(mutant):
    holds, given = MUTANTS[mutant]
    assert not holds(*given)
