"""The paper's rivals that add parameters of their own and cannot be merged: adapters and prefixes.

An adapter (Houlsby et al. 2019) is a bottleneck with a bend in it, h + up(gelu(down(h))), behind the attention and
behind the feed-forward part of every block. A prefix (Li and Liang 2021; the paper's prefix-layer tuning) is some keys
and values that are learned for every layer and stand before all tokens. The base stays frozen, norms too. Adapters
start as nothing; a prefix starts as what the base itself makes of some tokens, drawn with the seed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from harness.errors import UsageError
from harness_lora.injection import linear_names, outputs_of, sides

BLOCK = re.compile(r"(.*?)\.(\d+)\.(.+)")  # a stack of blocks, a block's number, and a name within the block
KINDS = {  # how families of models call the layers that end the two parts of a block
    "attention": re.compile(r".*att.*\.(o|o_proj|out_proj|c_proj|out_lin|wo|dense)", re.IGNORECASE),
    "forward": re.compile(
        r"(?!.*(att|expert))(.*\.)?(down_proj|c_proj|fc2|fc_out|lin2|wo|dense_4h_to_h|ffn_output|output\.dense)",
        re.IGNORECASE,
    ),
}


class Adapter(nn.Module):
    """Add a bottleneck's word on what comes in, (..., width)."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.up(gelu(self.down(x)))
        return added


def add_adapters(model: nn.Module, bottleneck: int, rank: int) -> None:
    """Put an adapter behind every attention and feed-forward part, in place; only they can be trained of these.

    A bottleneck of 0 is as wide as makes the parameters nearest to those of LoRA of `rank` on all linear layers. Raises
    UsageError as `ends_of` does.
    """
    ends = {name: model.get_submodule(name) for name in ends_of(model)}
    if not bottleneck:
        outputs = outputs_of(model)
        adapted = (n for n in linear_names(model) if not any(f"{n}.".startswith(f"{o}.") for o in outputs))
        lora = rank * sum(sum(sides(model.get_submodule(name))) for name in adapted)
        widths = [sides(module)[1] for module in ends.values()]
        bottleneck = max(round((lora - sum(widths)) / sum(2 * width + 1 for width in widths)), 1)
    for name, module in ends.items():
        weight: Any = module.weight
        adapter = Adapter(sides(module)[1], bottleneck).to(weight.device, weight.dtype)
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, nn.Sequential(module, _ours(adapter)))


def ends_of(model: nn.Module) -> list[str]:
    """Return the names of the layers that end the attention (each, where there are two) and the feed-forward of blocks.

    Raises UsageError unless every block of a stack is seen to have both, the feed-forward once: not so one of experts.
    """
    stacks: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for name in linear_names(model):
        if place := BLOCK.fullmatch(name):
            kind = next((kind for kind, ends in KINDS.items() if ends.fullmatch(place[3])), "")
            stacks[place[1]][place[2]].append((kind, name))
    blocks = [
        block
        for stack in stacks.values()
        if any(k for b in stack.values() for k, _ in b)
        for block in stack.values()
    ]
    kinds = [[kind for kind, _ in block] for block in blocks]
    if not blocks or not all("attention" in some and some.count("forward") == 1 for some in kinds):
        raise UsageError(
            f"where the blocks of {type(model).__name__} end is not known, so it gets no adapters: leave the method out"
        )
    return [name for block in blocks for kind, name in block if kind]


class Prefix(nn.Module):
    """Hold keys and values for every layer, (layers, 2, heads, tokens, head width)."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.states = nn.Parameter(start)

    def cache(self, rows: int, config: Any) -> Any:
        """Return a cache for `rows` rows that has read the prefix."""
        from transformers.cache_utils import DynamicCache

        cache = DynamicCache(config=config)
        for layer, (keys, values) in enumerate(self.states):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)
        return cache


def add_prefix(model: Any, tokens: int) -> None:
    """Put `tokens` keys and values before every layer's own, in place; only they can be trained of the body.

    Raises UsageError for a model that keeps no cache of keys and values: an encoder.
    """
    config = model.config.get_text_config()
    if not model.can_generate():
        raise UsageError("a prefix stands in a cache, which this model has not: leave the method out")
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    like = next(model.parameters())
    if like.is_meta:
        start = like.new_empty(config.num_hidden_layers, 2, heads, tokens, width)
    else:
        ids = torch.randint(config.vocab_size, (1, tokens), device=like.device)
        with torch.no_grad():
            read = model(input_ids=ids, use_cache=True).past_key_values
        if any(one.keys.shape[2] < tokens for one in read.layers):
            raise UsageError(
                f"a layer of this model looks back on fewer than method.prefix={tokens} tokens: lower it"
            )
        start = torch.stack([torch.stack((one.keys[0], one.values[0])) for one in read.layers])
    model.prefix = _ours(Prefix(start.clone()))
    model.register_forward_pre_hook(_read_first, with_kwargs=True)


def _read_first(model: Any, words: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Let a model that has read nothing yet read its prefix, and count its tokens among those before.

    Raises UsageError where blocks forget their activations: they would forget the cache too.
    """
    if model.training and model.is_gradient_checkpointing:
        raise UsageError(
            "a prefix needs the cache that fit.checkpoint_activations=true drops: leave that out"
        )
    given = {**dict(zip(("input_ids", "attention_mask"), words, strict=False)), **given}
    shown = given["inputs_embeds"] if given.get("input_ids") is None else given["input_ids"]
    tokens = model.prefix.states.shape[3]
    cache, mask, places = (given.get(n) for n in ("past_key_values", "attention_mask", "position_ids"))
    if cache is None or not cache.get_seq_length():
        given["past_key_values"] = model.prefix.cache(len(shown), model.config)
    if mask is not None:
        given["attention_mask"] = torch.cat([mask.new_ones(len(mask), tokens), mask], dim=1)
    if places is not None:
        given["position_ids"] = places + tokens
    return (), given


def _ours(module: nn.Module) -> nn.Module:
    """Say that a module's parameters are no head that transformers found missing in a checkpoint."""
    for parameter in module.parameters():
        parameter._is_hf_initialized = True  # type: ignore[attr-defined]
    return module
