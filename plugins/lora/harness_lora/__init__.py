"""LoRA: adapt a large model by a low-rank change of its matrices, and store only that change.

Hu et al. (ICLR 2022). Every weight stays frozen; beside it two thin matrices A and B are trained, whose
product is added to it. The paper says: as good as full fine-tuning with a ten-thousandth of the
parameters, a third of the memory, and no cost once merged. Here each method has its own learning-rate
grid, chosen on validation, since LoRA wants about ten times full fine-tuning's rate; runs with
`tuned=false` show what one shared rate makes of the comparison.
"""

from collections.abc import Mapping
from typing import Any

from harness import Method, Paper, hookimpl, lazy
from harness_lora.claims import CLAIMS, FIGURES
from harness_lora.metrics import METRICS
from harness_lora.settings import Data, Lora, Task, Trains

__getattr__ = lazy(
    __name__,
    {
        "LoraConfig": "options", "inject": "injection", "merge": "injection", "unmerge": "injection",
        "parameter_counts": "injection", "save_adapter": "adapter", "load_adapter": "adapter",
    },
)  # fmt: skip

# Three rates each, set so that a first sweep's best ones lie inside; 1e-2, the shared rate, is in all.
LOW = {"learning_rate": [1e-3, 3e-3, 1e-2]}
MIDDLE = {"learning_rate": [3e-3, 1e-2, 3e-2]}
HIGH = {"learning_rate": [1e-2, 3e-2, 1e-1]}
Q_AND_V = r".*\b(q_proj|v_proj|query|value|q_lin|v_lin)"  # what families of models call them

METHODS = {
    "lora_r1": Method(Lora(rank=1, alpha=2.0), "rank 1 on all linear layers", tune=HIGH),
    "lora_r4": Method(Lora(rank=4, alpha=8.0), "rank 4 on all linear layers", tune=HIGH),
    "lora_r8": Method(Lora(), "rank 8 on all linear layers", tune=MIDDLE),
    "lora_attention": Method(Lora(targets=Q_AND_V), "rank 8 on q and v: the paper's choice", tune=HIGH),
    "rslora": Method(Lora(rslora=True), "rank 8, scaled by alpha / sqrt(rank)", tune=MIDDLE),
    "full": Method(Lora(Trains.everything), "every parameter", baseline=True, tune=LOW),
    "bitfit": Method(Lora(Trains.biases), "the biases alone", baseline=True, tune=HIGH),
    "head_only": Method(Lora(Trains.head), "the output layer alone", baseline=True, tune=HIGH),
    "base": Method(Lora(Trains.nothing), "the base as it is", baseline=True, deterministic=True),
}

BUDGETS: Mapping[str, Mapping[str, Any]] = {
    "smoke": {
        "task": {
            "length": 16, "batch_size": 4, "steps": 3, "warmup": 1, "train_characters": 2_000,
            "held_out_characters": 400, "general_targets": 256, "base_width": 16, "base_layers": 1,
            "base_heads": 2, "base_steps": 4,
        },
        "data": {"train": "builtin:python"},
    },
    "small": {},  # the defaults of Task: a character model of 0.8 M parameters
    "full": {  # RoBERTa base on SST-2 as in Table 9 (its scripts set alpha = 16, on several GPUs)
        "task": {
            "length": 512, "batch_size": 16, "steps": 252_600, "warmup": 15_156, "schedule": "linear",
            "weight_decay": 0.1, "clip": 1.0, "full_rate_scale": 0.1,
            "rate_scale": 0.05,  # makes 1e-2 the table's 5e-4
        },
        "data": {
            "train": "hub:nyu-mll/glue#sst2/train?text:sentence",
            "test": "hub:nyu-mll/glue#sst2/validation?text:sentence",
        },
        "method": {"alpha": 8.0},
        "model": "FacebookAI/roberta-base",
    },
}  # fmt: skip

HOOKS = {
    "prepare": "preparation", "train": "training", "evaluate": "evaluation", "plan": "pricing",
    "training_step": "training", "tools": "commands",
}  # fmt: skip


@hookimpl
def paper() -> Paper:
    return Paper(
        title="LoRA: Low-Rank Adaptation of Large Language Models",
        authors="Edward J. Hu, Yelong Shen, Phillip Wallis, Zeyuan Allen-Zhu, Yuanzhi Li, Shean Wang, "
        "Lu Wang, Weizhu Chen",
        year=2022,
        url="https://arxiv.org/abs/2106.09685",
        task=Task,
        data=Data,
        methods=METHODS,
        metrics=METRICS,
        claims=CLAIMS,
        figures=FIGURES,
        budgets=BUDGETS,
        tuned_by="loss",
        hooks=HOOKS,
    )
