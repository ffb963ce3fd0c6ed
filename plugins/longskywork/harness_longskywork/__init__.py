"""LongSkywork: reach far with little long data, by interleaved chunks and synthetic tables.

Zhao et al. (Kunlun, technical report, 2024). Long pretraining on documents whose chunks are dealt out among
one another (CIP), after raising the RoPE base, makes short text long-range; a last tuning on lengthy tables
made by program (SynL), about 200 iterations, teaches to use it. No code, data or weights were released and its
rates, bases and table forms are not known, so a run here is no strict reproduction: each is a setting. Both
ideas are checked where they can fail: documents whose facts return, and needles learned after tables.
"""

from collections.abc import Mapping
from typing import Any

from harness import Method, Paper, hookimpl, lazy
from harness_longskywork.claims import CLAIMS, FIGURES
from harness_longskywork.metrics import METRICS
from harness_longskywork.settings import Data, LongSkywork, Order, Scaling, Task

__getattr__ = lazy(
    __name__,
    {"gather": "interleaving", "interleave": "interleaving", "ntk_base": "scaling", "tables": "synl"},
)

CONCATENATE, NONE = Order.concatenate, Order.none

METHODS = {
    "cip_synl": Method(LongSkywork(), "the recipe: base scaled, CIP-2, then tables"),
    "cip": Method(LongSkywork(synl_share=0.0), "base scaled and CIP-2, no tables"),
    "synl": Method(
        LongSkywork(base=False, order=NONE, scaling=Scaling.none), "tables after the copying warm-up"
    ),
    "cip_masked": Method(LongSkywork(masked=True, synl_share=0.0), "CIP-2 with attention inside a document"),
    "base_scaled_only": Method(LongSkywork(order=NONE, synl_share=0.0), "the RoPE base scaled, nothing more"),
    "copy_warm_up": Method(
        LongSkywork(base=False, order=NONE, scaling=Scaling.none, synl_share=0.0), "the copying warm-up alone"
    ),
    "concatenate": Method(
        LongSkywork(order=CONCATENATE, synl_share=0.0), "documents in a row", baseline=True
    ),
    "concatenate_masked": Method(
        LongSkywork(order=CONCATENATE, masked=True, synl_share=0.0),
        "documents in a row, attention inside each",
        baseline=True,
    ),
}

BUDGETS: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "task": {
            "width": 16, "layers": 1, "heads": 2, "feedforward": 16, "vocabulary": 20, "warmup": 1, "copy_steps": 2,
            "copy_length": 12, "document": 48, "base_steps": 2, "batch_size": 4, "window": 96, "windows": 2,
            "long_steps": 2, "short_steps": 1, "rows": 4, "questions": 2, "synl_steps": [2, 0, 2, 0, 2], "prose": 16,
            "needle_steps": 2, "items": 10,
        },
    },
    "small": {},  # the defaults of Task: a model of 0.1 M parameters that copies, about a minute a method
    "full": {  # our choice, not the paper's; a long window for a model that was trained at a quarter of it
        "task": {
            "copy_steps": 0, "base_steps": 0, "document": 2_400, "trained_length": 32_768, "window": 131_072,
            "windows": 32, "long_steps": 1_000, "long_rate": 1e-5, "warmup": 100, "short_steps": 200,
            "batch_size": 16, "rows": 48,
            "synl_steps": [40, 40, 40, 40, 40], "synl_rate": 1e-5, "prose": 16_384, "needle_steps": 100,
            "needle_rate": 1e-5, "gradient_checkpointing": True, "weight_decay": 0.1, "items": 100,
        },
        "fit": {"micro_batch": 1},  # a window of 131,072 tokens at once
        "data": {"corpus": "hub:Salesforce/wikitext#wikitext-103-v1/train"},
        "model": "Qwen/Qwen2.5-1.5B",
    },
}  # fmt: skip


HOOKS = {
    "fits": "preparation", "prepare": "preparation", "train": "training", "evaluate": "evaluation", "plan": "pricing",
    "training_step": "training", "tools": "commands",
}  # fmt: skip


@hookimpl
def paper() -> Paper:
    return Paper(
        title="LongSkywork: A Training Recipe for Efficiently Extending Context Length in Large Language Models",
        authors="Liang Zhao, Tianwen Wei, Liang Zeng and others (Skywork, Kunlun)",
        year=2024,
        url="https://arxiv.org/abs/2406.00605",
        task=Task,
        data=Data,
        methods=METHODS,
        metrics=METRICS,
        claims=CLAIMS,
        figures=FIGURES,
        budgets=BUDGETS,
        hooks=HOOKS,
        no_chance="a row of `windows` or `conversations` is trained on and never judged; needles are drawn anew",
    )
