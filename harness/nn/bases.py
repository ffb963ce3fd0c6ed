"""The model that a method starts from, as a folder of transformers, whatever its source named.

A source (`model=`) leads to a folder, or to a GGUF file, which is unpacked to float32 once. Its tokenizer can be
read without that. `Run.base` chooses between such a source and a small model, trained here or by the paper itself.
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


def train_small(size: Any, tokenizer: Any, batches: Any, folder: Path, **options: Any) -> None:
    """Train a small decoder of the sizes and recipe in `size`'s `base_*` fields on `batches`; save both in `folder`.

    Fields are `base_width`, `base_layers`, `base_heads`, `base_length`, `base_steps` and `base_learning_rate`.
    `options` are `fit`'s own (device, precision, progress).
    """
    from harness.fit import fit, seed_everything
    from harness.nn.decoder import Decoder
    from harness.nn.losses import next_token_loss

    seed_everything(0)
    model = Decoder.of(size, len(tokenizer), "base_", position="rotary")
    steps, rate = size.base_steps, size.base_learning_rate
    fit(
        model,
        batches,
        next_token_loss,
        steps=steps,
        learning_rate=rate,
        warmup=min(50, steps // 4),
        **options,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


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
