"""ALiBi: attention with linear biases, so that a model trained short can be tested long.

Press, Smith and Lewis (ICLR 2022). No position is added anywhere; each head subtracts from its
attention scores a fixed slope times the distance between query and key. Trained at L, perplexity
stays flat at many times L, where sinusoidal positions break. It does not make memory longer:
most of the gain of long windows is the evaluation protocol (Appendix B), and both are shown here.
"""

from collections.abc import Mapping
from typing import Any

from harness import Method, Paper, hookimpl, lazy
from harness_alibi.claims import CLAIMS, FIGURES
from harness_alibi.metrics import METRICS
from harness_alibi.settings import Alibi, Data, Retrofit, Task

__getattr__ = lazy(__name__, {"slopes": "bias", "alibi_bias": "bias"})

RATES = [3e-4, 1e-3, 3e-3]  # of every retrofit alike


def _scratch(position: str, text: str, window: int = 1) -> Method:
    """Return a baseline that is trained from nothing."""
    less = "fewer windows, each longer: as many tokens" if window > 1 else ""
    return Method(Alibi(position, window=window), text, baseline=True, takes_model=False, less=less)


def _kept(config: Retrofit, text: str) -> Method:
    """Return a baseline of the retrofit, which keeps rotary positions."""
    return Method(config, text, baseline=True, tune={"learning_rate": RATES})


METHODS = {
    "alibi": Method(Alibi(), "fixed slopes on the distance (the paper's)", takes_model=False),
    "sinusoidal": _scratch("sinusoidal", "sinusoids added once to the embeddings"),
    "sinusoidal_2L": _scratch("sinusoidal", "sinusoids, trained in windows of 2L: as long as tested", 2),
    "sinusoidal_4L": _scratch("sinusoidal", "sinusoids, trained in windows of 4L: as long as tested", 4),
    "rotary": _scratch("rotary", "queries and keys rotated by position"),
    "t5_bias": _scratch("t5_bias", "a learned bias per bucket of distance"),
    "none": _scratch("none", "no positions at all: the causal mask alone"),
    "learned": _scratch("learned", "a vector per position; ends at L"),
    "alibi_learned_slopes": Method(
        Alibi(learned_slopes=True), "slopes trained with the model", takes_model=False
    ),
    "alibi_half_heads": Method(Alibi(half_heads=True), "a bias on half of the heads only", takes_model=False),
    "alibi_interpolated": Method(
        Alibi(interpolated=True), "slopes scaled by L / length when tested beyond L", takes_model=False
    ),
    "retrofit": Method(
        Retrofit(), "a rotary model given ALiBi, and trained on", tune={"learning_rate": RATES}
    ),
    "retrofit_unchanged": _kept(Retrofit("rotary"), "the same training, its positions left as they are"),
    "retrofit_base": _kept(Retrofit("rotary_base"), "the same training with the rotary base raised"),
    "retrofit_interpolation": _kept(Retrofit("interpolated"), "the same training, positions interpolated"),
    "retrofit_base_long": _kept(
        Retrofit("rotary_base", window=8), "the rotary base raised, trained on in windows of 8L"
    ),
    "retrofit_interpolation_long": _kept(
        Retrofit("interpolated", window=8), "positions interpolated, trained on in windows of 8L"
    ),
}

BUDGETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "smoke": {
        "task": {
            "length": 16, "width": 16, "layers": 1, "heads": 2, "feedforward": 32, "batch_size": 4,
            "steps": 4, "schedule_steps": 4, "warmup": 1, "targets": 256,
            "stride": 8, "sliding_targets": 64, "probes": 4,
        },
    },
    "small": {},  # the defaults of Task: a check of direction, half a minute on one core
    "full": {  # the README's command for WikiText-103, L = 512: 9,216 tokens on each of 8 GPUs are 205 epochs
        "task": {
            "length": 512, "width": 1024, "layers": 16, "heads": 8, "feedforward": 4096,
            "activation": "relu", "dropout": 0.3, "attention_dropout": 0.1, "activation_dropout": 0.1,
            "tokenizer": "words", "vocabulary": 267_735, "optimizer": "nag", "learning_rate": 1.0,
            "weight_decay": 0.0, "warmup": 16_000, "clip": 0.1, "batch_size": 144, "steps": 286_000,
            "schedule_steps": 286_000, "targets": 212_992,
            "stride": 512, "sliding_targets": 212_992,
        },
        "fit": {"micro_batch": 8},  # one GPU takes a batch in turn: logits of 16,384 tokens at once, in rows of 4 L
        "data": {
            "corpus": "hub:Salesforce/wikitext#wikitext-103-v1/train",
            "validation": "hub:Salesforce/wikitext#wikitext-103-v1/validation",
            "test": "hub:Salesforce/wikitext#wikitext-103-v1/test",
        },
    },
}  # fmt: skip

HOOKS = {
    "fits": "preparation", "prepare": "preparation", "train": "training", "evaluate": "evaluation", "plan": "pricing",
    "training_step": "training", "tools": "commands",
}  # fmt: skip


@hookimpl
def paper() -> Paper:
    return Paper(
        title="Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation",
        authors="Ofir Press, Noah A. Smith, Mike Lewis",
        year=2022,
        url="https://arxiv.org/abs/2108.12409",
        task=Task,
        data=Data,
        methods=METHODS,
        metrics=METRICS,
        claims=CLAIMS,
        figures=FIGURES,
        tuned_by="perplexity_1L",
        budgets=BUDGETS,
        hooks=HOOKS,
    )
