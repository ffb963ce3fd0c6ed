"""Write a decoder trained with ALiBi as a BLOOM or MPT of transformers that gives the same logits.

Neither family is our decoder: BLOOM normalises its embeddings and has the tanh form of GELU, MPT has no biases, and
both tie the feed-forward width to four times their own. Width closes the gap, without changing what is computed:

- Our norms do not see a constant added to all channels, so whatever writes to the residual stream is centred once; then
  channels of nought beside it change a norm by a known factor alone.
- Two channels more make all embeddings equally long, so that a norm of them is a known factor too.
- The exact GELU is BLOOM's and three pairs of it, shifted and scaled, to 3e-7; ReLU is a GELU seen from far away.

What cannot be had so is refused by name.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.errors import HarnessError, UsageError
from harness_alibi.models import config_of, load

Unit = tuple[float, float, float]  # a, s, b of a * gelu(s * x + b)
FAR = 2.0**20  # relu(x) is gelu(FAR * x) / FAR, to .17 / FAR
# gelu(x) - gelu_tanh(x) = OFFSET + sum of a * (gelu_tanh(s x + b) + gelu_tanh(-s x + b)): least squares on [0, 7].
PAIRS: Sequence[Unit] = (
    (-0.003939149672809539, 1.52665827, 2.50749361),
    (-0.0002683211713841692, 1.96072535, -2.31912416),
    (0.005723972447724068, 1.14253512, -1.91754188),
)
OFFSET = 0.020230986443469823
EXACT: list[Unit] = [(1.0, 1.0, 0.0)]
RELU: list[Unit] = [(1 / FAR, FAR, 0.0)]
ERF_BY_TANH: list[Unit] = [*EXACT, *PAIRS, *((a, -s, b) for a, s, b in PAIRS)]
TANH = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
UNITS: dict[str, dict[str, tuple[list[Unit], float]]] = {  # family -> activation -> units and a constant
    "bloom": {"gelu": (ERF_BY_TANH, OFFSET), "relu": (RELU, 0.0), **dict.fromkeys(TANH, (EXACT, 0.0))},
    "mpt": {"gelu": (EXACT, 0.0), "relu": (RELU, 0.0)},
}
SAME = 1e-4  # how far logits may lie apart
REACH = 32_768  # tokens that an MPT's table of biases has room for, at least


def export(folder: Path, family: str, out: Path) -> str:
    """Write the decoder in `folder` as a `family` of transformers into the new folder `out`; say what was done.

    Raises UsageError for what has no exact counterpart; HarnessError where the logits are not the same after all.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out={out} is there already: name a new folder")
    config = config_of(folder)
    refuse(config, family, folder)
    model = load(folder)
    if family == "mpt" and (name := _biased(model)):
        raise UsageError(
            f"MPT has no biases, and {name} is one that was trained: export it --to bloom, or train with "
            "task.biases=false"
        )
    width = width_of(config, family)
    made = FAMILIES[family](model, width).eval()
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        made.save_pretrained(temporary)
        AutoTokenizer.from_pretrained(folder).save_pretrained(temporary)
        apart = difference(model, AutoModelForCausalLM.from_pretrained(temporary).eval(), config)
        if apart > SAME:
            raise HarnessError(
                f"{folder} as {family} has logits {apart:.1e} apart, more than {SAME:.0e}: not written"
            )
        if out.is_dir():
            out.rmdir()
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    wider = "" if width == config.width else f", {width} wide instead of {config.width}"
    return f"{family}{wider}, the same logits to {apart:.0e} on {4 * config.length} tokens (L is {config.length})"


def refuse(config: Any, family: str, folder: Path) -> None:
    """Raise UsageError for a model that this family cannot be."""
    if config.model_type != "harness-decoder":
        raise UsageError(f"{folder} holds a {config.model_type}: what is exported is a run of alibi/alibi")
    options = [name for name, value in config.position_options.items() if value]
    if config.position != "alibi" or options:
        what = " with ".join([config.position, *options])
        raise UsageError(
            f"{folder} has positions of the kind {what}: "
            "export a run with ALiBi's fixed slopes, which BLOOM and MPT have"
        )
    if config.activation not in UNITS[family]:
        known = ", ".join(UNITS[family])
        raise UsageError(
            f"{family} has no exact counterpart of the activation {config.activation}: train with {known}"
        )


def width_of(config: Any, family: str) -> int:
    """Return how wide the exported model must be: a multiple of its heads with room for what the family lacks."""
    units = len(UNITS[family][config.activation][0]) * config.feedforward
    least = max(config.width + (2 if family == "bloom" else 0), math.ceil(units / 4))
    return math.ceil(least / config.heads) * config.heads


def difference(model: Any, made: Any, config: Any) -> float:
    """Return how far the logits of two models lie apart, at most, on random tokens of four times L."""
    ids = torch.randint(config.vocab_size, (1, 4 * config.length), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return float((model(input_ids=ids).logits - made(input_ids=ids).logits).abs().max())


def bloom(model: Any, width: int) -> Any:
    """Return the BLOOM of this width that computes what `model` does."""
    from transformers import BloomConfig, BloomForCausalLM

    config, parts = model.config, Parts(model, width, "bloom")
    shape = {
        "vocab_size": config.vocab_size,
        "hidden_size": width,
        "n_layer": config.layers,
        "n_head": config.heads,
    }
    dropout = {"hidden_dropout": config.dropout, "attention_dropout": config.attention_dropout}
    made = BloomForCausalLM(
        BloomConfig(
            **shape, **dropout, **_marks(config), layer_norm_epsilon=parts.epsilon, tie_word_embeddings=False
        )
    )
    table = parts.embeddings() / model.scale
    squared = table.square().sum(dim=1)
    rest = ((squared.max() - squared) / 2).sqrt()
    table[:, config.width], table[:, config.width + 1] = rest, -rest
    factor = torch.zeros(width, dtype=torch.float64)
    factor[: config.width] = (squared.max() / width + parts.epsilon).sqrt() * model.scale
    found = {
        "transformer.word_embeddings.weight": table,
        "transformer.word_embeddings_layernorm.weight": factor,
        "transformer.word_embeddings_layernorm.bias": torch.zeros(width),
        **parts.norm(model.norm, "transformer.ln_f"),
        "lm_head.weight": parts.padded(model.lm_head.weight),
    }
    for number, block in enumerate(model.layers):
        at = f"transformer.h.{number}"
        fused = [
            torch.stack(one, dim=1).flatten(0, 2) for one in zip(*parts.heads(block.attention), strict=True)
        ]
        found |= parts.norm(block.attention_norm, f"{at}.input_layernorm")
        found |= parts.norm(block.feedforward_norm, f"{at}.post_attention_layernorm")
        found |= {
            f"{at}.self_attention.query_key_value.{n}": v
            for n, v in zip(("weight", "bias"), fused, strict=True)
        }
        found |= parts.output(block.attention, f"{at}.self_attention.dense")
        found |= parts.feedforward(block.feedforward, f"{at}.mlp.dense_h_to_4h", f"{at}.mlp.dense_4h_to_h")
    return _filled(made, found)


def mpt(model: Any, width: int) -> Any:
    """Return the MPT of this width that computes what `model`, which has no biases, does."""
    from transformers import MptConfig, MptForCausalLM

    config, parts = model.config, Parts(model, width, "mpt")
    shape = {
        "vocab_size": config.vocab_size,
        "d_model": width,
        "n_layers": config.layers,
        "n_heads": config.heads,
    }
    made = MptForCausalLM(
        MptConfig(
            **shape,
            **_marks(config),
            max_seq_len=max(REACH, 64 * config.length),
            layer_norm_epsilon=parts.epsilon,
            tie_word_embeddings=False,
        )
    )
    found = {
        "transformer.wte.weight": parts.embeddings(),
        **parts.norm(model.norm, "transformer.norm_f"),
        "lm_head.weight": parts.padded(model.lm_head.weight),
    }
    for number, block in enumerate(model.layers):
        at = f"transformer.blocks.{number}"
        (weights, _) = zip(*parts.heads(block.attention), strict=True)
        found |= parts.norm(block.attention_norm, f"{at}.norm_1")
        found |= parts.norm(block.feedforward_norm, f"{at}.norm_2")
        found |= {f"{at}.attn.Wqkv.weight": torch.cat([one.flatten(0, 1) for one in weights])}
        found |= parts.output(block.attention, f"{at}.attn.out_proj")
        found |= parts.feedforward(block.feedforward, f"{at}.ffn.up_proj", f"{at}.ffn.down_proj")
    return _filled(made, {name: value for name, value in found.items() if not name.endswith(".bias")})


FAMILIES: dict[str, Callable[[Any, int], Any]] = {"bloom": bloom, "mpt": mpt}


class Parts:
    """A decoder's weights in float64, centred where they write and padded to another width."""

    def __init__(self, model: Any, width: int, family: str) -> None:
        self.model, self.old, self.new = model, model.config.width, width
        self.count = model.config.heads
        self.units, self.offset = UNITS[family][model.config.activation]
        self.inner = 4 * width
        self.epsilon = model.norm.eps * self.old / width

    def embeddings(self) -> Tensor:
        """Return what the embeddings write, (vocabulary, width)."""
        return self.padded(_centred(self.model.embedding.weight.double() * self.model.scale, 1))

    def padded(self, weight: Tensor) -> Tensor:
        """Return a matrix that reads or is the stream, with columns of nought for the new channels."""
        return torch.nn.functional.pad(weight.detach().double(), (0, self.new - self.old))

    def norm(self, norm: Any, name: str) -> dict[str, Tensor]:
        """Return a norm's weight and bias; channels of nought made its deviation smaller by a known factor."""
        factor = math.sqrt(self.old / self.new)
        return {
            f"{name}.weight": self.padded(norm.weight * factor),
            f"{name}.bias": self.padded(_bias(norm, self.old)),
        }

    def heads(self, attention: Any) -> list[tuple[Tensor, Tensor]]:
        """Return weight (heads, head width, width) and bias (heads, head width) of query, key and value."""
        before, after = self.old // self.count, self.new // self.count
        found = []
        for layer, factor in (
            (
                attention.q_proj,
                math.sqrt(after / before),
            ),  # scores are divided by the root of the head's width
            (attention.k_proj, 1.0),
            (attention.v_proj, 1.0),
        ):
            weight = self.padded(layer.weight * factor).view(self.count, before, self.new)
            bias = (_bias(layer, self.old).double() * factor).view(self.count, before)
            more = after - before
            found.append(
                (torch.nn.functional.pad(weight, (0, 0, 0, more)), torch.nn.functional.pad(bias, (0, more)))
            )
        return found

    def output(self, attention: Any, name: str) -> dict[str, Tensor]:
        """Return the layer that ends attention, which reads padded heads and writes to the stream."""
        before, after = self.old // self.count, self.new // self.count
        layer = attention.o_proj
        weight = layer.weight.detach().double().view(self.old, self.count, before)
        weight = torch.nn.functional.pad(weight, (0, after - before)).flatten(1)
        return self._written(weight, _bias(layer, self.old), name)

    def feedforward(self, layer: Any, up: str, down: str) -> dict[str, Tensor]:
        """Return the two layers of a feed-forward; each of its units becomes as many as the activation takes."""
        size = self.model.config.feedforward
        weight, bias = self.padded(layer.up_proj.weight), _bias(layer.up_proj, size).double()
        out = layer.down_proj.weight.detach().double()
        more = self.inner - len(self.units) * size
        pad = torch.nn.functional.pad
        rows = torch.cat([s * weight for _, s, _ in self.units])
        columns = torch.cat([a * out for a, _, _ in self.units], dim=1)
        shift = torch.cat([s * bias + b for _, s, b in self.units])
        ended = _bias(layer.down_proj, self.old).double() + self.offset * out.sum(dim=1)
        return {
            f"{up}.weight": pad(rows, (0, 0, 0, more)),
            f"{up}.bias": pad(shift, (0, more)),
            **self._written(pad(columns, (0, more)), ended, down),
        }

    def _written(self, weight: Tensor, bias: Tensor, name: str) -> dict[str, Tensor]:
        more = self.new - self.old
        weight, bias = _centred(weight, 0), _centred(bias.double(), 0)
        return {
            f"{name}.weight": torch.nn.functional.pad(weight, (0, 0, 0, more)),
            f"{name}.bias": torch.nn.functional.pad(bias, (0, more)),
        }


def _centred(weight: Tensor, dim: int) -> Tensor:
    weight = weight.detach()
    return weight - weight.mean(dim=dim, keepdim=True)


def _bias(layer: Any, size: int) -> Tensor:
    return torch.zeros(size) if layer.bias is None else layer.bias.detach()


def _biased(model: Any) -> str:
    """Return the name of a bias that is not nought, or nothing."""
    return next((n for n, p in model.named_parameters() if n.endswith(".bias") and p.abs().max() > 0), "")


def _marks(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}


def _filled(made: Any, found: dict[str, Tensor]) -> Any:
    made.load_state_dict({name: value.detach().float() for name, value in found.items()})
    return made
