"""The three forms in which an adapted model is kept, and what a folder holds.

    adapter      A and B alone, in PEFT's files: small; needs its base to be loaded
    merged       an ordinary model: any loader takes it, no extra cost; rank, A and B are lost
    checkpoint   base, A and B side by side, unmerged: to go on from; as large as both together

`read` returns any of them as a model, `write` takes a model to any that it can still become.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import UsageError, nearest
from harness.tools import fetched
from harness_lora.adapter import (
    CONFIG,
    WEIGHTS,
    fingerprint,
    from_peft,
    load_adapter,
    path_of,
    read_config,
    read_weights,
    save_adapter,
    to_peft,
    trained_tensors,
)
from harness_lora.bases import DTYPES, kind_of, load_base
from harness_lora.heads import HEADS
from harness_lora.injection import layers, merge, place, unload

FORMS = ("adapter", "merged", "checkpoint")
MODEL = "model.safetensors"
TOKENIZER = (  # what the files of tokenizers are called
    "tokenizer*", "tokenization_*.py", "vocab*", "*.vocab", "merges*", "special_tokens_map.json", "added_tokens.json",
    "chat_template*", "*.jinja", "*.model", "*.spm", "*.tiktoken", "bpe.*", "normalizer.json",
    "*processor_config.json", "*.tokenizer", "byte_maps.json", "dict.txt", "spm_*", "emoji.json", "sentencepiece*",
    "target_vocab*", "*entity_vocab*", "*word_*.json",
)  # fmt: skip


def form_in(folder: Path) -> str:
    """Return which form lies in `folder`; UsageError where it is none of the three."""
    if (folder / WEIGHTS).is_file() or ((folder / CONFIG).is_file() and not weight_files(folder)):
        return "adapter"
    if weight_files(folder):
        return "checkpoint" if any(ADAPTED.search(name) for name in shapes(folder)) else "merged"
    raise UsageError(
        f"{folder} holds no adapter ({CONFIG}), no model ({MODEL}) and no run's output: give a folder of these"
    )


ADAPTED = re.compile(r"\.(lora_|token_adapter\.trainable)")  # in the names of tensors that an adapter learns


def read(folder: Path, base: str = "", any_base: bool = False, results: Path = Path("results")) -> nn.Module:
    """Return the model in `folder`, in eval mode, with its LoRA layers where the form has them.

    An adapter is put on `base`, any source of a model (fetched into `results`), or on the base that its config names.
    """
    form = form_in(folder)
    if form == "adapter":
        return load_adapter(_base_for(folder, base, results), folder, any_base)
    if form == "checkpoint":
        return _read_checkpoint(folder)
    return _loaded(str(folder))


def write(model: nn.Module, folder: Path, form: str, dtype: str = "") -> Path:
    """Write `model` to `folder` in one of `FORMS`; `dtype` is the merged weights', by default as they are.

    Merging takes the LoRA layers out of `model` itself.
    """
    if form not in FORMS:
        raise UsageError(f"there is no form {form!r}: {nearest(form, FORMS)}")
    adapted = any(True for _ in layers(model))
    if form == "merged":
        plain = unload(merge(model))
        (plain.to(getattr(torch, dtype)) if dtype else plain).save_pretrained(folder)
        return folder
    if not adapted:
        raise UsageError(f"a merged model has lost its rank, A and B: it cannot become form {form} again")
    if form == "adapter":
        return save_adapter(model, folder)
    return _write_checkpoint(model, folder)


def convert(
    source: Path,
    to: str,
    out: Path,
    base: str = "",
    any_base: bool = False,
    dtype: str = "",
    results: Path = Path("results"),
) -> Path:
    """Write what lies in `source` to `out` in another form, with its tokenizer where it has one.

    A merged model is of its base's type, or of `dtype`. Raises UsageError where the form cannot be reached, or
    `out` is there already.
    """
    if to not in FORMS:
        raise UsageError(f"there is no form {to!r}: {nearest(to, FORMS)}")
    if dtype and dtype not in DTYPES.values():
        raise UsageError(f"there is no type {dtype!r}: {nearest(dtype, DTYPES.values())}")
    if dtype and to != "merged":
        raise UsageError(f"--dtype is for a merged model, not for form {to}: leave it out")
    if out.exists():
        raise UsageError(f"{out} is there already: name another folder with --out, or delete it")
    form = form_in(source)
    if form == "merged" and to != "merged":
        raise UsageError(
            f"{source} is merged: its rank, A and B are lost, and it cannot become form {to}; "
            "convert the adapter instead"
        )
    model: Any = read(source, base, any_base, results)
    home, revision = getattr(model, "base_folder", str(source)), getattr(model.config, "_commit_hash", None)
    write(model, out, to, (dtype or model.base_dtype) if to == "merged" else "")
    if to != "adapter":
        own = any(source.glob("tokenizer*"))  # as trainers leave it, with the tokens that were added
        copy_tokenizer(str(source) if own else home, revision, out)
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
            "heads": list(config.heads or ()),
        }
    adapter = sum(n for name, n in sizes.items() if ADAPTED.search(name))
    rest = {path_of(name): n for name, n in sizes.items() if not ADAPTED.search(name)}
    heads = tuple(found.get("heads") or HEADS)
    head = sum(
        n for name, n in rest.items() if name.rpartition(".")[0].endswith(heads) or _below(name, heads)
    )
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


def _below(name: str, heads: tuple[str, ...]) -> bool:
    return any(f".{head}." in f".{name}" for head in heads)


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
    base = fingerprint(model, trained_tensors(model))
    save_file(tensors, folder / MODEL, {"format": "pt", "base_sha256": base})
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.save_pretrained(folder)
    said = {**to_peft(model), "base_dtype": getattr(model, "base_dtype", None)}
    (folder / CONFIG).write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return folder


def _read_checkpoint(folder: Path) -> nn.Module:
    import transformers
    from safetensors.torch import load_file

    said = read_config(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    config.dtype = None  # or layers are made in it, and the tensors are float32
    auto = getattr(transformers, kind_of(folder, said))
    make = auto.from_config if hasattr(auto, "from_config") else auto
    model: Any = place(make(config), from_peft(said))
    tensors = load_file(folder / MODEL)
    whole = model.state_dict()
    twins = {whole[name].data_ptr() for name in tensors if name in whole}
    left = [name for name, tensor in whole.items() if name not in tensors and tensor.data_ptr() not in twins]
    extra = sorted(tensors.keys() - whole.keys())
    if left or extra:
        raise UsageError(f"{folder} does not fit its own config at {(left + extra)[0]}: save it again")
    model.load_state_dict(tensors, strict=False)
    model.config._name_or_path = said.get("base_model_name_or_path") or ""
    model.config._commit_hash = said.get("revision")
    model.base_dtype = said.get("base_dtype") or "float32"
    if (folder / "generation_config.json").is_file():
        model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    return model.eval()


def _base_for(folder: Path, base: str, results: Path) -> Any:
    """Load the base of an adapter: `base`, else the one it names, with the labels that its own head has."""
    said = read_config(folder)
    name, revision = base or said.get("base_model_name_or_path") or "", said.get("revision")
    if not name:
        raise UsageError(f"{folder} does not say what its base is: add --base <hub id or folder>")
    source = fetched(base, results) if base and not Path(base).expanduser().is_dir() else None
    if base:
        name, revision = str(source.path if source else base), None
    kind = _said_kind(name, said, revision)
    model = _loaded(name, revision, kind, **_labels(name, kind, folder))
    if source is not None and source.kind == "hub":
        model.config._name_or_path = source.name.removeprefix("hub:").partition("@")[0]
        model.config._commit_hash = source.revision
    model.base_folder = name
    return model


def _said_kind(name: str, said: dict[str, Any], revision: str | None) -> str:
    try:
        return kind_of(name, said, None if Path(name).is_dir() else revision)
    except (OSError, ValueError):
        return ""  # loading it says why


def _labels(name: str, kind: str, folder: Path) -> dict[str, Any]:
    """Return the settings of a classifier whose head is in the adapter: how many labels, and what is noted of them.

    The number is the one at which the head's tensors fit.
    """
    if not kind.endswith(("SequenceClassification", "TokenClassification")):
        return {}
    import transformers

    tensors, metadata = read_weights(folder)
    if told := json.loads(metadata.get("classifier", "{}")):
        names = {int(n): text for n, text in told["id2label"].items()}
        return {
            "id2label": names,
            "label2id": {text: n for n, text in names.items()},
            **({} if told["pad_token_id"] is None else {"pad_token_id": told["pad_token_id"]}),
        }
    try:
        config = transformers.AutoConfig.from_pretrained(name)
    except (OSError, ValueError):
        return {}
    whole = {
        n: tuple(t.shape) for n, t in tensors.items() if not ADAPTED.search(n) and ".base_layer." not in n
    }
    auto = getattr(transformers, kind)
    make = auto.from_config if hasattr(auto, "from_config") else auto
    for count in dict.fromkeys((config.num_labels, *sorted(shape[0] for shape in whole.values()))):
        config.num_labels = count
        with torch.device("meta"):
            model = make(config)
        shapes_of = {n: tuple(p.shape) for n, p in model.named_parameters()}
        ends = tuple(model.get_input_embeddings().weight.shape)
        if all(shapes_of.get(n, shape) == shape or shapes_of[n] == ends for n, shape in whole.items()):
            return {"num_labels": count}
    return {}


def _loaded(name: str, revision: str | None = None, kind: str = "", **settings: Any) -> Any:
    path = Path(name).expanduser()
    if path.is_file():
        raise UsageError(f"{name} is a file: give its model with --base, where a GGUF file will do")
    if not path.exists() and (name.startswith((".", "/", "~")) or ("/" in name and path.parent.is_dir())):
        raise UsageError(f"there is no folder {name}, the base that the adapter names: give it with --base")
    try:
        return load_base(
            path if path.is_dir() else name, None, None if path.is_dir() else revision, kind, **settings
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the base {name!r} cannot be loaded ({str(error).splitlines()[0]}): give it with --base"
        ) from None


def copy_tokenizer(home: str, revision: str | None, out: Path) -> None:
    """Put the tokenizer of a folder or a hub's model beside the weights in `out`, chat template and all.

    A folder's files are copied as they are.
    """
    from transformers import AutoTokenizer

    if Path(home).is_dir():
        for path in sorted(Path(home).iterdir()):
            if path.is_file() and any(fnmatch(path.name, pattern) for pattern in TOKENIZER):
                shutil.copy(path, out / path.name)
            elif path.name == "additional_chat_templates":
                shutil.copytree(path, out / path.name)
        return
    try:
        AutoTokenizer.from_pretrained(home, revision=revision or "main").save_pretrained(out)
    except (OSError, ValueError):
        return  # it has none
