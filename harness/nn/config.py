"""What describes a `Decoder`; in a file of its own, since positions are built from it and the decoder from them."""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar

from transformers import PreTrainedConfig


class DecoderConfig(PreTrainedConfig):
    """Describe a `Decoder`.

    `length` is the training length in tokens; only learned positions end there. `position` names a kind
    of `positions.KINDS`, built with `position_options`. `scale_embeddings` multiplies token embeddings by
    sqrt(width) before positions are added (Vaswani et al. 2017; fairseq). Without `biases` no layer has one.
    """

    model_type = "harness-decoder"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "width",
        "num_hidden_layers": "layers",
        "num_attention_heads": "heads",
        "intermediate_size": "feedforward",
        "max_position_embeddings": "length",
    }

    vocab_size: int = 256
    width: int = 96
    layers: int = 3
    heads: int = 4
    feedforward: int = 384
    length: int = 64
    position: str = "sinusoidal"
    position_options: dict[str, Any] = field(default_factory=dict)
    activation: str = "gelu"
    scale_embeddings: bool = True
    biases: bool = True
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
