"""Load a model that a command or a method starts from, with ALiBi in place of rotary positions where it was put.

A Llama with ALiBi has no class in transformers. So its folder is one of its family whose `model_type` says
otherwise (`harness-alibi`): plain transformers refuses it, and cannot read it as the rotary model that it is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.data.jsonl import read_json
from harness.errors import UsageError
from harness.tools import write_json
from harness_alibi import positions  # noqa: F401  (makes position="alibi" known to the decoder)

TYPE = "harness-alibi"
MARK = "harness_alibi_family"  # in a config: the family whose rotary positions ALiBi replaces


def load(folder: Path, device: str = "cpu", dtype: str = "float32") -> Any:
    """Return the causal language model of a folder, ready to be scored, whatever positions were put into it.

    Raises UsageError where it holds none that transformers or this paper can read.
    """
    config = config_of(folder)
    model = raw(folder, config, dtype)
    if getattr(config, MARK, None):
        from harness_alibi.retrofit import replace_rotary

        replace_rotary(model)
    return model.to(device).eval()


def raw(folder: Path, config: Any, dtype: str = "float32") -> Any:
    """Return the model of a folder under this config, as transformers loads it."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=getattr(torch, dtype))
    except (ValueError, OSError, KeyError) as error:
        raise UsageError(
            f"{folder} holds no causal language model ({' '.join(str(error).split())[:120]}): give one that "
            "AutoModelForCausalLM loads"
        ) from None


def demand_causal(model: Any, name: str) -> None:
    """Raise UsageError where another last token changes what a model says before it."""
    if not _causal(model):
        raise UsageError(f"{name} reads what comes after a word: give a causal language model, no encoder")


def _causal(model: Any) -> bool:
    import torch

    ids = torch.arange(8, device=model.device)[None] % model.config.get_text_config().vocab_size
    other = ids.clone()
    other[0, -1] = 0
    with torch.inference_mode():
        one, two = (model(input_ids=given, use_cache=False).logits[:, :-1] for given in (ids, other))
    return bool((one - two).abs().max() <= 1e-6 * one.abs().max())


def config_of(folder: Path) -> Any:
    """Return the config of a folder; one that `save` marked is of its family again."""
    from transformers import AutoConfig

    named = folder / "config.json"
    if not named.is_file():
        raise UsageError(f"{folder} has no config.json: give the folder of a causal language model")
    values = read_json(named)
    try:
        if values.get("model_type") == TYPE:
            del values["model_type"]
            return AutoConfig.for_model(values[MARK], **values)
        return AutoConfig.from_pretrained(folder)
    except (ValueError, OSError, KeyError) as error:
        raise UsageError(f"{named} cannot be read: {' '.join(str(error).split())[:160]}") from None


def config_given(model: Any) -> Any:
    """Return the config of a `model=`: of a folder, or from inside a GGUF file."""
    from harness.nn import bases

    return bases.config_of(model) if model.path.suffix == ".gguf" else config_of(model.path)


def save(model: Any, folder: Path) -> None:
    """Save a model; one with ALiBi in place of rotary positions is marked as no longer of its family."""
    family = getattr(model.config, MARK, None)
    model.save_pretrained(folder)
    if family and (folder / "config.json").exists():  # of several processes the first alone writes
        values = read_json(folder / "config.json")
        write_json(folder / "config.json", {**values, "model_type": TYPE, "architectures": []})


def tokenizer_at(folder: Path) -> Any:
    """Return the tokenizer that lies beside a model; UsageError where there is none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # transformers raises what its many tokenizers do
        raise UsageError(
            f"{folder} has no tokenizer that can be read ({' '.join(str(error).split())[:100]}): save one beside the "
            "weights"
        ) from None
