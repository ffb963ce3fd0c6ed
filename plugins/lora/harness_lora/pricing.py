"""What an adaptation would cost: exact counts from models on the meta device, the rest by formula.

The paper's own settings are counted too, from transformers' config classes. GPT-2 keeps q, k and v in one
Conv1D, of which the paper adapts q and v as two matrices of width x width: counted so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness import Plan
from harness.errors import UsageError
from harness.nn.pricing import Size, plan_of, shaped
from harness_lora.bases import small
from harness_lora.injection import inject, parameter_counts
from harness_lora.options import LoraConfig
from harness_lora.settings import Trains
from harness_lora.training import adapt

FORMULA = (
    "FLOPs = tokens x (4 x parameters of the body, for forward and the gradient's way back, + 2 x trained); "
    "memory = 4 bytes a parameter + 12 a trained one (gradient, Adam's two) + activations of about "
    "34 x layers x width bytes a token"
)
CHARACTERS = 100  # about what a text has


def plan(run: Any) -> Plan:
    """Price a run of this task and method: of RoBERTa base at budget=full, else of the small base."""
    task = run.task
    with torch.device("meta"):
        model: Any = roberta() if run.budget == "full" else small(task, CHARACTERS)
    try:
        counts = parameter_counts(adapt(model, run.method))
    except UsageError as error:
        raise UsageError(f"{error} (in the model that this budget is priced for)") from None
    embeddings = model.get_input_embeddings().weight.numel()
    body, trained = counts["total"] - embeddings, counts["trainable"]
    layers, width = model.config.num_hidden_layers, model.config.hidden_size
    steps = 0 if run.method.trains is Trains.nothing else task.steps
    return plan_of(
        Size(counts["total"], embeddings, layers, width, vocabulary=0),  # logits are not counted
        [(steps, task.batch_size, task.length)],
        trained=trained,
        flops=4 * body + 2 * trained,
        formula=FORMULA,
        notes=(
            f"this run trains {trained:,} parameters: {counts['adapter']:,} of the adapter, "
            f"{counts['head']:,} of a head; Adam keeps {8 * trained:,} bytes of state",
            *published(),
        ),
    )


def published() -> list[str]:
    """Return the parameter counts of the paper's settings, beside what it printed."""
    with torch.device("meta"):
        base = parameter_counts(
            inject(roberta(), LoraConfig(8, 8, targets=("query", "value"), heads=("classifier",)))
        )
        llama = parameter_counts(inject(shaped("meta-llama/Llama-3.2-1B"), LoraConfig(8, 16)))
    return [
        f"RoBERTa base, r = 8 on query and value: {base['adapter']:,} adapter parameters (the paper prints 0.3 M) "
        f"and {base['head']:,} of the head, which the paper trains and does not count",
        f"GPT-2 M, r = 4 on q and v: {gpt2_parameters(24, 1024, 4):,} adapter parameters (the paper prints 0.35 M)",
        f"Llama 3.2 1B, r = 8 on all linear layers: {llama['adapter']:,} adapter parameters",
    ]


def roberta() -> nn.Module:
    """Return RoBERTa base with a head for two labels, on whatever device is current."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    sizes: dict[str, Any] = {
        "vocab_size": 50_265,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "num_labels": 2,
    }
    model: nn.Module = RobertaForSequenceClassification(RobertaConfig(**sizes))
    return model


def gpt2_parameters(layers: int, width: int, rank: int) -> int:
    """Count A and B of q and v in a GPT-2 of this shape, from its config class and real layers."""
    from transformers import GPT2Config

    config = GPT2Config(n_layer=layers, n_embd=width)
    with torch.device("meta"):
        attention = nn.ModuleDict({n: nn.Linear(config.n_embd, config.n_embd) for n in ("q", "v")})
        adapted = inject(attention, LoraConfig(rank, targets=("q", "v")))
    return config.n_layer * parameter_counts(adapted)["adapter"]
