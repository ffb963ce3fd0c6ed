"""A folder to an encoder, with the vectors that sentence-transformers gives for it.

Read here are a plain folder and the usual parts in the file's order: a Transformer and its Pooling or a
StaticEmbedding, then Dense, Normalize and Dropout. What else a folder may hold (other parts, code of its own, a chat
template around each text) `foreign` names, and sentence-transformers itself reads it. An explicit `pooling` takes
the transformer alone, read here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.errors import UsageError, nearest
from harness.nn.encoder.library import read_by_library
from harness.nn.encoder.model import (
    ACTIVATIONS,
    OLDER,
    POOLINGS,
    Encoder,
    StaticEmbedding,
    Unit,
    padding_reaches,
    poolings,
)

T5 = ("t5", "mt5", "umt5")  # encoder-decoders of which the encoder alone is taken
TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
USUAL = {  # what a Transformer part may say of itself to be read here; None: anything
    "max_seq_length": None,
    "do_lower_case": None,
    "modality_config": TEXT,
    "module_output_name": "token_embeddings",
    "transformer_task": "feature-extraction",
}

Modules = Sequence[Mapping[str, Any]]


def load_encoder(
    folder: str | Path,
    *,
    pooling: str | None = None,
    max_length: int | None = None,
    device: str | torch.device = "cpu",
    trust_remote_code: bool = False,
    prompt: str | None = None,
) -> Encoder:
    """Load an encoder from a folder (or a file in it), in float32 and eval mode.

    With `pooling` None a folder is taken as sentence-transformers takes it: its modules in their order, its longest
    input and `truncate_dim`; a plain one gets "mean", a plain causal one "lasttoken". Any other `pooling`, "mean+max"
    too, replaces all of that but the longest input; an encoder-decoder then gives its encoder. `prompt` is a text
    put before every text, or the name of one of the folder's prompts; None is the folder's default, "" none.
    `max_length` None is the folder's own limit, and never more than the model has positions for. Raises UsageError
    for a folder that neither this nor sentence-transformers reads.
    """
    folder = Path(folder)
    if folder.is_file():
        folder = folder.parent
    if pooling is not None:
        poolings(pooling)
    plan = folder / "modules.json"
    modules: Modules = json.loads(plan.read_text(encoding="utf-8")) if plan.exists() else []
    said = _json(folder / "config_sentence_transformers.json")
    before = _prompt(folder, said, prompt)
    reason = "" if pooling is not None else foreign(folder, modules, said, before)
    if reason:
        return read_by_library(folder, reason, before, max_length, device, trust_remote_code)
    inner = folder / modules[0]["path"] if modules and _kind(modules[0]) == "Transformer" else folder
    if modules and _kind(modules[0]) == "StaticEmbedding":
        encoder = _static(folder / modules[0]["path"], max_length)
    else:
        encoder = _transformer(inner, pooling, max_length, trust_remote_code)
    encoder.prompt = before
    if pooling is None or isinstance(encoder.model, StaticEmbedding):
        if any(_kind(module) == "Pooling" for module in modules):
            encoder.pooling = "+".join(_pooling(folder / modules[1]["path"]))
        encoder.head, encoder.normalize = _head(folder, modules)
        encoder.dimensions = said.get("truncate_dim")
    encoder.to(device).eval()
    encoder.apart = padding_reaches(encoder)
    return encoder


def foreign(folder: Path, modules: Modules, said: Mapping[str, Any], prompt: str) -> str:
    """Return what of a folder is not read here, in words; empty where all of it is."""
    kinds = [_kind(module) for module in modules]
    for module, kind in zip(modules, kinds, strict=True):
        if not module["type"].startswith("sentence_transformers."):
            return f"the part {module['type']}, which brings its own code"
        if kind not in ("Transformer", "StaticEmbedding", "Pooling", "Dense", "Normalize", "Dropout"):
            return f"the part {kind}"
    if kinds and kinds[:2] != ["Transformer", "Pooling"] and kinds[0] != "StaticEmbedding":
        return f"the parts {', '.join(kinds)}"
    if {"Transformer", "StaticEmbedding", "Pooling"} & set(kinds[2 if kinds[:1] == ["Transformer"] else 1 :]):
        return f"the parts {', '.join(kinds)}"
    if said.get("model_type", "SentenceTransformer") != "SentenceTransformer":
        return f"a {said['model_type']}"
    for module, kind in zip(modules, kinds, strict=True):
        config = _json(folder / module["path"] / "config.json")
        if kind == "Dense" and not _plain(folder / module["path"], config):
            return f"a Dense layer ({module['path']}) that is more than a linear layer and an activation"
        if kind == "Pooling" and prompt and not config.get("include_prompt", True):
            return "a pooling that leaves the prompt's tokens out"
    if kinds[:1] == ["StaticEmbedding"]:
        return "" if _words(folder / modules[0]["path"]) else "a StaticEmbedding of another form"
    return _foreign_model(folder / modules[0]["path"] if modules else folder, plain=not modules)


def _foreign_model(inner: Path, plain: bool) -> str:
    """Return what of a transformer's folder is not read here."""
    if not (inner / "config.json").exists():
        if (inner / "adapter_config.json").exists():
            return "an adapter without its base"
        raise UsageError(f"{inner} has no config.json: give a folder that transformers saved")
    config = _json(inner / "config.json")
    if config.get("is_encoder_decoder") and config.get("model_type") not in T5:
        return f"the encoder-decoder {config.get('model_type')}"
    if plain:
        template = _json(inner / "tokenizer_config.json").get("chat_template")
        if template or (inner / "chat_template.jinja").exists():
            return "a chat template around each text"
        return "an input that is not text alone" if (inner / "preprocessor_config.json").exists() else ""
    for name, value in _about(inner).items():
        if value and (name not in USUAL or USUAL[name] not in (None, value)):
            return f"{name}={value!r} of its Transformer"
    return ""


def _transformer(inner: Path, pooling: str | None, max_length: int | None, trusted: bool) -> Encoder:
    """Return the transformer of a folder with its pooling where none but the model says one."""
    from transformers import AutoModel, AutoModelForTextEncoding, AutoTokenizer

    if not (inner / "config.json").exists():
        raise UsageError(f"{inner} has no config.json: give a folder that transformers saved")
    tokenizer = AutoTokenizer.from_pretrained(inner, trust_remote_code=trusted)
    # A T5 that was saved as an encoder has no decoder to load.
    kind: Any = (
        AutoModelForTextEncoding if _json(inner / "config.json").get("model_type") in T5 else AutoModel
    )
    model = kind.from_pretrained(inner, dtype=torch.float32, trust_remote_code=trusted)
    config = model.config
    if config.is_encoder_decoder and kind is AutoModel:
        model = model.get_encoder()
    about = _about(inner)
    if about.get("do_lower_case"):
        from tokenizers import normalizers

        backend = tokenizer.backend_tokenizer
        backend.normalizer = normalizers.Sequence(
            [normalizers.Lowercase(), *filter(None, [backend.normalizer])]
        )
    length = max_length or about.get("max_seq_length") or longest_input(model, tokenizer)
    table = positions(model)
    length = min(length, table) if length and table else length
    causal = str((getattr(config, "architectures", None) or [""])[0]).endswith("ForCausalLM")
    own = "lasttoken" if causal and getattr(config, "is_causal", True) else "mean"
    return Encoder(model, tokenizer, pooling or own, length)


def longest_input(model: Any, tokenizer: Any) -> int | None:
    """Return how many tokens the model has positions for; None where nothing limits them."""
    found = positions(model) or getattr(model.config, "max_position_embeddings", None)
    limits = [limit for limit in (found, tokenizer.model_max_length) if limit and 0 < limit < 10**9]
    return min(limits, default=None)


def positions(model: nn.Module) -> int | None:
    """Return how many positions a model has learned vectors for; None where it counts them otherwise."""
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if last in ("position_embeddings", "wpe", "embed_positions") and isinstance(module, nn.Embedding):
            # RoBERTa counts from after the padding.
            start = getattr(module, "offset", 0) if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - start
    return None


def _kind(module: Mapping[str, Any]) -> str:
    return str(module["type"]).rpartition(".")[2]


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _about(inner: Path) -> dict[str, Any]:
    """Return what a Transformer part says of itself, in a file that older versions named by the model."""
    return next((_json(path) for path in sorted(inner.glob("sentence_*_config.json"))), {})


def _prompt(folder: Path, said: Mapping[str, Any], prompt: str | None) -> str:
    """Return the text that `prompt` means in this folder."""
    known = {"query": "", "document": "", **(said.get("prompts") or {})}
    if prompt is not None:
        return known.get(prompt) or prompt
    name = said.get("default_prompt_name")
    if name is None:
        return ""
    if name not in known:
        raise UsageError(
            f"{folder} names the default prompt {name!r}, which it lacks: {nearest(name, known)}"
        )
    return str(known[name])


def _pooling(folder: Path) -> list[str]:
    """Return a Pooling module's modes, from its newer or its older way of writing them."""
    config = _json(folder / "config.json")
    modes = config.get("pooling_mode") or [mode for mode, key in OLDER.items() if config.get(key)] or "mean"
    modes = [modes] if isinstance(modes, str) else list(modes)
    for mode in modes:
        if mode not in POOLINGS:
            raise UsageError(
                f"{folder} pools by {mode}, which is not known here: say pooling={', '.join(POOLINGS)}"
            )
    return modes


def _static(folder: Path, max_length: int | None) -> Encoder:
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    weight = load_file(folder / "model.safetensors").get("embedding.weight")
    if weight is None:
        raise UsageError(f"{folder} is no plain StaticEmbedding in safetensors: say another folder")
    path = str(folder / "tokenizer.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=path)
    own = (Tokenizer.from_file(path).truncation or {}).get("max_length")
    return Encoder(StaticEmbedding(weight.float()), tokenizer, "mean", max_length or own)


def _words(folder: Path) -> bool:
    """Say whether a StaticEmbedding's weights are a vector a token, in safetensors."""
    from safetensors import safe_open

    path = folder / "model.safetensors"
    if not path.exists():
        return False
    with safe_open(path, "pt") as file:
        return "embedding.weight" in file.keys()  # noqa: SIM118


def _head(folder: Path, modules: Modules) -> tuple[nn.Sequential | None, bool]:
    """Return what comes after the pooling in the file's order, and whether unit vectors come last.

    Dropout does nothing when judging, and is left out.
    """
    found: list[nn.Module] = []
    for module in modules:
        if _kind(module) == "Dense":
            found.append(_dense(folder / module["path"]))
        elif _kind(module) == "Normalize":
            found.append(Unit())
    normalize = bool(found) and isinstance(found[-1], Unit)
    while found and isinstance(found[-1], Unit):
        found.pop()
    return (nn.Sequential(*found) if found else None), normalize


def _plain(folder: Path, config: Mapping[str, Any]) -> bool:
    """Say whether a Dense part is a linear layer and a known activation, in safetensors."""
    names = (config.get(key, "sentence_embedding") for key in ("module_input_name", "module_output_name"))
    return (
        (folder / "model.safetensors").exists()
        and _activation(config) in ACTIVATIONS
        and not config.get("use_residual")
        and all(name in ("sentence_embedding", None) for name in names)
    )


def _activation(config: Mapping[str, Any]) -> str:
    named = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    return named.rpartition(".")[2] if named.startswith("torch.nn.") else named


def _dense(folder: Path) -> nn.Sequential:
    """Return a Dense module: a linear layer and an activation. Its weights must be safetensors."""
    from safetensors.torch import load_file

    config = _json(folder / "config.json")
    activation = _activation(config)
    if not _plain(folder, config):
        raise UsageError(
            f"{folder} is no plain Dense layer in safetensors (activation {activation}): say pooling= to go without"
        )
    linear = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    state = {
        name.removeprefix("linear."): tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    linear.load_state_dict(state)
    return nn.Sequential(linear, ACTIVATIONS[activation]())
