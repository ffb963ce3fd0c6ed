"""A small causal language model that *is* a transformers model, with the position encoding handed in.

Pre-norm blocks as in GPT-2: LayerNorm, attention, LayerNorm, two-layer feed-forward, biases everywhere
or nowhere, a final LayerNorm, output tied to the input embedding. So `generate`, safetensors, `AutoModelForCausalLM`,
peft and lm-eval work unchanged. Position bias and causal mask are joined once per forward, and where
there is neither bias nor padding no mask is made at all, so the fused causal kernel runs.
Weights start as in GPT-2: N(0, 0.02), divided by sqrt(2 * layers) where they end a residual branch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import can_return_tuple

from harness.errors import HarnessError
from harness.nn.config import DecoderConfig
from harness.nn.positions import Position, position_of, rotate

SIZES = (  # what `Decoder.of` takes from a task
    *("width", "layers", "heads", "feedforward", "length"),
    *("activation", "dropout", "attention_dropout", "activation_dropout", "biases"),
)


class LastLinear(nn.Linear):
    """A linear layer that ends a residual branch, told apart for its initialisation."""


class Attention(nn.Module):
    """Causal self-attention; `mask` is None (plain causal), boolean, or added to the scaled scores."""

    is_causal = True

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.config, self.layer = config, layer
        self.head_width = config.width // config.heads
        self.q_proj = nn.Linear(config.width, config.width, bias=config.biases)
        self.k_proj = nn.Linear(config.width, config.width, bias=config.biases)
        self.v_proj = nn.Linear(config.width, config.width, bias=config.biases)
        self.o_proj = LastLinear(config.width, config.width, bias=config.biases)

    def forward(
        self,
        x: Tensor,
        mask: Any,
        bias: Tensor | None,
        rotation: tuple[Tensor, Tensor] | None,
        cache: Cache | None,
    ) -> Tensor:
        heads = (*x.shape[:2], -1, self.head_width)
        # (batch, heads, length, head_width)
        q, k, v = (p(x).view(heads).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        dropout = self.config.attention_dropout if self.training else 0.0
        y, _ = attend(
            self, q, k, v, mask, scaling=self.head_width**-0.5, dropout=dropout, position_bias=bias
        )  # (batch, length, heads, head_width)
        return self.o_proj(y.reshape(x.shape))


def eager_attention(
    module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scaling: float, dropout: float, **_: Any
) -> tuple[Tensor, Tensor]:
    """Attend in plain operations, the reference for the fused kernels; softmax in float32."""
    weights = (q @ k.transpose(2, 3) * scaling + mask).softmax(dim=-1, dtype=torch.float32).to(q.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ v).transpose(1, 2).contiguous(), weights


class Feedforward(nn.Module):
    """Widen, bend, narrow."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.width, config.feedforward, bias=config.biases)
        self.down_proj = LastLinear(config.feedforward, config.width, bias=config.biases)
        self.activation = ACT2FN[config.activation]
        self.dropout = nn.Dropout(config.activation_dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.dropout(self.activation(self.up_proj(x))))


class Block(GradientCheckpointingLayer):
    """Attention, then feed-forward, each on normalised input and added to what came in."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, bias=config.biases)
        self.attention = Attention(config, layer)
        self.feedforward_norm = nn.LayerNorm(config.width, bias=config.biases)
        self.feedforward = Feedforward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        mask: Any,
        bias: Tensor | None,
        rotation: tuple[Tensor, Tensor] | None,
        past_key_values: Cache | None,
    ) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), mask, bias, rotation, past_key_values))
        return x + self.dropout(self.feedforward(self.feedforward_norm(x)))


class Decoder(PreTrainedModel, GenerationMixin):
    """A causal language model.

    `position` replaces the encoding that `config.position` names; `from_pretrained` can only rebuild the
    named one. `attention_mask` is (batch, keys) with 1 for real tokens, or (batch, 1, queries, keys),
    boolean or added to the scores. Without an `attention_mask`, `position_ids` that start again at 0 within
    a row mark packed documents, which then do not see each other. Raises `HarnessError` for an unknown kind
    or a width that the heads cannot share.
    """

    config_class = DecoderConfig
    _input_embed_layer = "embedding"
    _tied_weights_keys = {"lm_head.weight": "embedding.weight"}  # noqa: RUF012
    _no_split_modules = ["Block"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flex_attn = True
    supports_gradient_checkpointing = True

    def __init__(self, config: DecoderConfig, position: Position | None = None) -> None:
        super().__init__(config)
        if config.width % config.heads:
            raise HarnessError(
                f"width={config.width} must be a multiple of heads={config.heads}: change one of them."
            )
        self.loss_type = "ForCausalLM"
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.position = position_of(config) if position is None else position
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = nn.LayerNorm(config.width, bias=config.biases)
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.scale = math.sqrt(config.width) if config.scale_embeddings else 1.0
        self.post_init()

    @classmethod
    def of(cls, size: Any, vocabulary: int, prefix: str = "", **config: Any) -> Decoder:
        """Return an untrained decoder of a task's size: its fields that a `DecoderConfig` has too.

        With a `prefix` those that begin with it (`base_width`). `config` says the rest, and wins; the
        feed-forward layer is four times the width where neither speaks of it.
        """
        sizes = {
            name.removeprefix(prefix): value for name, value in vars(size).items() if name.startswith(prefix)
        }
        own = {name: value for name, value in sizes.items() if name in SIZES}
        return cls(DecoderConfig(vocab_size=vocabulary, **{"feedforward": 4 * own["width"], **own, **config}))

    def _init_weights(self, module: nn.Module) -> None:
        # Asked of leaves only: transformers passes over modules without own parameters in code not its own.
        super()._init_weights(module)
        if isinstance(module, LastLinear):
            init.normal_(module.weight, std=self.config.initializer_range / math.sqrt(2 * self.config.layers))

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Predict each next token: logits (batch, length, vocab_size), and the mean loss of `labels`.

        `labels` are the inputs themselves (shifted here), -100 where nothing is to be learned. A cache is
        kept only if `use_cache=True` (as `generate` asks) or one is given.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        x = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        past = 0 if past_key_values is None else past_key_values.get_seq_length()
        columns = torch.arange(x.shape[1], device=x.device) + past
        known = _seen(attention_mask, columns)
        mask = create_causal_mask(self.config, x, known, past_key_values, position_ids)
        if position_ids is None:
            position_ids = _count_real_tokens(attention_mask, columns)
        mask, bias = self._join(mask, x, columns, past_key_values)
        rotation = self.position.rotation(position_ids)
        if rotation is not None:  # one for all heads
            rotation = rotation[0][:, None].to(x.dtype), rotation[1][:, None].to(x.dtype)
        added = self.position.embed(position_ids)
        x = x * self.scale
        x = self.dropout(x if added is None else x + added.to(x.dtype))
        states = [x]
        for block in self.layers:
            x = block(x, mask, bias, rotation, past_key_values=past_key_values)
            if output_hidden_states:
                states.append(x)
        x = states[-1] = self.norm(x)
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(x[:, keep])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=past_key_values,
            hidden_states=tuple(states) if output_hidden_states else None,
        )

    def _join(self, mask: Any, x: Tensor, columns: Tensor, cache: Cache | None) -> tuple[Any, Tensor | None]:
        """Join causal mask and position bias into one additive mask, once for all layers.

        FlexAttention alone takes them apart: a block mask, and a bias that it indexes by batch.
        """
        if type(self.position).bias is Position.bias:  # none: spare the distances, quadratic in length
            return mask, None
        keys = cache.get_mask_sizes(x.shape[1], 0)[0] if cache is not None else x.shape[1]
        if isinstance(mask, Tensor):
            keys = mask.shape[-1]
        distance = columns[:, None] - torch.arange(keys, device=x.device)  # (query_length, key_length)
        bias = self.position.bias(distance)
        if bias is None:
            return mask, None
        dtype = _compute_dtype(x)
        bias = bias[None]  # (1, heads, query_length, key_length): the fused kernels refuse three dimensions
        if self.config._attn_implementation == "flex_attention":
            return mask, bias.to(dtype).expand(x.shape[0], -1, -1, -1)
        hidden = torch.finfo(dtype).min
        if mask is None:
            mask = distance >= 0
        if mask.dtype == torch.bool:
            return torch.where(mask, bias.to(dtype), hidden), None
        return (bias + mask).clamp(min=hidden).to(dtype), None


def _count_real_tokens(attention_mask: Tensor | None, columns: Tensor) -> Tensor:
    """Return the positions of the tokens in `columns`, (rows or 1, length), padding not counted."""
    if attention_mask is None or attention_mask.ndim != 2:
        return columns[None]
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, columns]


def _seen(attention_mask: Tensor | None, columns: Tensor) -> Tensor | None:
    """Return a mask of padding on the meta device as what each query sees, (rows, 1, length, keys).

    transformers asks of a mask of padding whether there is any, and nothing can be asked there.
    """
    if attention_mask is None or attention_mask.ndim != 2 or not attention_mask.is_meta:
        return attention_mask
    keys = torch.arange(attention_mask.shape[1], device=columns.device)
    causal = keys <= columns[:, None]  # (length, keys)
    return (attention_mask.bool()[:, None] & causal)[:, None]


def _compute_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype attention will compute in: autocast lowers the scores, not the residual stream."""
    kind = x.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


AutoConfig.register(DecoderConfig.model_type, DecoderConfig)
AutoModelForCausalLM.register(DecoderConfig, Decoder)
