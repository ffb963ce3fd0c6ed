"""The model that a method starts from, as a folder of transformers, whatever its source named.

A source (`model=`) leads to a folder, or to a GGUF file, which is unpacked to float32 once. Its tokenizer can be
read without that. `Run.base` chooses between such a source and a small model that the paper trains itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Stage = Callable[[str, Any, Callable[[Path], None]], Path]  # name, what decides it, how to fill the folder


def folder_of(source: Any, stage: Stage) -> Path:
    """Return the folder that a resolved model `source` means; a GGUF file is unpacked in a `stage`."""
    path: Path = source.path
    if path.suffix != ".gguf":
        return path
    from harness.nn.gguf import unpack

    return stage("unpacked", {"gguf": source.digest}, lambda folder: unpack(path, folder))


def tokenizer_of(source: Any) -> Any:
    """Return the tokenizer of a resolved model `source`, read from its folder or from inside its GGUF file."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(**_place(source.path))


def config_of(source: Any) -> Any:
    """Return the config of a resolved model `source`, read as `tokenizer_of` does."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(**_place(source.path))


def load_model(folder: Path, device: str = "cpu") -> Any:
    """Load the causal language model of a folder in float32, ready to be scored."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.to(device).eval()


def _place(path: Path) -> dict[str, Any]:
    gguf = path.suffix == ".gguf"
    return {
        "pretrained_model_name_or_path": path.parent if gguf else path,
        **({"gguf_file": path.name} if gguf else {}),
    }
