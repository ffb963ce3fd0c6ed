"""Scores of an answer: a reward model's, and how much likelier the aligned model finds it than its base.

The paper's reward difference sets a reward model's score of the answer against that of the base model's own
answer; its code has no script for the latter. The log-likelihood gap needs no reward model. It is taken per
character, so that two tokenizers can be compared, and is above 0 where alignment favours the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.fit import for_writing
from harness_magpie.evaluation import losses
from harness_magpie.sets import Pair
from harness_magpie.student import format_of

Scorer = Callable[[Sequence[str], Sequence[str]], Sequence[float]]  # questions, answers -> scores


def reward_differences(
    questions: Sequence[str], answers: Sequence[str], aligned: Scorer, base: Scorer
) -> list[float]:
    """Return what `aligned` gives each answer beyond what `base` gives it."""
    pairs = zip(aligned(questions, answers), base(questions, answers), strict=True)
    return [float(ours) - float(theirs) for ours, theirs in pairs]


def log_likelihood(folder: str | Path, precision: str = "float32", device: str = "cpu") -> Scorer:
    """Return a scorer: the log-likelihood of an answer under a model, in nats a character of it."""
    from transformers import AutoModelForCausalLM

    form = format_of(Path(folder))
    model = for_writing(AutoModelForCausalLM, folder, precision, device)

    def score(questions: Sequence[str], answers: Sequence[str]) -> list[float]:
        pairs = [Pair(q, a, False) for q, a in zip(questions, answers, strict=True)]
        encoded = [form.encode(pair, 10**9) for pair in pairs]
        counts = np.array([len(one.ids) - one.given for one in encoded])
        sums = losses(model, encoded, device) * counts
        return [float(-total / max(1, len(a))) for total, a in zip(sums, answers, strict=True)]

    return score


def reward_model(folder: str | Path, device: str = "cpu") -> Scorer:
    """Return a scorer: the first logit of a sequence classifier that reads the chat."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder)
    model = model.to(device).eval()

    def score(questions: Sequence[str], answers: Sequence[str]) -> list[float]:
        found = []
        for question, answer in zip(questions, answers, strict=True):
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            text = tokenizer.apply_chat_template(turns, tokenize=False)
            ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").to(device)
            with torch.inference_mode():
                found.append(float(model(**ids).logits[0, 0]))
        return found

    return score
