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
from harness.errors import UsageError
from harness.nn.evals import lm_eval_scores
from harness_score.claims import EDITS
from harness_score.corrections import edit_ratio, mcnemar
from harness_score.credit import kl
from harness_score.episodes import pad_left, sample, scores
from harness_score.judging import Judged, judge, pieces
from harness_score.policies import Policy, problems_of
from harness_score.preparation import read_turns
from harness_score.verifiers import Verify, verifier


def evaluate(run: Any, split: str, verify: Verify | None = None) -> dict[str, float | Items]:
    """Return the two-turn metrics of the chosen policy on `split`, with their items."""
    verify = verify or verifier(run.task)
    policy = Policy.trained(run)
    tokenizer = AutoTokenizer.from_pretrained(run.data_dir / "tokenizer")
    problems, turns = problems_of(run, split), read_turns(run.data_dir)
    shared = (problems, turns, tokenizer, verify, run.task)
    run.progress(0, 3, note="answering")
    greedy = judge(policy.model, *shared, blank=run.method.blank)
    run.progress(1, 3, note="sampling")
    sampled = judge(
        policy.model, *shared, temperature=run.task.temperature, seed=run.seed, blank=run.method.blank
    )
    run.progress(2, 3, note="distances")
    ids = [f"{zlib.crc32(row['problem'].encode()):08x}-{i}" for i, row in enumerate(problems)]
    found = {**two_turns(greedy, ids), **edits(greedy, ids), **sampled_turns(sampled, ids)}
    found |= divergence(run, policy, problems, ids)
    if run.task.lm_eval:
        found["lm_eval"] = side_effects(run, policy.model, tokenizer)
    else:
        run.absent("lm_eval", "no tasks were asked for: task.lm_eval=[...]")
    return found


def two_turns(judged: Judged, ids: list[str]) -> dict[str, float | Items]:
    """Return the paper's metrics in percent of all problems, and McNemar's p-value."""
    first, second = (100 * np.array(turn) for turn in (judged.first, judged.second))
    right = [np.array(turn) == 1 for turn in (judged.first, judged.second)]
    both = {"first": first, "second": second}
    return {
        "accuracy_t1": Items({"first": first}, ids),
        "accuracy_t2": Items({"second": second}, ids),
        "delta": Items({"delta": second - first, **both}, ids),
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


def sampled_turns(judged: Judged, ids: list[str]) -> dict[str, float | Items]:
    """Return accuracy and delta of answers sampled at the training temperature."""
    first, second = (100 * np.array(turn) for turn in (judged.first, judged.second))
    return {
        "sampled_accuracy_t1": Items({"first": first}, ids),
        "sampled_accuracy_t2": Items({"second": second}, ids),
        "sampled_delta": Items({"delta": second - first, "first": first, "second": second}, ids),
    }


def divergence(run: Any, policy: Policy, problems: list[dict[str, Any]], ids: list[str]) -> dict[str, Items]:
    """Return KL(policy || base) of both sampled answers in nats, exact over the vocabulary, token by token."""
    turns, blank = read_turns(run.data_dir), run.method.blank
    device = next(policy.model.parameters()).device
    generator = torch.Generator(device).manual_seed(run.seed + 1)
    nats: tuple[list[float], list[float]] = ([], [])
    for rows in pieces(problems, run.task.kl_batch):
        prompts = pad_left([row["ids"] for row in rows]).to(device)
        with torch.no_grad():
            episodes = sample(policy.model, prompts, turns, generator=generator, blank=blank)
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


def side_effects(run: Any, model: Any, tokenizer: Any) -> Items:
    """Return the accuracy of the policy on each document of `task.lm_eval`; UsageError for a task without one."""
    _, found = lm_eval_scores(model, tokenizer, run.task.lm_eval, limit=run.task.lm_eval_limit)
    right: list[float] = []
    ids: list[str] = []
    for name, items in found.items():
        if "acc" not in items.columns:
            raise UsageError(
                f"the lm-eval task {name} has no accuracy, only {', '.join(items.columns)}: leave it out"
            )
        right += [100 * value for value in items.columns["acc"]]
        ids += [f"{name}-{document}" for document in items.ids]
    return Items({"acc": right}, ids)
