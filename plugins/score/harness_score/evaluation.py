"""Judge a policy's two answers on unseen problems: greedy and sampled, with what the second one changed.

The items of `delta` hold the 2 x 2 of each problem (first and second answer right or not). Greedy numbers
are the paper's; sampled ones can tell another story, so both are here.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from harness import Items
from harness.data.jsonl import read_jsonl
from harness.nn.evals import lm_eval_accuracy
from harness.nn.generate import pad_left
from harness_score.asked import opened
from harness_score.corrections import edit_ratio, mcnemar
from harness_score.credit import kl
from harness_score.episodes import sample, scores
from harness_score.judging import Judged, judge, pieces
from harness_score.metrics import EDITS
from harness_score.policies import Policy
from harness_score.preparation import read_turns
from harness_score.settings import Trains
from harness_score.verifiers import Verify, verifier


def evaluate(run: Any, split: str, verify: Verify | None = None) -> dict[str, float | Items]:
    """Return the two-turn metrics of the chosen policy on `split`, with their items."""
    verify = verify or verifier(run.task)
    policy = Policy.trained(run)
    tokenizer = AutoTokenizer.from_pretrained(run.data_dir / "tokenizer")
    problems, turns = read_jsonl(run.data_dir / f"{split}.jsonl"), read_turns(run.data_dir)
    shared = (problems, turns, tokenizer, verify, run.task)
    engine = (
        opened(run, tokenizer) if run.method.trains is Trains.nothing else None
    )  # it has the base's weights
    written = {"blank": run.method.blank, "engine": engine}
    run.progress(0, 3, note="answering")
    greedy = judge(policy.model, *shared, **written)
    run.progress(1, 3, note="sampling")
    sampled = judge(policy.model, *shared, temperature=run.task.temperature, seed=run.seed, **written)
    run.progress(2, 3, note="distances")
    ids = [f"{zlib.crc32(row['problem'].encode()):08x}-{i}" for i, row in enumerate(problems)]
    found = {**two_turns(greedy, ids), **edits(greedy, ids)}
    found |= {f"sampled_{name}": value for name, value in accuracies(sampled, ids).items()}
    found |= divergence(run, policy, problems, ids, tokenizer)
    if run.task.lm_eval:
        right = lm_eval_accuracy(policy.model, tokenizer, run.task.lm_eval, limit=run.task.lm_eval_limit)
        found["lm_eval"] = Items({"acc": [100 * value for value in right.columns["acc"]]}, right.ids)
    else:
        run.absent("lm_eval", "no tasks were asked for: task.lm_eval=[...]")
    return found


def accuracies(judged: Judged, ids: list[str]) -> dict[str, Items]:
    """Return the accuracy of both turns and delta; an item is a problem, of which no two are the same."""
    first, second = (100 * np.array(turn) for turn in (judged.first, judged.second))
    return {
        "accuracy_t1": Items({"first": first}, ids),
        "accuracy_t2": Items({"second": second}, ids),
        "delta": Items({"delta": second - first, "first": first, "second": second}, ids),
    }


def two_turns(judged: Judged, ids: list[str]) -> dict[str, float | Items]:
    """Return the paper's metrics in percent of all problems, and McNemar's p-value."""
    right = [np.array(turn) == 1 for turn in (judged.first, judged.second)]
    return {
        **accuracies(judged, ids),
        "wrong_to_right": Items({"gained": 100.0 * (~right[0] & right[1])}, ids),
        "right_to_wrong": Items({"lost": 100.0 * (right[0] & ~right[1])}, ids),
        "mcnemar_p": mcnemar(*right),
        "answers_cut_off": float(100 * np.mean(judged.cut)),
    }


def edits(judged: Judged, ids: list[str]) -> dict[str, float | Items]:
    """Return how far second answers are from first ones: share changed, mean ratio, and its histogram."""
    ratios = np.array([edit_ratio(first, second) for first, second in judged.answers])
    found: dict[str, float | Items] = {
        "answer_changed": Items({"changed": 100.0 * (ratios > 0)}, ids),
        "edit_ratio": Items({"ratio": ratios}, ids),
    }
    for name, (low, high) in EDITS.items():
        inside = (ratios > low) & (ratios <= high)
        found[name] = Items({"inside": 100.0 * inside}, ids)
    return found


def divergence(
    run: Any, policy: Policy, problems: list[dict[str, Any]], ids: list[str], tokenizer: Any
) -> dict[str, Items]:
    """Return KL(policy || base) of both sampled answers in nats, exact over the vocabulary, token by token."""
    turns, blank = read_turns(run.data_dir), run.method.blank
    device = next(policy.model.parameters()).device
    first = (run.seed + 1) * 1_000_003  # the seed of the first problem
    nats: tuple[list[float], list[float]] = ([], [])
    for rows in pieces(problems, run.task.kl_batch):
        prompts = pad_left([row["ids"] for row in rows]).to(device)
        with torch.no_grad():
            seeds = range(first + len(nats[0]), first + len(nats[0]) + len(rows))
            episodes = sample(policy.model, prompts, turns, seeds=seeds, blank=blank, tokenizer=tokenizer)
            for turn, columns in enumerate((episodes.first, episodes.second)):
                tokens, seen, start = episodes.tokens, episodes.seen, prompts.shape[1]
                if turn and episodes.shown is not None and episodes.shown_seen is not None:
                    tokens, seen = episodes.shown, episodes.shown_seen
                ours = scores(policy.model, tokens, seen, start).float()
                base, as_base = policy.reference()
                with as_base:
                    theirs = scores(base, tokens, seen, start).float()
                each = kl(ours, theirs, tokens[:, start:], columns[:, start:], "exact")
                nats[turn].extend(each.sum(-1).tolist())
    return {"kl_t1": Items({"nats": nats[0]}, ids), "kl_t2": Items({"nats": nats[1]}, ids)}
