"""What a training would cost, counted on the meta device: one formula for every paper.

    plan_of(model, [(steps, rows a step, tokens a row), ...], trained=, flops=, rows=, notes= ...) -> Plan

A training has parts. Counts of parameters and tokens are exact; FLOPs and bytes follow `FORMULA`, and a paper hands
in what is its own: how many parameters are trained, what a token costs where that is not the formula's.
`shaped` builds a model of a known shape, so that what is not at hand can be priced as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.papers.statement import Plan

FORMULA = (
    "FLOPs = tokens x (6 x parameters + 12 x layers x width x tokens of a row); memory = 4 bytes a parameter + for "
    "each trained one 4 (gradient) and the optimiser's (AdamW 8, NAG 4) + of the largest step 34 x layers x width "
    "bytes of activations a token (4 with gradient checkpointing) and 8 x vocabulary a token whose logits are kept"
)

SHAPES: dict[str, dict[str, Any]] = {
    "Qwen/Qwen2.5-1.5B": {
        "model_type": "qwen2", "vocab_size": 151_936, "hidden_size": 1536, "intermediate_size": 8960,
        "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2, "tie_word_embeddings": True,
    },
    "meta-llama/Llama-3.2-1B": {
        "model_type": "llama", "vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": True,
    },
    "meta-llama/Meta-Llama-3-8B": {
        "model_type": "llama", "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": False,
    },
    "meta-llama/Meta-Llama-3-70B-Instruct": {
        "model_type": "llama", "vocab_size": 128_256, "hidden_size": 8192, "intermediate_size": 28_672,
        "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "tie_word_embeddings": False,
    },
    "HuggingFaceTB/SmolLM2-135M": {
        "model_type": "llama", "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """What a price depends on of a model."""

    parameters: int
    embeddings: int  # of the parameters: the input's, and an output layer that is not tied to it
    layers: int
    width: int
    vocabulary: int


def shaped(shape: str | Mapping[str, Any]) -> Any:
    """Return an untrained causal language model on the meta device, of one of `SHAPES` or of a shape like those."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**(SHAPES[shape] if isinstance(shape, str) else shape))
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def size_of(model: Any) -> Size:
    """Count a model of transformers, which may lie on the meta device."""
    config = model.config.get_text_config()
    outer = [model.get_input_embeddings().weight]
    output = model.get_output_embeddings()
    if output is not None and output.weight is not outer[0]:
        outer.append(output.weight)
    return Size(
        sum(p.numel() for p in model.parameters()),
        sum(weight.numel() for weight in outer),
        config.num_hidden_layers,
        config.hidden_size,
        config.vocab_size,
    )


def plan_of(
    model: Any,
    parts: Sequence[tuple[int, int, int]],
    *,
    trained: int | None = None,
    flops: float | None = None,
    state: int = 8,
    activation: int = 34,
    logits: int | None = None,
    rows: int | None = None,
    formula: str = FORMULA,
    notes: Sequence[str] = (),
) -> Plan:
    """Price the training of `model` (or of its `Size`) in `parts`, each of so many steps, rows and tokens a row.

    `trained` parameters have a gradient and `state` bytes of the optimiser's (all; AdamW's 8). `flops` is what a
    token costs where that is not the formula's (say so in `formula`). `activation` are the bytes kept of a token for
    each layer and unit of width, `logits` the tokens of a row whose logits are in memory at once (all), and `rows`
    the most rows that are in memory at once (a step's).
    """
    size = model if isinstance(model, Size) else size_of(model)
    trained = size.parameters if trained is None else trained
    tokens, work, largest = 0, 0.0, 0
    for steps, step_rows, length in parts:
        each = 6 * size.parameters + 12 * size.layers * size.width * length if flops is None else flops
        tokens += steps * step_rows * length
        work += each * steps * step_rows * length
        held = step_rows if rows is None else min(rows, step_rows)
        kept = length if logits is None else min(logits, length)
        largest = max(
            largest,
            held * (activation * size.layers * size.width * length + 8 * size.vocabulary * kept),
        )
    return Plan(
        parameters=size.parameters,
        parameters_without_embeddings=size.parameters - size.embeddings,
        tokens=tokens,
        flops=float(work),
        memory_bytes=4 * size.parameters + (4 + state) * trained + largest,
        formula=formula,
        notes=tuple(notes),
    )
