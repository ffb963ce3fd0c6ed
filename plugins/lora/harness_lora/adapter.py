"""Read and write adapters as PEFT does: `adapter_config.json` beside `adapter_model.safetensors`.

PEFT calls a tensor `base_model.model.<path>.lora_A.weight`, shaped (rank, in), or `.lora_B.weight`,
(out, rank). An adapter is worth nothing on another base, and PEFT's config holds only a name of it, so we
also write a fingerprint of the base's weights into the safetensors file, where PEFT does not mind it.
Whatever the config says that is not done here is refused: a key that is not understood is a wrong model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError, UsageError
from harness_lora.bases import kind_of, load_base
from harness_lora.heads import ends_of, new_names, resized
from harness_lora.injection import (
    biases,
    fused_experts,
    heads_of,
    layers,
    linear_names,
    outputs_of,
    place,
)
from harness_lora.layer import LowRank, TokenRows
from harness_lora.options import LoraConfig

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
FIELDS = {  # what a key of PEFT's config is called here
    "r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout", "target_modules": "targets",
    "use_rslora": "rslora", "modules_to_save": "heads", "exclude_modules": "exclude",
    "layers_to_transform": "layers", "layers_pattern": "layers_pattern", "rank_pattern": "ranks",
    "alpha_pattern": "alphas", "bias": "bias", "trainable_token_indices": "tokens", "use_dora": "dora",
    "ensure_weight_tying": "tied",
}  # fmt: skip
STARTS = (True, False, "gaussian", "orthogonal", "eva")  # `init_lora_weights` that leave the base alone
ABOUT = {  # keys of which base it is, or that never change what is computed
    "peft_type", "base_model_name_or_path", "revision", "task_type", "auto_mapping", "inference_mode", "peft_version",
    "init_lora_weights", "eva_config", "base_dtype", "fan_in_fan_out",  # the last follows from the layer
}  # fmt: skip
IDLE = {  # keys that change nothing at these values, nor when null, false or empty
    "qalora_group_size": (16,), "megatron_core": ("megatron.core",),
}  # fmt: skip
ENDINGS = {  # of a class's name, and PEFT's word for the task
    "ForSequenceClassification": "SEQ_CLS", "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
}  # fmt: skip
WHY = {  # why some keys cannot be done, where "not done here" would not tell
    "target_parameters": "adapts fused matrices such as those of experts, which is not done here",
    "layer_replication": "repeats layers of the base, which is not done here",
}


def save_adapter(model: nn.Module, folder: str | Path) -> Path:
    """Write the model's A, B and whatever else is trained to `folder`, for `load_adapter` and for `peft`.

    The file is written anew whole. Raises UsageError for a model without LoRA layers.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    tensors = trained_tensors(model)
    config = to_peft(model)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{name}.base_layer." for name, layer in layers(model) if isinstance(layer, TokenRows)]
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(tuple(rows)):
            name = name.replace(".base_layer.", ".token_adapter.base_layer.")
        named[PREFIX + name] = tensor.detach().cpu().contiguous().clone()
    save_file(named, folder / WEIGHTS, notes(model))
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return folder


def load_adapter(model: nn.Module, folder: str | Path, any_base: bool = False) -> nn.Module:
    """Put the adapter in `folder` onto its base `model`, in place, and return it in eval mode.

    A base gets as many rows of embeddings as the adapter brings. Raises UsageError for an adapter that is damaged,
    pickled, of another base or revision (unless `any_base`), or that needs what is not done here.
    """
    folder = Path(folder)
    said = read_config(folder)
    config = from_peft(said)
    tensors, metadata = read_weights(folder)
    if not any_base:
        check_base(model, said, metadata, tensors, folder)
    resize(model, tensors)
    place(model, config)
    fill(model, tensors, folder)
    return model.eval()


def resize(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Give the model's embedding and output layer the number of rows that those in `tensors` have.

    Raises HarnessError where one of the two would get rows that the adapter does not bring.
    """
    if not hasattr(model, "get_input_embeddings") or not hasattr(model, "resize_token_embeddings"):
        return
    brought = {name: t for name in _embeddings(model) if (t := _brought(name, tensors)) is not None}
    rows = next((len(t) for name, t in brought.items() if name.endswith("weight")), None)
    before = len(model.get_input_embeddings().weight)
    if rows is None or rows == before:
        return
    model.resize_token_embeddings(rows, mean_resizing=False)
    ends = _embeddings(model)
    filled = {id(p) for name, p in ends.items() if name in brought}
    drawn = [name for name, p in ends.items() if len(p) == rows and id(p) not in filled]
    if drawn and rows > before:
        raise HarnessError(
            f"the adapter has {rows} tokens and its base {before}, and it does not hold {drawn[0]}, whose new rows "
            f"would be drawn anew in each load: save the base as it was in training, with {rows} tokens, and give that "
            "(--base, with --any-base)"
        )


def _brought(name: str, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """Return what an adapter holds of a base's parameter, wrapped or not; None where it holds nothing."""
    path, _, last = name.rpartition(".")
    return tensors.get(name, tensors.get(f"{path}.base_layer.{last}"))


def _output(model: Any) -> str:
    """Return the path of the output layer, or ""."""
    layer = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return next((name for name, module in model.named_modules() if module is layer), "") if layer else ""


def fill(model: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Copy tensors into the model's A, B and heads; HarnessError unless names and shapes are the same.

    Beside them PEFT may keep copies of embeddings, and of what is tied to them: they are copied too.
    """
    wanted = trained_tensors(model)
    taken = {**_embeddings(model), **wanted}
    missing = sorted(wanted.keys() - tensors.keys() - resized(model).keys())
    extra = sorted(tensors.keys() - taken.keys())
    if missing or extra:
        what = f"lacks {missing[0]} ({len(missing)} in all)" if missing else ""
        more = f"holds {extra[0]} ({len(extra)} in all), which the model has no place for" if extra else ""
        fused = fused_experts(model) if any(".experts." in name for name in extra) else ""
        why = f"the model's experts are one tensor ({fused}), and adapters of single ones are not done here"
        if any(".modules_to_save." in name for name in extra):
            why = "modules_to_save names modules inside one another, and PEFT itself cannot read what it then writes"
        elif (head := _output(model)) and any(name.startswith(f"{head}.lora_") for name in extra):
            why = (
                "PEFT adapted the output layer along with the embedding it is tied to (ensure_weight_tying), which is "
                "not done here: merge it with PEFT first"
            )
        elif not fused:
            why = "it is of another model or other targets"
        raise HarnessError(f"{where} {' and '.join(filter(None, (what, more)))}: {why}")
    for name, tensor in tensors.items():
        if taken[name].shape != tensor.shape:
            raise HarnessError(
                f"{where}: {name} is {tuple(tensor.shape)} and the model wants {tuple(taken[name].shape)}: "
                "the base is of another size, or the rank is not what the config says"
            )
        with torch.no_grad():
            taken[name].copy_(tensor)


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return what an adapter holds, by the path in the model: A and B, what is trained whole, resized embeddings."""
    found = dict(layers(model))
    if not found:
        raise UsageError("this model has no LoRA layers to save: inject them first")
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, layer in found.items():
        if layer.merged:
            raise UsageError("this model is merged: unmerge it before saving or filling its adapter")
        for inner, parameter in layer.adapter().items():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                tensors[f"{name}.{inner}"] = parameter
    config: LoraConfig = model.lora_config  # type: ignore[assignment]
    heads = tuple(f"{name}." for name in heads_of(model))
    whole = biases(model, config.bias).keys() | resized(model).keys()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name in tensors or id(parameter) in seen:
            continue
        if parameter.requires_grad or name in whole or name.startswith(heads):
            tensors[name] = parameter
    return tensors


def to_peft(model: nn.Module) -> dict[str, Any]:
    """Return the config that `inject` was given as PEFT's `adapter_config.json` says it."""
    config: LoraConfig = model.lora_config  # type: ignore[assignment]
    base = getattr(model, "config", None)
    said = {theirs: _plain(getattr(config, ours)) for theirs, ours in FIELDS.items()}
    task = _task(model)
    if not isinstance(config.targets, str):
        said["target_modules"] = sorted(config.targets)
    elif fused_experts(model):  # of which PEFT's all-linear adapts the experts too
        said["target_modules"] = [name for name, layer in layers(model) if isinstance(layer, LowRank)]
    said["exclude_modules"] = _plain(_excluded(model, config, task))
    return {
        **said,
        "peft_type": "LORA",
        "task_type": task,
        "auto_mapping": None
        if task
        else {"base_model_class": type(model).__name__, "parent_library": type(model).__module__},
        "base_model_name_or_path": getattr(base, "_name_or_path", None) or None,
        "revision": getattr(base, "_commit_hash", None),
        "init_lora_weights": "gaussian" if config.gaussian else True,
        "fan_in_fan_out": any(
            layer.transposed and not isinstance(layer.base_layer, nn.Embedding)
            for _, layer in layers(model)
            if isinstance(layer, LowRank)
        ),
        "inference_mode": True,
    }


def from_peft(said: dict[str, Any]) -> LoraConfig:
    """Return the `LoraConfig` of an `adapter_config.json`; UsageError for what is not done here."""
    if said.get("peft_type") != "LORA":
        raise UsageError(f"this is a {said.get('peft_type')} adapter: only LORA is read here")
    made = f" (written by PEFT {said['peft_version']})" if said.get("peft_version") else ""
    for key, value in said.items():
        idle = key in FIELDS or key in ABOUT or not value or value in IDLE.get(key, ())
        if not idle:
            raise UsageError(
                f"adapter_config.json sets {key}={value!r}{made}, which "
                f"{WHY.get(key, 'is not done here')}: merge it with peft first"
            )
    missing = [key for key in ("r", "lora_alpha", "target_modules") if said.get(key) in (None, [], "")]
    if missing:
        # PEFT would assume r = 8 and alpha = 8: silently wrong where it was trained with others.
        raise UsageError(
            f"adapter_config.json does not say {' and '.join(missing)}: add what it was trained with"
        )
    start = said.get("init_lora_weights", True)
    if start not in STARTS:
        raise UsageError(
            f"this adapter began as init_lora_weights={start!r}{made}, which is not done here (PiSSA, OLoRA, CorDA, "
            "LoftQ and LoRA-GA change the base itself): merge it with peft first"
        )
    given = {ours: _ours(said[theirs]) for theirs, ours in FIELDS.items() if said.get(theirs) not in EMPTY}
    if isinstance(given.get("layers"), int):
        given["layers"] = (given["layers"],)
    if isinstance(given.get("layers_pattern"), str):
        given["layers_pattern"] = (given["layers_pattern"],)
    try:
        return LoraConfig(**{"heads": (), **given, "gaussian": start == "gaussian"})
    except UsageError as error:
        raise UsageError(f"adapter_config.json{made}: {error}") from None


EMPTY: tuple[Any, ...] = (None, [], {}, "")  # what PEFT writes where a key says nothing


def _plain(value: Any) -> Any:
    """Return a setting as JSON holds it, and null for one that says nothing."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, str) or not isinstance(value, Collection):
        return None if value == "" else value
    return (sorted(value) if isinstance(value, set | frozenset) else list(value)) or None


def _ours(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _ours(v) for k, v in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _task(model: nn.Module) -> str | None:
    """Return PEFT's word for what the model does; None where PEFT's own reading of it would want another head."""
    kind, config = type(model).__name__, getattr(model, "config", None)
    word = next((task for ending, task in ENDINGS.items() if kind.endswith(ending)), None)
    if word in ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS"):
        needed = ("qa_outputs",) if word == "QUESTION_ANS" else ("score", "classifier")
        heads = heads_of(model)
        asked = [n for n, _ in model.named_modules() if n.endswith(needed)]
        return word if all(any(f"{n}.".startswith(f"{h}.") for h in heads) for n in asked) else None
    if kind.endswith("ForConditionalGeneration"):
        return "SEQ_2_SEQ_LM" if getattr(config, "is_encoder_decoder", False) else None
    can: Any = getattr(model, "can_generate", None)
    return (
        "CAUSAL_LM"
        if can is not None and can() and not getattr(config, "is_encoder_decoder", False)
        else None
    )


def _excluded(model: Any, config: LoraConfig, task: str | None) -> Any:
    """Return what is excluded, and by name what PEFT's all-linear would take and ours does not."""
    if config.targets != "all-linear":
        return config.exclude
    adapted = dict(layers(model))
    output: Any = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    ends = outputs_of(model) if output is not None else []
    if not ends and task == "SEQ_CLS":
        ends = [next((n for n in ("score", "classifier") if hasattr(model, n)), "")]
    saved = config.heads or ()
    more = [
        name
        for name in linear_names(model)
        if name not in adapted
        and name not in ends
        and not any(f".{name}.".find(f".{head}.") >= 0 for head in saved)
    ]
    if not more or (isinstance(config.exclude, str) and config.exclude):
        return config.exclude
    return sorted({*config.exclude, *more})


def read_config(folder: Path) -> dict[str, Any]:
    """Return `adapter_config.json` as it stands."""
    path = folder / CONFIG
    if not path.is_file():
        raise UsageError(f"{folder} holds no {CONFIG}: give the folder of an adapter")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UsageError(f"{path} is not JSON: copy it again from where the adapter was trained") from None
    if not isinstance(said, dict):
        raise UsageError(f"{path} is not a JSON object: copy it again from where the adapter was trained")
    return said


def read_weights(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return an adapter's tensors by the path in the model, and the file's own notes."""
    from safetensors import SafetensorError, safe_open

    path = folder / WEIGHTS
    if not path.is_file():
        pickled = [p.name for p in folder.glob("adapter_model.*") if p.suffix in (".bin", ".pt", ".pth")]
        if pickled:
            raise UsageError(
                f"{folder} has its weights only as {pickled[0]}, a pickle, which can run code when read: "
                "save it again with peft's save_pretrained(safe_serialization=True)"
            )
        raise UsageError(f"{folder} holds no {WEIGHTS}: copy it from where the adapter was trained")
    try:
        with safe_open(path, "pt") as file:
            named = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return {path_of(n): t for n, t in named.items() if not _doubled(n, named)}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is damaged ({error}): copy it again from where it was trained") from None


def path_of(name: str) -> str:
    """Return the path in an adapted model of what PEFT's file calls so."""
    return name.removeprefix(PREFIX).replace(".token_adapter.base_layer.", ".base_layer.")


def _doubled(name: str, named: Collection[str]) -> bool:
    """Say whether PEFT wrote this beside the same thing under its plain name, as it does with `bias="all"`.

    A bias within a saved module keeps the adapter's own name in its path, where the plain one has none.
    """
    own, _, rest = name.rpartition(".modules_to_save.")
    plain = f"{own}.{rest.partition('.')[2]}"
    within = bool(own) and (("." not in rest) or (name.endswith("bias") and plain in named))
    return ".original_module." in name or within


def check_base(
    model: nn.Module, said: dict[str, Any], metadata: dict[str, str], brought: Collection[str], folder: Path
) -> None:
    """Raise UsageError where the adapter was trained on another base than `model`, or another revision.

    The fingerprint decides: the one in the file, or where PEFT wrote it that of the folder it names, if it is
    there. Else names and revisions, as far as both sides say them.
    """
    config = getattr(model, "config", None)
    name, revision = getattr(config, "_name_or_path", "") or "", getattr(config, "_commit_hash", "") or ""
    theirs, at = said.get("base_model_name_or_path") or "", said.get("revision") or ""
    way_out = "give that base, or any_base=True (--any-base) if you know better"
    expected = metadata.get("base_sha256")
    if not expected and (Path(theirs) / "config.json").is_file() and not _same(theirs, name):
        expected = fingerprint(load_base(theirs, kind=kind_of(theirs, said)), brought)
    if expected:
        found = fingerprint(model, brought)
        if found != expected:
            raise UsageError(
                f"{folder} was trained on {_called(theirs, at)} (weights {expected[:12]}), and this is "
                f"{_called(name, revision)} (weights {found[:12]}): {way_out}"
            )
        return
    if theirs and name and theirs != name and not _same(theirs, name):
        raise UsageError(f"{folder} was trained on {theirs}, and this is {name}: {way_out}")
    if at and revision and not revision.startswith(at):
        raise UsageError(
            f"{folder} was trained on {theirs} at {at}, and this is revision {revision}: {way_out}"
        )


def fingerprint(model: nn.Module, brought: Collection[str] = ()) -> str:
    """Return a SHA-256 over the base's weights, LoRA layers or not, in bfloat16: alike however it was loaded.

    What the adapter brings whole is left out (a head, embeddings with added tokens), and what is new in every load.
    A tied matrix counts once.
    """
    left_out = {_base_name(name) for name in {*brought, *new_names(model)}}
    whole = hashlib.sha256()
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    added = {id(p) for _, layer in layers(model) for p in layer.adapter().values()}
    for path, parameter in model.named_parameters(remove_duplicate=False):
        name = _base_name(path)
        if name not in left_out and id(parameter) not in seen | added:
            seen.add(id(parameter))
            found[name] = parameter
    for name, tensor in sorted(found.items()):
        whole.update(f"{name} {tuple(tensor.shape)}".encode())
        numbers = tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16)
        whole.update(numbers.numpy().tobytes())
    return whole.hexdigest()


def notes(model: nn.Module) -> dict[str, str]:
    """Return what is noted beside the tensors: the base's fingerprint, and what a classifier's config was told."""
    found = {"format": "pt", "base_sha256": fingerprint(model, trained_tensors(model))}
    config = getattr(model, "config", None)
    if config is not None and _task(model) in ("SEQ_CLS", "TOKEN_CLS"):
        told = {"id2label": config.id2label, "pad_token_id": config.pad_token_id}
        found["classifier"] = json.dumps(told)
    return found


def _embeddings(model: Any) -> dict[str, Tensor]:
    """Return the parameters of embedding and output layer, and of what is tied to them, under all their names."""
    ours = {id(p) for module in ends_of(model) for p in module.parameters()}
    return {n: p for n, p in model.named_parameters(remove_duplicate=False) if id(p) in ours}


def _base_name(path: str) -> str:
    return path.replace(".base_layer.", ".")


def _same(one: str, other: str) -> bool:
    return one == other or (Path(one).is_dir() and Path(one).resolve() == Path(other).resolve())


def _called(name: str, revision: str) -> str:
    return f"{name or 'a model without a name'}{f' at {revision}' if revision else ''}"
