"""Put ALiBi where a trained model has rotary positions, and go on training it at its own length.

The rotation of queries and keys becomes none, and the attention gets the paper's bias. Beside it stand the ways that
keep rotary positions: the same training without a change, a raised base (NTK-aware: the slowest pair turns over
`factor` times the length as it did over one), and position interpolation (Chen et al. 2023: positions divided by it).
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import UsageError
from harness_alibi.bias import slopes
from harness_alibi.models import MARK, config_of, raw
from harness_alibi.settings import Retrofit

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")  # whose layers hand a bias on to their attention


class Unrotated(nn.Module):
    """Stands in for a rotary embedding: every position turns by nought."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor, position_ids: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        shape = (*position_ids.shape, self.width)
        return x.new_ones(shape), x.new_zeros(shape)


def replace_rotary(model: Any) -> None:
    """Put ALiBi in place of a model's rotary positions, in place; its weights stay as they are."""
    config, body = model.config, model.get_decoder()
    body.rotary_emb = Unrotated(head_width(config))
    body.register_forward_pre_hook(_bias, with_kwargs=True)
    setattr(config, MARK, config.model_type)


def _bias(body: Any, words: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Hand the body ALiBi's bias, (1, heads, queries, keys), which it passes on to every layer's attention."""
    ids = given.get("input_ids", words[0] if words else None)
    queries, device = (
        (given["inputs_embeds"] if ids is None else ids).shape[1],
        next(body.parameters()).device,
    )
    if given.get("use_cache") and given.get("past_key_values") is None:
        from transformers.cache_utils import DynamicCache

        given = {**given, "past_key_values": DynamicCache(config=body.config)}
    cache = given.get("past_key_values")
    past = 0 if cache is None else cache.get_seq_length()
    keys = queries if cache is None else cache.get_mask_sizes(queries, 0)[0]
    distance = torch.arange(queries, device=device)[:, None] + past - torch.arange(keys, device=device)
    bias = -slopes(body.config.num_attention_heads, device)[:, None, None] * distance
    return words, {**given, "position_bias": bias[None].to(_dtype(body))}


def _dtype(body: Any) -> torch.dtype:
    parameter = next(body.parameters())
    kind = parameter.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return parameter.dtype


def refuse(config: Any, name: str) -> None:
    """Raise UsageError where a model's positions cannot be changed: no Llama, scaled already, or windows that slide."""
    family = config.model_type
    if getattr(config, MARK, None):
        raise UsageError(f"model={name} has ALiBi already: give the rotary model that it was made from")
    if family not in FAMILIES:
        raise UsageError(
            f"model={name} is a {family}, whose positions are not replaced here: give a {', '.join(FAMILIES)}"
        )
    rope = config.rope_parameters
    if rope.get("rope_type", "default") != "default":
        raise UsageError(
            f"model={name} scales its rotary positions already ({rope['rope_type']}): give its base model"
        )
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise UsageError(
            f"model={name} rotates a part of each head only: give a model that rotates all of it"
        )
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()) or getattr(
        config, "sliding_window", None
    ):
        raise UsageError(
            f"model={name} reads through a sliding window: give a model that sees its whole context"
        )


def changed(config: Any, method: Retrofit, length: int) -> Any:
    """Return the config of a model whose rotary positions are to reach `factor` times `length`."""
    config, head = copy.deepcopy(config), head_width(config)
    rope = dict(config.rope_parameters)
    if method.position == "rotary_base":
        rope["rope_theta"] = rope["rope_theta"] * method.factor ** (head / (head - 2))
    elif method.position == "interpolated":
        rope.update(rope_type="linear", factor=method.factor)
    config.rope_parameters = rope
    if method.position in ("rotary_base", "interpolated"):
        config.max_position_embeddings = int(method.factor * length)
    return config


def retrofitted(folder: Path, method: Retrofit, length: int) -> Any:
    """Return the model of a folder with its positions changed as the method says, to be trained on."""
    model = raw(folder, changed(config_of(folder), method, length))
    if method.position == "alibi":
        replace_rotary(model)
    return model


def head_width(config: Any) -> int:
    """Return the width of a head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def small(task: Any, vocabulary: int) -> Any:
    """Return an untrained Llama of the task's size, with rotary positions."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=task.width,
            num_hidden_layers=task.layers,
            num_attention_heads=task.heads,
            num_key_value_heads=task.heads,
            intermediate_size=task.feedforward,
            max_position_embeddings=task.length,
            tie_word_embeddings=True,
            attention_dropout=task.attention_dropout,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
