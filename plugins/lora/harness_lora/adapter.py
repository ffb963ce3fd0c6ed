"""Read and write adapters as PEFT does: `adapter_config.json` beside `adapter_model.safetensors`.

PEFT calls a tensor `base_model.model.<path>.lora_A.weight`, shaped (rank, in), or `.lora_B.weight`,
(out, rank). An adapter is worth nothing on another base, and PEFT's config holds only a name of it, so we
also write a fingerprint of the base's weights into the safetensors file, where PEFT does not mind it.
Whatever the config says that is not done here is refused: a key that is not understood is a wrong model.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError, UsageError
from harness_lora.injection import LoraConfig, head_names, inject, layers

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
READ = {  # the keys that mean something here
    "r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "modules_to_save", "peft_type",
    "init_lora_weights", "base_model_name_or_path", "revision", "task_type",
}  # fmt: skip
IDLE = {  # keys that change nothing at these values, nor when null, false or empty
    "bias": ("none",), "qalora_group_size": (16,), "megatron_core": ("megatron.core",),
}  # fmt: skip
NOTES = {"inference_mode", "peft_version", "auto_mapping"}  # keys that never change what is computed


def save_adapter(model: nn.Module, folder: str | Path) -> Path:
    """Write the model's A, B and trained heads to `folder`, for `load_adapter` and for `peft`.

    The file is written anew whole. Raises UsageError for a model without LoRA layers.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    tensors = trained_tensors(model)
    config = to_peft(model)
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "pt", "base_sha256": fingerprint(model)}
    named = {PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(named, folder / WEIGHTS, metadata)
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return folder


def load_adapter(model: nn.Module, folder: str | Path, any_base: bool = False) -> nn.Module:
    """Put the adapter in `folder` onto its base `model`, in place, and return it in eval mode.

    Raises UsageError for an adapter that is damaged, pickled, of another base or revision (unless
    `any_base`), or that needs what is not done here.
    """
    folder = Path(folder)
    said = read_config(folder)
    config = from_peft(said)
    tensors, metadata = read_weights(folder)
    if not any_base:
        check_base(model, said, metadata, folder)
    inject(model, config)
    fill(model, {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}, folder)
    return model.eval()


def fill(model: nn.Module, tensors: dict[str, Tensor], where: Path) -> None:
    """Copy tensors into the model's A, B and heads; HarnessError unless names and shapes are the same."""
    wanted = trained_tensors(model)
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or extra:
        what = f"lacks {missing[0]} ({len(missing)} in all)" if missing else ""
        more = f"holds {extra[0]} ({len(extra)} in all), which the model has no place for" if extra else ""
        raise HarnessError(
            f"{where} {' and '.join(filter(None, (what, more)))}: it is of another model or other targets"
        )
    for name, tensor in tensors.items():
        if wanted[name].shape != tensor.shape:
            raise HarnessError(
                f"{where}: {name} is {tuple(tensor.shape)} and the model wants {tuple(wanted[name].shape)}: "
                "the base is of another size, or the rank is not what the config says"
            )
        with torch.no_grad():
            wanted[name].copy_(tensor)


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return what an adapter holds, by the path in the model: every A and B, and what is trained whole."""
    found = dict(layers(model))
    if not found:
        raise UsageError("this model has no LoRA layers to save: inject them first")
    tensors: dict[str, Tensor] = {}
    for name, layer in found.items():
        if layer.merged:
            raise UsageError("this model is merged: unmerge it before saving or filling its adapter")
        tensors[f"{name}.lora_A.weight"] = layer.lora_A.weight
        tensors[f"{name}.lora_B.weight"] = layer.lora_B.weight
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and name not in tensors:
            tensors[name] = parameter
    return tensors


def to_peft(model: nn.Module) -> dict[str, Any]:
    """Return the config that `inject` was given as PEFT's `adapter_config.json` says it."""
    config: LoraConfig = model.lora_config  # type: ignore[assignment]
    base = getattr(model, "config", None)
    kind = type(model).__name__
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if kind.endswith("ForSequenceClassification") else "CAUSAL_LM",
        "base_model_name_or_path": getattr(base, "_name_or_path", None) or None,
        "revision": getattr(base, "_commit_hash", None),
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": config.targets if isinstance(config.targets, str) else sorted(config.targets),
        "use_rslora": config.rslora,
        "modules_to_save": list(config.heads) or None,
        "init_lora_weights": "gaussian" if config.gaussian else True,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }


def from_peft(said: dict[str, Any]) -> LoraConfig:
    """Return the `LoraConfig` of an `adapter_config.json`; UsageError for what is not done here."""
    if said.get("peft_type") != "LORA":
        raise UsageError(f"this is a {said.get('peft_type')} adapter: only LORA is read here")
    for key, value in said.items():
        idle = key in READ or key in NOTES or not value or value in IDLE.get(key, ())
        if not idle:
            made = f" (written by PEFT {said['peft_version']})" if said.get("peft_version") else ""
            raise UsageError(
                f"adapter_config.json sets {key}={value!r}{made}, which is not done here: merge it with peft first"
            )
    missing = [key for key in ("r", "lora_alpha", "target_modules") if said.get(key) in (None, [], "")]
    if missing:
        # PEFT would assume r = 8 and alpha = 8: silently wrong where it was trained with others.
        raise UsageError(
            f"adapter_config.json does not say {' and '.join(missing)}: add what it was trained with"
        )
    start = said.get("init_lora_weights", True)
    if start not in (True, False, "gaussian", "orthogonal"):
        raise UsageError(
            f"this adapter began as init_lora_weights={start!r}, which changes the base itself: merge it with peft"
        )
    targets = said["target_modules"]
    return LoraConfig(
        rank=said["r"],
        alpha=said["lora_alpha"],
        dropout=said.get("lora_dropout") or 0.0,
        targets=targets if isinstance(targets, str) else tuple(targets),
        rslora=bool(said.get("use_rslora")),
        heads=tuple(said.get("modules_to_save") or ()),
        gaussian=start == "gaussian",
    )


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
    """Return an adapter's tensors by PEFT's names, and the file's own notes."""
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
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is damaged ({error}): copy it again from where it was trained") from None


def check_base(model: nn.Module, said: dict[str, Any], metadata: dict[str, str], folder: Path) -> None:
    """Raise UsageError where the adapter was trained on another base than `model`, or another revision.

    The fingerprint decides where there is one; else names and revisions, as far as both sides say them.
    """
    config = getattr(model, "config", None)
    name, revision = getattr(config, "_name_or_path", "") or "", getattr(config, "_commit_hash", "") or ""
    theirs, at = said.get("base_model_name_or_path") or "", said.get("revision") or ""
    way_out = "give that base, or any_base=True (--any-base) if you know better"
    if expected := metadata.get("base_sha256"):
        found = fingerprint(model)
        if found != expected:
            raise UsageError(
                f"{folder} was trained on {_called(theirs, at)} (weights {expected[:12]}), and this is "
                f"{_called(name, revision)} (weights {found[:12]}): {way_out}"
            )
        return
    if theirs and name and theirs != name and not Path(theirs).exists():
        raise UsageError(f"{folder} was trained on {theirs}, and this is {name}: {way_out}")
    if at and revision and not revision.startswith(at):
        raise UsageError(
            f"{folder} was trained on {theirs} at {at}, and this is revision {revision}: {way_out}"
        )


def fingerprint(model: nn.Module) -> str:
    """Return a SHA-256 over the base's weights, LoRA layers or not, in bfloat16: alike however it was loaded.

    A classifier's head is left out: it is new, and part of the adapter.
    """
    heads = tuple(f"{name}." for name in head_names(model))
    whole = hashlib.sha256()
    for name, parameter in sorted(_base_parameters(model)):
        if heads and name.startswith(heads):
            continue
        whole.update(f"{name} {tuple(parameter.shape)}".encode())
        numbers = parameter.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16)
        whole.update(numbers.numpy().tobytes())
    return whole.hexdigest()


def _base_parameters(model: nn.Module) -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    for name, parameter in model.named_parameters():
        if ".lora_A." not in name and ".lora_B." not in name:
            found.append((name.replace(".base_layer.", "."), parameter))
    return found


def _called(name: str, revision: str) -> str:
    return f"{name or 'a model without a name'}{f' at {revision}' if revision else ''}"
