"""What an adaptation would cost: exact counts from models on the meta device, the rest by formula.

The paper's own settings are counted too, from transformers' config classes. GPT-2 keeps q, k and v in one
Conv1D, of which the paper adapts q and v as two matrices of width x width: counted so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from harness import Plan
from harness.errors import UsageError
from harness.nn.bases import config_of
from harness.nn.losses import next_token_loss
from harness.nn.pricing import copies, halved, plan_of, shaped, size_of, tokens_of
from harness_lora.bases import small
from harness_lora.injection import inject, parameter_counts
from harness_lora.options import LoraConfig
from harness_lora.settings import Trains
from harness_lora.training import adapt

FORMULA = (
    "FLOPs = tokens x (4 x parameters that multiply, for forward and the gradient's way back, + 2 x trained); "
    "memory = 4 bytes a parameter + 12 a trained one (gradient, Adam's two) + activations and "
    "logits at the peak, counted on tensors without content"
)
CHARACTERS = 100  # about what a text has
ENCODERS = ("bert", "roberta", "xlm-roberta", "electra", "deberta-v2", "distilbert", "albert", "modernbert")


def plan(run: Any) -> Plan:
    """Price a run of this task and method: of the model that it starts from, or of the small base."""
    task = run.task
    model, step = base_of(run)
    try:
        with torch.device("meta"):
            adapt(model, run.method)
            counts = parameter_counts(model)
    except UsageError as error:
        raise UsageError(f"{error} (in the model that this budget is priced for)") from None
    whole = size_of(model)
    trained, steps = counts["trainable"], 0 if run.method.trains is Trains.nothing else task.steps
    rows, labelled = run.micro_batch or task.batch_size, step is class_only
    vocabulary = model.config.get_text_config().vocab_size
    return plan_of(
        model,
        [(steps, task.batch_size, task.length)],
        size=replace(whole, parameters=counts["total"], vocabulary=0 if labelled else whole.vocabulary),
        trained=trained,
        flops=4 * (counts["total"] - whole.looked_up) + 2 * trained,
        step=step,
        batch=labels_of(vocabulary) if labelled else tokens_of(vocabulary),
        precision=run.precision,
        rows=rows,
        levers={
            "fit.micro_batch": halved(rows),
            "method.rank": [r for r in (4, 2, 1) if run.method.trains is Trains.lora and r < run.method.rank],
        },
        formula=FORMULA,
        notes=(
            f"this run trains {trained:,} parameters: {counts['adapter']:,} of the adapter, "
            f"{counts['head']:,} of a head; Adam keeps {8 * trained:,} bytes of state",
            *published(),
        ),
    )


def base_of(run: Any) -> tuple[Any, Any]:
    """Return the model that is adapted, on the meta device, and its loss.

    Data are not read for a plan: what was saved as an encoder is taken for a classifier of two labels.
    """
    if run.model is None:
        with torch.device("meta"):
            return small(run.task, CHARACTERS), next_token_loss
    config = config_of(run.model)
    if config.model_type in ENCODERS:
        config.num_labels = 2
        return copies(config, "AutoModelForSequenceClassification"), class_only
    return copies(config), next_token_loss


def class_only(model: Any, batch: dict[str, Any]) -> Any:
    """Return a classifier's loss without a padding mask: transformers would look into it."""
    return nn.functional.cross_entropy(model(input_ids=batch["input_ids"]).logits.float(), batch["labels"])


def labels_of(vocabulary: int) -> Any:
    """Return `batch(rows, length)` of texts with labels."""

    def batch(rows: int, length: int) -> dict[str, Any]:
        return {"input_ids": torch.randint(vocabulary, (rows, length)), "labels": torch.randint(2, (rows,))}

    return batch


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
