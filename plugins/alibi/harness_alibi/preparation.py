"""Read the corpus once: a tokenizer, and the training, validation and test tokens as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.data.documents import split
from harness.data.tokens import character_tokenizer, encode, word_tokenizer
from harness.errors import UsageError, said
from harness_alibi.settings import Task


def fits(task: Task, data: Mapping[str, Any], model: Any) -> None:
    """Raise UsageError for a model that cannot be retrofitted, and for a folder without a tokenizer."""
    if model is None:
        if task.tokenizer not in ("characters", "words") and Path(task.tokenizer).exists():
            _named(task.tokenizer)
    else:
        from harness_alibi.models import config_given
        from harness_alibi.retrofit import refuse

        refuse(config_given(model), model.name)


def prepare(task: Task, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Leave `tokenizer/` and `train.npy`, `validation.npy`, `test.npy` in `data_dir`.

    The tokenizer is that of the `model`, where one is given. Raises UsageError for a model that cannot be retrofitted.
    """
    own = {name: list(data[name].documents()) for name in ("validation", "test") if name in data}
    corpus = list(data["corpus"].documents())
    parts = split(corpus)
    texts = {"train": parts.train, "validation": parts.validation, "test": parts.test, **own}
    if len(own) == 2:
        texts["train"] = corpus
    if model is not None:
        from harness.nn.bases import tokenizer_of

        fits(task, data, model)
        tokenizer = tokenizer_of(model)
    elif task.tokenizer == "characters":
        tokenizer = character_tokenizer(texts["train"])
    elif task.tokenizer == "words":
        tokenizer = word_tokenizer(texts["train"], task.vocabulary)
    else:
        tokenizer = _named(task.tokenizer)
    tokenizer.save_pretrained(data_dir / "tokenizer")
    for name, documents in texts.items():
        encode(documents, tokenizer, data_dir / f"{name}.npy")


def _named(name: str) -> Any:
    """Return the tokenizer of the hub or of a folder; UsageError where there is none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"task.tokenizer={name} is no tokenizer that can be had here ({said(error)}): write characters, words, a "
            "folder that holds one, or an id of the hub"
        ) from None
