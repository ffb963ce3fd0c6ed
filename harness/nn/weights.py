"""Keep what a method trained of a model, and only that: the rest is the base's, which is never written again."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_trained(model: Any, path: Path) -> None:
    """Write the parameters of `model` that are trained to a safetensors file."""
    from safetensors.torch import save_file

    trained = {n: p.detach().cpu().contiguous() for n, p in model.named_parameters() if p.requires_grad}
    save_file(trained, path, {"format": "pt"})


def load_trained(model: Any, path: Path) -> None:
    """Put what `save_trained` wrote back into a model of the same base, in place."""
    import torch
    from safetensors.torch import load_file

    named = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in load_file(path).items():
            named[name].copy_(tensor)
