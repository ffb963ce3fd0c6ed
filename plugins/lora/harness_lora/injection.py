"""Put LoRA layers where the targets point, fold them in and out, and count what is trained.

Targets are meant as PEFT means them: a list of names matches modules whose path is that name or ends in
it, a single string is a regular expression over whole paths, and "all-linear" is every linear layer but
the output layer. Only `nn.Linear` for now; anything else that a target matches is refused by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import nn

from harness.errors import UsageError
from harness_lora.layer import LoraLinear

HEADS = ("score", "classifier")  # what transformers calls a classifier's own layers


@dataclass(frozen=True)
class LoraConfig:
    """Say what to adapt and how strongly. `heads` are trained whole and saved beside A and B."""

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.0
    targets: str | Sequence[str] = "all-linear"
    rslora: bool = False
    heads: Sequence[str] = ()
    gaussian: bool = False  # A ~ N(0, (1 / rank)^2), as in the paper's text, not Kaiming-uniform

    @property
    def scale(self) -> float:
        """What B A is multiplied by: alpha / rank, or alpha / sqrt(rank) with `rslora`."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


def inject(model: nn.Module, config: LoraConfig) -> nn.Module:
    """Freeze `model`, wrap the layers that `config.targets` match, in place, and return it.

    Only A, B and the heads can be trained then. Raises UsageError for targets that match nothing or
    something that is no linear layer, and for a rank above a matrix's smaller side.
    """
    if any(True for _ in layers(model)):
        raise UsageError("this model has LoRA layers already: unload it, or start from the base again")
    found = matched(model, config)
    for name, module in found.items():
        if not isinstance(module, nn.Linear):
            raise UsageError(
                f"the target {name!r} is a {type(module).__name__}, and only Linear layers are adapted here: "
                "name other targets"
            )
        largest = min(module.in_features, module.out_features)
        if not 1 <= config.rank <= largest:
            raise UsageError(
                f"rank={config.rank} does not fit {name!r} ({module.in_features} -> {module.out_features}): "
                f"use 1 to {largest}"
            )
    model.requires_grad_(False)
    for name, module in found.items():
        layer = LoraLinear(module, config.rank, config.scale, config.dropout)  # type: ignore[arg-type]
        if config.gaussian:
            nn.init.normal_(layer.lora_A.weight, std=1 / config.rank)
        _replace(model, name, layer)
    for _, head in _heads(model, config.heads):
        head.requires_grad_(True)
    model.lora_config = config  # type: ignore[assignment]
    return model


def matched(model: nn.Module, config: LoraConfig) -> dict[str, nn.Module]:
    """Return the modules that the targets match, by path; UsageError where a target matches none."""
    kept_out = [name for name, _ in _heads(model, config.heads)]
    modules = {name: module for name, module in model.named_modules() if name and not _inside(name, kept_out)}
    targets = config.targets
    if targets == "all-linear":
        outputs = _outputs(model)
        found: dict[str, nn.Module] = {}
        for name, module in modules.items():
            if isinstance(module, nn.Linear) and not _inside(name, outputs):
                found[name] = module
        if not found:
            raise UsageError("targets=all-linear finds no linear layer in this model: name the targets")
        return found
    if isinstance(targets, str):
        try:
            found = {name: module for name, module in modules.items() if re.fullmatch(targets, name)}
        except re.error as error:
            raise UsageError(f"targets={targets!r} is no regular expression ({error}): fix it") from None
        return found or _none_for(targets, modules)
    for target in targets:
        if not any(_ends(name, target) for name in modules):
            _none_for(target, modules)
    return {n: m for n, m in modules.items() if any(_ends(n, target) for target in targets)}


def merge(model: nn.Module) -> nn.Module:
    """Fold every B A into its weight, in float32; dropout and the low-rank path are then out of play."""
    for _, layer in layers(model):
        layer.merge()
    return model


def unmerge(model: nn.Module) -> nn.Module:
    """Put back every weight that `merge` replaced, bit for bit."""
    for _, layer in layers(model):
        layer.unmerge()
    return model


def unload(model: Any) -> Any:
    """Take the LoRA layers out, leaving their linear layers as they are: merged or not.

    A merged output layer is no longer its embedding's twin; the model's config says so from then on.
    """
    for name, layer in list(layers(model)):
        if layer.merged and name in _outputs(model) and getattr(model, "config", None) is not None:
            model.config.tie_word_embeddings = False
        _replace(model, name, layer.base_layer)
    vars(model).pop("lora_config", None)
    return model


def layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Yield the LoRA layers of a model by path."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            yield name, module


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Return how many parameters are `trainable`, of these the `adapter`'s and the `head`'s, and in `total`.

    The total counts a tied matrix once. Bias-only and full fine-tuning have no adapter; what they train
    of the body is `trainable` less the head.
    """
    heads = {id(p) for _, head in _heads(model, HEADS) for p in head.parameters()}
    adapter = {id(p) for _, layer in layers(model) for p in (layer.lora_A.weight, layer.lora_B.weight)}
    counts = {"trainable": 0, "adapter": 0, "head": 0, "total": 0}
    for p in model.parameters():
        counts["total"] += p.numel()
        if p.requires_grad:
            counts["trainable"] += p.numel()
            counts["adapter"] += p.numel() * (id(p) in adapter)
            counts["head"] += p.numel() * (id(p) in heads)
    return counts


def head_names(model: nn.Module) -> list[str]:
    """Return the paths of a classifier's own layers, which are new and must be trained; else none."""
    return [name for name, _ in _heads(model, HEADS)]


def _heads(model: nn.Module, names: Sequence[str]) -> list[tuple[str, nn.Module]]:
    return [(n, m) for n, m in model.named_modules() if any(_ends(n, name) for name in names)]


def _outputs(model: Any) -> list[str]:
    """Return the paths of the layers that end the model: its output embedding, its classifier."""
    output: Any = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    ends = [n for n, m in model.named_modules() if output is not None and m is output]
    return ends + ([] if ends else head_names(model))


def _inside(name: str, outer: Sequence[str]) -> bool:
    return any(name == o or name.startswith(f"{o}.") for o in outer)


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def _none_for(target: str, modules: dict[str, nn.Module]) -> Any:
    last = dict.fromkeys(n.rpartition(".")[2] for n, m in modules.items() if isinstance(m, nn.Linear))
    near = get_close_matches(target.rpartition(".")[2], last, n=3, cutoff=0.4) or sorted(last)[:12]
    raise UsageError(
        f"the target {target!r} matches nothing in this model, whose linear layers end in "
        f"{', '.join(near) or 'nothing: it has none'}: use one of these, a regular expression over whole paths, "
        "or all-linear"
    )
