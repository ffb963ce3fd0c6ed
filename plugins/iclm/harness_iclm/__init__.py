"""ICLM: in-context pretraining, so that what stands in one window belongs together.

Shi, Min, Lomeli, Zhou, Li and others (ICLR 2024). Only the order of the documents changes: nearest neighbours make
a graph, near duplicates leave it, and a greedy path from document to most similar document left is cut into
windows, which are shuffled. Model and loss stay. The paper reports better use of context; a public
reproduction found little, and masking documents from each other is the modern counterpoint: both are here.
"""

from collections.abc import Mapping
from typing import Any

from harness import Method, Paper, hookimpl, lazy
from harness_iclm.claims import CLAIMS, FIGURES
from harness_iclm.metrics import METRICS
from harness_iclm.settings import Data, Order, Packing, Task

__getattr__ = lazy(
    __name__,
    {
        "neighbours": "search",
        "deduplicate": "duplicates",
        "path": "walk",
        "windows": "packing",
        "best_fit": "packing",
        "Windows": "packing",
    },
)

TUNE = {"rate": [1.0, 2.0, 4.0, 8.0]}  # of every method alike


def _packed(config: Packing, text: str, baseline: bool = True) -> Method:
    return Method(config, text, baseline=baseline, tune=TUNE)


METHODS = {
    "in_context": _packed(Packing(), "related documents in a window, along one path (the paper's)", False),
    "in_context_masked": _packed(
        Packing(masked=True), "the same windows, but documents do not see each other", False
    ),
    "random": _packed(Packing(Order.random), "random documents in a window"),
    "random_masked": _packed(
        Packing(Order.random, masked=True), "random windows, documents masked from each other"
    ),
    "nearest_neighbours": _packed(
        Packing(Order.nearest_neighbours), "each document with its own neighbours; repeats them"
    ),
    "clusters": _packed(Packing(Order.clusters), "windows drawn inside k-means clusters"),
    "best_fit": _packed(Packing(Order.best_fit), "whole documents, packed by length (best fit)"),
    "best_fit_masked": _packed(
        Packing(Order.best_fit, masked=True), "the same windows, documents masked from each other"
    ),
}

BUDGETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "smoke": {
        "task": {
            "documents": 240, "dimensions": 64, "length": 32, "vocabulary": 300, "width": 16, "layers": 1,
            "heads": 2, "feedforward": 32, "batch_size": 4, "steps": 4, "warmup": 1, "targets": 8, "prompts": 4,
        },
        "method": {"neighbours": 4},
    },
    "small": {},  # the defaults of Task: a check of direction, two to three minutes on one core
    "full": {  # section 3.1: 306B tokens, batches of 4M; model sizes between its 0.3B and 0.7B
        "task": {
            "length": 8192, "vocabulary": 32_000, "width": 1024, "layers": 24, "heads": 16,
            "feedforward": 4096, "learning_rate": 3e-4, "warmup": 2000, "batch_size": 512, "steps": 73_000,
            "targets": 4000, "prompts": 200, "few_shot": True,
        },
        "fit": {"micro_batch": 4},  # 32,768 tokens at once; 512 windows would take terabytes
        "method": {"neighbours": 9},  # the paper's code retrieves 50 and reads ranks 1 to 9
        "data": {
            "corpus": "hub:HuggingFaceFW/fineweb#sample-10BT/train",
            "test": "hub:Salesforce/wikitext#wikitext-103-raw-v1/validation",
        },
    },
}  # fmt: skip


HOOKS = {
    "prepare": "preparation", "train": "training", "evaluate": "evaluation", "plan": "pricing",
    "training_step": "training", "tools": "commands",
}  # fmt: skip


@hookimpl
def paper() -> Paper:
    return Paper(
        title="In-Context Pretraining: Language Modeling Beyond Document Boundaries",
        authors="Weijia Shi, Sewon Min, Maria Lomeli, Chunting Zhou, Margaret Li, and others",
        year=2024,
        url="https://arxiv.org/abs/2310.10638",
        task=Task,
        data=Data,
        methods=METHODS,
        metrics=METRICS,
        claims=CLAIMS,
        figures=FIGURES,
        tuned_by="perplexity_shuffled",
        budgets=BUDGETS,
        hooks=HOOKS,
    )
