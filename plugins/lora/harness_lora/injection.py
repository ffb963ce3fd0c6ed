"""Put LoRA layers where the targets point, fold them in and out, and count what is trained.

Names are meant as PEFT means them: targets and what is excluded match modules whose path is that name or ends in
it, a single text is a regular expression over whole paths, and "all-linear" is every linear layer but the output
layer. Heads are trained whole: each gets matrices of its own, so that what was tied to it stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from harness.errors import UsageError
from harness_lora.heads import head_names
from harness_lora.layer import LoraEmbedding, LoraLinear, LowRank, TokenRows, Wrapped
from harness_lora.options import LoraConfig

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def inject(model: nn.Module, config: LoraConfig) -> nn.Module:
    """Freeze `model`, wrap the layers that `config.targets` match, in place, and return it.

    Only A, B, the heads and what else `config` names can be trained then. Raises UsageError for names that match
    nothing, for layers that cannot be adapted, and for a rank above a matrix's smaller side.
    """
    config = resolved(model, config)
    for name in config.heads or ():
        if not _heads(model, [name]):
            near = get_close_matches(name, [n for n, _ in model.named_modules() if n], n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else "name a module, or () for none"
            raise UsageError(f"the head {name!r} is no module of this model: {hint}")
    for name, module in matched(model, config, strict=True).items():
        wide, high = sides(module)
        rank = config.at(name)[0]
        if rank > min(wide, high):
            raise UsageError(
                f"rank={rank} does not fit {name!r} ({wide} -> {high}): use 1 to {min(wide, high)}"
            )
    return place(model, config)


def resolved(model: nn.Module, config: LoraConfig) -> LoraConfig:
    """Return the config with the heads that `heads=None` means for this model, by their paths."""
    return config if config.heads is not None else replace(config, heads=tuple(head_names(model)))


def place(model: nn.Module, config: LoraConfig) -> nn.Module:
    """Do what `inject` does, where names that match nothing do no harm: as for an adapter that is read."""
    if any(True for _ in layers(model)):
        raise UsageError("this model has LoRA layers already: unload it, or start from the base again")
    config = resolved(model, config)
    found = matched(model, config)
    rows = _token_layers(model, config)
    for name in rows.keys() & found.keys():
        raise UsageError(f"{name!r} is a target and has tokens of its own: leave one of the two out")
    model.requires_grad_(False)
    for name, module in found.items():
        rank, scale = config.at(name)
        layer: LowRank
        if isinstance(module, nn.Embedding):
            layer = LoraEmbedding(module, rank, scale, config.dora)
        else:
            layer = LoraLinear(module, rank, scale, config.dropout, config.dora)
            if config.gaussian:
                nn.init.normal_(layer.lora_A.weight, std=1 / rank)
        _replace(model, name, layer)
    leaders: dict[tuple[int, tuple[int, ...]], TokenRows] = {}
    for name, (module, tokens) in rows.items():
        one = (id(module.weight), tuple(tokens))
        wrapped = TokenRows(module, tokens, leaders.get(one))
        leaders.setdefault(one, wrapped)
        _replace(model, name, wrapped)
    for name, head in _heads(model, config.heads or ()):
        if not config.tied:
            head = _own_matrices(model, name, head)
        head.requires_grad_(True)
    for parameter in biases(model, config.bias).values():
        parameter.requires_grad_(True)
    say_untied(model)
    model.lora_config = config  # type: ignore[assignment]
    return model


def matched(model: nn.Module, config: LoraConfig, strict: bool = False) -> dict[str, nn.Module]:
    """Return the modules that the targets match, by path, each one that can be adapted.

    Raises UsageError where nothing is matched, or with `strict` where one of the names matches nothing.
    """
    config = resolved(model, config)
    kept_out = [name for name, _ in _heads(model, config.heads or ())]
    modules = {name: module for name, module in model.named_modules() if name and not _within(module, name)}
    free = {n: m for n, m in modules.items() if not _inside(n, kept_out) and not _names(n, config.exclude)}
    targets = config.targets
    if targets == "all-linear":
        outputs = outputs_of(model)
        found = {n: m for n, m in free.items() if (_linear(m) or _quantised(m)) and not _inside(n, outputs)}
        if not found:
            raise UsageError("targets=all-linear finds no linear layer in this model: name the targets")
    elif isinstance(targets, str):
        found = {n: m for n, m in free.items() if _names(n, targets)}
    else:
        for target in targets if strict else ():
            if not any(_names(name, [target]) for name in modules):
                _none_for(model, target)
        found = {n: m for n, m in free.items() if n in targets or (_names(n, targets) and _chosen(n, config))}
    if not found:
        if any(_names(n, targets) for n in modules):
            raise UsageError(
                f"the targets {targets!r} match only what is trained whole, excluded or in other layers: name others"
            )
        _none_for(model, targets if isinstance(targets, str) else ", ".join(targets))
    for name, module in found.items():
        _adaptable(model, name, module)
    return found


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
    """Take the LoRA layers out, leaving their base layers as they are: merged or not.

    A merged output layer is no longer its embedding's twin; the model's config says so from then on.
    """
    for name, layer in list(layers(model)):
        _replace(model, name, layer.base_layer)
    say_untied(model, alone=True)
    vars(model).pop("lora_config", None)
    return model


def say_untied(model: Any, alone: bool = False) -> None:
    """Let the config say that embedding and output layer are two matrices, where it says they are one.

    BART's encoder and decoder share that matrix too, so each needs its own first: with `alone` they get it, else
    the config waits. T5's config cannot be told so, and need not: matrices that differ in its file are not tied.
    """
    config: Any = getattr(model, "config", None)
    if not getattr(config, "tie_word_embeddings", False) or not hasattr(model, "get_output_embeddings"):
        return
    inner, outer = (_inner(m) for m in (model.get_input_embeddings(), model.get_output_embeddings()))
    if inner is None or outer is None or inner.weight is outer.weight:
        return
    if type(config).from_dict({**config.to_dict(), "tie_word_embeddings": False}).tie_word_embeddings:
        return
    ends = [name for name, module in model.named_modules() if module is inner or module is outer]
    sharing = [  # under other paths, where resizing leaves the very same module
        (name, module)
        for name, module in model.named_modules(remove_duplicate=False)
        if name not in ends and any(getattr(module, "weight", None) is end.weight for end in (inner, outer))
    ]
    if sharing and not alone:
        return
    for name, module in sharing:
        _own_matrices(model, name, module)
    config.tie_word_embeddings = False


def layers(model: nn.Module) -> Iterator[tuple[str, Wrapped]]:
    """Yield the layers that were put in, by path."""
    for name, module in model.named_modules():
        if isinstance(module, Wrapped):
            yield name, module


def biases(model: nn.Module, which: str) -> dict[str, nn.Parameter]:
    """Return the biases that `bias` "all" or "lora_only" (those of adapted layers) means, by path."""
    if which == "lora_only":
        wrapped = {f"{name}.base_layer.bias" for name, layer in layers(model) if isinstance(layer, LowRank)}
        return {n: p for n, p in model.named_parameters() if n in wrapped}
    return {n: p for n, p in model.named_parameters() if which == "all" and n.rpartition(".")[2] == "bias"}


def heads_of(model: nn.Module) -> list[str]:
    """Return the paths of what is trained whole: of an adapted model what its config says, else its own head."""
    config = getattr(model, "lora_config", None)
    return [n for n, _ in _heads(model, config.heads or ())] if config else head_names(model)


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Return how many parameters are `trainable`, of these the `adapter`'s and the `head`'s, and in `total`.

    The total counts a tied matrix once. Bias-only and full fine-tuning have no adapter; what they train
    of the body is `trainable` less the head.
    """
    heads = {id(p) for name in heads_of(model) for p in model.get_submodule(name).parameters()}
    adapter = {id(p) for _, layer in layers(model) for p in layer.adapter().values()}
    counts = {"trainable": 0, "adapter": 0, "head": 0, "total": 0}
    for p in model.parameters():
        counts["total"] += p.numel()
        if p.requires_grad:
            counts["trainable"] += p.numel()
            counts["adapter"] += p.numel() * (id(p) in adapter)
            counts["head"] += p.numel() * (id(p) in heads)
    return counts


def outputs_of(model: Any) -> list[str]:
    """Return the paths of the layers that end the model: its output embedding, or its classifier."""
    output: Any = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    ends = [n for n, m in model.named_modules() if output is not None and m is output]
    return ends or head_names(model)


def linear_names(model: nn.Module) -> list[str]:
    """Return the paths of all linear layers, wrapped or not."""
    found = ((n, _inner(m)) for n, m in model.named_modules() if ".base_layer" not in n and ".lora_" not in n)
    return [n for n, m in found if _linear(m)]


def _heads(model: nn.Module, names: Sequence[str]) -> list[tuple[str, nn.Module]]:
    """Return the modules whose path ends in one of the names, as PEFT finds them, the outermost of each."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in model.named_modules(remove_duplicate=False):
        if name and name.endswith(tuple(names)) and not _inside(name, [n for n, _ in found]):
            found.append((name, module))
    return found


def _token_layers(model: Any, config: LoraConfig) -> dict[str, tuple[nn.Module, list[int]]]:
    """Return the embeddings whose tokens are learned alone, and what is tied to them; the input embedding first."""
    if not config.tokens:
        return {}
    embedding = model.get_input_embeddings()
    everything = model.named_modules(remove_duplicate=False)
    modules = {n: m for n, m in everything if isinstance(getattr(m, "weight", None), nn.Parameter)}
    inner = next(n for n, m in modules.items() if m is embedding)
    asked = config.tokens if isinstance(config.tokens, Mapping) else {inner: config.tokens}
    found: dict[str, tuple[nn.Module, list[int]]] = {}
    for target, tokens in asked.items():
        named = {n: m for n, m in modules.items() if n.endswith(target)}
        if not named:
            raise UsageError(f"tokens: no embedding is called {target!r}: name {inner}, the input embedding")
        for name, module in named.items():
            if max(tokens) >= len(module.weight) or min(tokens) < 0:  # type: ignore[arg-type]
                raise UsageError(
                    f"tokens: {name} has {len(module.weight)} rows: leave out what is beyond, such as {max(tokens)}"
                )  # type: ignore[arg-type]
            found[name] = (module, list(tokens))
    if inner in found:
        for name, module in modules.items():
            if module.weight is embedding.weight:
                found.setdefault(name, (module, found[inner][1]))
        found = {inner: found[inner], **found}
    return found


def _own_matrices(model: nn.Module, path: str, head: nn.Module) -> nn.Module:
    """Give a head copies of the parameters that it shares with other modules, or of itself where it is another too."""
    if sum(module is head for _, module in model.named_modules(remove_duplicate=False)) > 1:
        head = copy(head)  # with a module's parameters in a new mapping
        head._parameters = dict(head._parameters)
        _replace(model, path, head)
    others = {id(p) for n, p in model.named_parameters(remove_duplicate=False) if not _inside(n, [path])}
    for module in head.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) in others:
                copied = nn.Parameter(parameter.detach().clone())
                vars(copied).update(vars(parameter))  # or it would look new
                setattr(module, name, copied)
    return head


def _adaptable(model: nn.Module, name: str, module: nn.Module) -> None:
    if _quantised(module):
        raise UsageError(
            f"{name!r} is quantised ({type(module).__name__}), and LoRA needs its weights as numbers: "
            "load the base unquantised"
        )
    if not _linear(module) and not isinstance(module, nn.Embedding):
        raise UsageError(
            f"the target {name!r} is a {type(module).__name__}, and only Linear, Conv1D and Embedding layers "
            "are adapted here: name other targets"
        )
    parent = model.get_submodule(name.rpartition(".")[0])
    if isinstance(parent, nn.MultiheadAttention):
        raise UsageError(
            f"the target {name!r} is inside torch's MultiheadAttention, which reads its weight alone: leave it out"
        )


def _quantised(module: Any) -> bool:
    if "quantized" in type(module).__module__ or getattr(module, "qweight", None) is not None:
        return True
    weight: Any = getattr(module, "weight", None)
    return _linear(module) and not (type(weight) in (nn.Parameter, torch.Tensor) and weight.dtype in FLOATS)


def _linear(module: Any) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def sides(module: nn.Module) -> tuple[int, int]:
    """Return a layer's (in, out)."""
    rows, columns = module.weight.shape  # type: ignore[union-attr, misc]
    return (columns, rows) if isinstance(module, nn.Linear) else (rows, columns)


def _chosen(name: str, config: LoraConfig) -> bool:
    """Say whether a module lies in one of the layers asked for; the first number in its path is its layer's."""
    if not config.layers:
        return True
    patterns = config.layers_pattern or (r"[^.]*",)
    for pattern in patterns:
        start = r".*?\." if not config.layers_pattern else r"(?:.*?\.)?"
        if number := re.match(rf"{start}{pattern}\.(\d+)\.", name):
            return int(number[1]) in config.layers
    return False


def _names(name: str, given: str | Sequence[str]) -> bool:
    """Say whether a path is one of the names or ends in one; a text is a regular expression over the whole."""
    if isinstance(given, str):
        return bool(given) and re.fullmatch(given, name) is not None
    return any(name == g or name.endswith(f".{g}") for g in given)


def _inside(name: str, outer: Sequence[str]) -> bool:
    return any(name == o or name.startswith(f"{o}.") for o in outer)


def _within(module: nn.Module, name: str) -> bool:
    return isinstance(module, Wrapped) or ".base_layer" in name


def _inner(module: Any) -> Any:
    return module.base_layer if isinstance(module, Wrapped) else module


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def fused_experts(model: nn.Module) -> str:
    """Return the class of modules that hold all experts' matrices in one tensor; "" where there is none."""
    fused = (m for m in model.modules() if any(p.dim() == 3 for p in m.parameters(recurse=False)))
    return next((type(m).__name__ for m in fused if "Expert" in type(m).__name__), "")


def _none_for(model: nn.Module, target: str) -> None:
    linear = [n for n, m in model.named_modules() if _linear(m)]
    last = dict.fromkeys(n.rpartition(".")[2] for n in linear)
    near = get_close_matches(target.rpartition(".")[2], last, n=3, cutoff=0.4) or sorted(last)[:12]
    if fused := fused_experts(model):
        raise UsageError(
            f"the target {target!r} matches nothing in this model, which holds its experts' matrices in one tensor "
            f"({fused}): adapters of single experts are not done here; the linear layers end in {', '.join(near)}"
        )
    raise UsageError(
        f"the target {target!r} matches nothing in this model, whose linear layers end in "
        f"{', '.join(near) or 'nothing: it has none'}: use one of these, a regular expression over whole paths, "
        "or all-linear"
    )
