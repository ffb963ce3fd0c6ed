"""The three forms in which an adapted model is kept, and what a folder holds.

    adapter      A and B alone, in PEFT's files: small; needs its base to be loaded
    merged       an ordinary model: any loader takes it, no extra cost; rank, A and B are lost
    checkpoint   base, A and B side by side, unmerged: to go on from; as large as both together

`read` returns any of them as a model, `write` takes a model to any that it can still become.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from harness.errors import UsageError, nearest
from harness_lora.adapter import (
    CONFIG,
    WEIGHTS,
    fingerprint,
    from_peft,
    load_adapter,
    read_config,
    save_adapter,
    to_peft,
)
from harness_lora.bases import load_base
from harness_lora.injection import inject, layers, merge, unload

FORMS = ("adapter", "merged", "checkpoint")
MODEL = "model.safetensors"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")


def form_in(folder: Path) -> str:
    """Return which form lies in `folder`; UsageError where it is none of the three."""
    if (folder / WEIGHTS).is_file() or ((folder / CONFIG).is_file() and not weight_files(folder)):
        return "adapter"
    if weight_files(folder):
        return "checkpoint" if any(".lora_A." in name for name in shapes(folder)) else "merged"
    raise UsageError(
        f"{folder} holds no adapter ({CONFIG}), no model ({MODEL}) and no run's output: give a folder of these"
    )


def read(folder: Path, base: str = "", any_base: bool = False) -> nn.Module:
    """Return the model in `folder`, in eval mode, with its LoRA layers where the form has them.

    An adapter is put on `base`, or on the base that its config names.
    """
    form = form_in(folder)
    if form == "adapter":
        said = read_config(folder)
        name, revision = base or said.get("base_model_name_or_path") or "", said.get("revision")
        if not name:
            raise UsageError(f"{folder} does not say what its base is: add --base <hub id or folder>")
        return load_adapter(_loaded(name, None if base else revision), folder, any_base)
    if form == "checkpoint":
        return _read_checkpoint(folder)
    return _loaded(str(folder))


def write(model: nn.Module, folder: Path, form: str) -> Path:
    """Write `model` to `folder` in one of `FORMS`. Merging takes the LoRA layers out of `model` itself."""
    if form not in FORMS:
        raise UsageError(f"there is no form {form!r}: {nearest(form, FORMS)}")
    adapted = any(True for _ in layers(model))
    if form == "merged":
        unload(merge(model)).save_pretrained(folder)  # type: ignore[operator]
        return folder
    if not adapted:
        raise UsageError(f"a merged model has lost its rank, A and B: it cannot become form {form} again")
    if form == "adapter":
        return save_adapter(model, folder)
    return _write_checkpoint(model, folder)


def convert(source: Path, to: str, out: Path, base: str = "", any_base: bool = False) -> Path:
    """Write what lies in `source` to `out` in another form, with its tokenizer where it has one.

    Raises UsageError where the form cannot be reached, or `out` is there already.
    """
    if to not in FORMS:
        raise UsageError(f"there is no form {to!r}: {nearest(to, FORMS)}")
    if out.exists():
        raise UsageError(f"{out} is there already: name another folder with --out, or delete it")
    form = form_in(source)
    if form == "merged" and to != "merged":
        raise UsageError(
            f"{source} is merged: its rank, A and B are lost, and it cannot become form {to}; "
            "convert the adapter instead"
        )
    model = read(source, base, any_base)
    home = Path(getattr(model.config, "_name_or_path", "") or source)
    write(model, out, to)
    if to != "adapter":
        _copy_tokenizer(source if form != "adapter" else home, out)
    return out


def inspect(folder: Path) -> dict[str, Any]:
    """Return what lies in `folder`: form, base, rank, alpha, targets, bytes and parameter counts.

    Reads headers alone, no weights. A count that the folder does not tell is None.
    """
    form = form_in(folder)
    found: dict[str, Any] = {"form": form, "path": str(folder)}
    sizes = {name: math.prod(shape) for name, shape in shapes(folder).items()}
    if form != "merged":
        said = read_config(folder)
        config = from_peft(said)
        found |= {
            "base": said.get("base_model_name_or_path"),
            "revision": said.get("revision"),
            "base_sha256": _notes(folder).get("base_sha256"),
            "rank": config.rank,
            "alpha": config.alpha,
            "scale": config.scale,
            "rslora": config.rslora,
            "dropout": config.dropout,
            "targets": config.targets if isinstance(config.targets, str) else list(config.targets),
            "heads": list(config.heads),
        }
    adapter = sum(n for name, n in sizes.items() if ".lora_A." in name or ".lora_B." in name)
    heads = tuple(found.get("heads") or ("score", "classifier"))
    head = sum(n for name, n in sizes.items() if any(f".{h}." in f".{name}" for h in heads))
    found |= {
        "adapter_parameters": adapter,
        "head_parameters": head,
        "trainable_parameters": adapter + (head if form != "merged" else 0),
        "total_parameters": sum(sizes.values()) if form != "adapter" else None,
        "bytes": sum(path.stat().st_size for path in _weights(folder)),
    }
    if form == "adapter":
        found["training_state"] = sorted(
            p.name for p in folder.glob("*.pt*") if p.stem in ("optimizer", "scheduler", "rng_state")
        )
    return found


def shapes(folder: Path) -> Mapping[str, tuple[int, ...]]:
    """Return the tensors in a folder's safetensors files by name, from their headers alone."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, tuple[int, ...]] = {}
    for path in _weights(folder):
        try:
            with safe_open(path, "pt") as file:
                found |= {n: tuple(file.get_slice(n).get_shape()) for n in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise UsageError(f"{path} is damaged ({error}): copy it again") from None
    return found


def weight_files(folder: Path) -> list[Path]:
    """Return a folder's own model files: one, or the shards of one."""
    return sorted(folder.glob("model*.safetensors"))


def _weights(folder: Path) -> list[Path]:
    return [folder / WEIGHTS] if (folder / WEIGHTS).is_file() else weight_files(folder)


def _notes(folder: Path) -> dict[str, str]:
    from safetensors import safe_open

    for path in _weights(folder):
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    return {}


def _write_checkpoint(model: Any, folder: Path) -> Path:
    """Write base, A and B into one file; a tied tensor once, under its first name."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen or not tensor.numel():
            seen.add(tensor.data_ptr())
            tensors[name] = tensor.detach().cpu().contiguous()
    save_file(tensors, folder / MODEL, {"format": "pt", "base_sha256": fingerprint(model)})
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    text = json.dumps(to_peft(model), indent=2, sort_keys=True)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    return folder


def _read_checkpoint(folder: Path) -> nn.Module:
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    said = read_config(folder)
    config = AutoConfig.from_pretrained(folder)
    classifies = said.get("task_type") == "SEQ_CLS"
    auto = AutoModelForSequenceClassification if classifies else AutoModelForCausalLM
    model: nn.Module = inject(auto.from_config(config), from_peft(said))
    tensors = load_file(folder / MODEL)
    whole = model.state_dict()
    twins = {whole[name].data_ptr() for name in tensors if name in whole}
    left = [name for name, tensor in whole.items() if name not in tensors and tensor.data_ptr() not in twins]
    extra = sorted(tensors.keys() - whole.keys())
    if left or extra:
        raise UsageError(f"{folder} does not fit its own config at {(left + extra)[0]}: save it again")
    model.load_state_dict(tensors, strict=False)
    config._name_or_path = said.get("base_model_name_or_path") or ""
    model.config._name_or_path = config._name_or_path  # type: ignore[union-attr]
    model.config._commit_hash = said.get("revision")  # type: ignore[union-attr]
    return model.eval()


def _loaded(name: str, revision: str | None = None) -> Any:
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        raise UsageError(
            f"{name} is a GGUF file: give the folder that a run unpacked it to, under results/stages"
        )

    try:
        return load_base(name, revision=None if path.is_dir() else revision)
    except OSError as error:
        raise UsageError(
            f"the base {name!r} cannot be loaded ({str(error).splitlines()[0]}): give it with --base"
        ) from None


def _copy_tokenizer(source: Path, out: Path) -> None:
    for name in TOKENIZER:
        if (source / name).is_file():
            shutil.copy(source / name, out / name)
