"""The model that is trained: the toolbox's decoder with rotary positions, or any causal one with RoPE.

Its base changes once, before long pretraining, and is saved with the model, so tuning and judging keep it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.nn.decoder import Decoder, DecoderConfig
from harness_longskywork.scaling import ntk_base
from harness_longskywork.settings import LongSkywork, Scaling, Task


def small(task: Task, vocabulary: int) -> Decoder:
    """Return the untrained small decoder, its base not scaled yet, with an output layer of its own."""
    options: dict[str, Any] = {"position": "rotary", "position_options": {"base": task.rope_base}}
    return Decoder.of(task, vocabulary, length=task.document, tie_word_embeddings=False, **options)


def scaled(folder: Path, method: LongSkywork, window: int, trained: int = 0) -> Any:
    """Load the model of a folder, made to read `window` tokens: its RoPE base raised, its config saying so.

    The base grows for `window` over `trained` (0: the length that the config states), never below 1: a model that
    reads as much already keeps its base. Raises UsageError for a model without RoPE, or one whose RoPE is scaled in
    another way already.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config: Any = AutoConfig.from_pretrained(folder)
    if method.scaling is not Scaling.none:
        base, width = rope(config)
        factor = max(1.0, window / (trained or reach(config)))
        base = method.abf_base if method.scaling is Scaling.abf else ntk_base(base, factor, width)
        if config.model_type == DecoderConfig.model_type:
            config.position_options = {**config.position_options, "base": base}
        else:
            config.rope_parameters = {**config.rope_parameters, "rope_theta": base}
    length = "length" if config.model_type == DecoderConfig.model_type else "max_position_embeddings"
    setattr(config, length, max(window, reach(config)))
    return AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32)


def reach(config: Any) -> int:
    """Return how many tokens a config says that its model was trained to read."""
    if config.model_type == DecoderConfig.model_type:
        return int(config.length)
    found = getattr(config, "max_position_embeddings", None)
    if not found:
        raise UsageError(f"model= is a {config.model_type} that states no length: set task.trained_length")
    return int(found)


def rope(config: Any) -> tuple[float, int]:
    """Return a config's RoPE base, and how many entries of a head it turns."""
    if config.model_type == DecoderConfig.model_type:
        if config.position != "rotary":
            raise UsageError(
                f"model= has {config.position} positions and no RoPE whose base could be raised: give a model with RoPE"
            )
        return float(config.position_options.get("base", 10_000.0)), config.width // config.heads
    found = getattr(config, "rope_parameters", None)
    if not isinstance(found, dict) or "rope_theta" not in found:
        raise UsageError(
            f"model= is a {config.model_type} without one RoPE base: choose a Llama or Qwen class model"
        )
    if found.get("rope_type", "default") != "default":
        raise UsageError(
            f"model= scales its RoPE already ({found['rope_type']}): use method.scaling=none, or its plain base model"
        )
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    # Phi, NeoX and StableLM turn a part of each head; transformers rounds as `int` does.
    part = found.get("partial_rotary_factor") or getattr(config, "partial_rotary_factor", None) or 1.0
    return float(found["rope_theta"]), int(head * part)


def suited(config: Any, method: LongSkywork) -> None:
    """Raise UsageError where a method cannot lengthen the model of this config."""
    if method.scaling is not Scaling.none:
        rope(config)
        reach(config)
