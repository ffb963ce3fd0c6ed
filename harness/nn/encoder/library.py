"""What only sentence-transformers reads, behind the same `encode`: it is loaded, called and trained by that library.

So parts of other kinds, code that a folder brings, chat templates around each text and encoder-decoders get the
vectors that the library gives, in float32. Texts of one length go through together, so that there is no padding,
and a text has the vector that it has alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError, UsageError, said
from harness.nn.encoder.model import Encoder, padding

CHUNK = 1024  # texts whose tokens are counted at a time


class Library(Encoder):
    """A SentenceTransformer as an encoder that judges; it is not trained here."""

    model: Any

    def __init__(self, model: Any, prompt: str = "") -> None:
        nn.Module.__init__(self)
        self.model, self.prompt, self.tokenizer = model, prompt, getattr(model, "tokenizer", None)
        self.pooling, self.head, self.normalize, self.dimensions = "", None, False, model.truncate_dim
        if hasattr(self.tokenizer, "padding_side"):
            padding(self.tokenizer)

    @property
    def max_length(self) -> int | None:
        """How many tokens are read; None where nothing limits them."""
        length = getattr(self.model, "max_seq_length", None)
        return int(length) if length and length < 10**9 else None

    @max_length.setter
    def max_length(self, length: int | None) -> None:
        if length:
            self.model.max_seq_length = length

    def count(self, texts: Sequence[str]) -> list[int]:
        whole = {"text": {"truncation": False}}
        batch = self.model.preprocess(list(texts), prompt=self.prompt, processing_kwargs=whole)
        if "attention_mask" not in batch:  # parts without a transformer, which read a text as it is
            return [len(text) for text in texts]
        return list(map(int, batch["attention_mask"].sum(dim=1)))

    def encode(
        self,
        texts: Iterable[str],
        batch_size: int = 64,
        device: str | torch.device | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        texts = list(texts)
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            raise UsageError("there are no texts to encode: give at least one")
        if device is not None:
            self.to(device)
        alike: dict[int, list[str]] = {}
        for start in range(0, len(distinct), CHUNK):
            part = distinct[start : start + CHUNK]
            for text, length in zip(part, self.count(part), strict=True):
                alike.setdefault(length, []).append(text)
        found: dict[str, np.ndarray] = {}
        for _, some in sorted(alike.items(), reverse=True):
            made = self.model.encode(some, prompt=self.prompt, batch_size=batch_size, show_progress_bar=False)
            found |= zip(some, made, strict=True)
            if progress:
                progress(len(found), len(distinct))
        return np.stack([found[text] for text in texts]).astype(np.float32)

    def ids(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        raise UsageError(JUDGES)

    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        raise UsageError(JUDGES)

    def save(self, folder: str | Path) -> None:
        self.model.save_pretrained(str(folder))


JUDGES = "only sentence-transformers reads this encoder, and it is not trained here: say pooling= (mean, lasttoken ...)"


def read_by_library(
    folder: Path, reason: str, prompt: str, max_length: int | None, device: str | torch.device, trusted: bool
) -> Encoder:
    """Return the encoder of a folder that has `reason`, as sentence-transformers reads it."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise UsageError(
            f"{folder} has {reason}: pip install sentence-transformers to read it, or say pooling="
        ) from None
    try:
        model = SentenceTransformer(
            str(folder),
            device=str(device),
            local_files_only=True,
            trust_remote_code=trusted,
            model_kwargs={"dtype": torch.float32},
        )
        encoder = Library(model, prompt)
    except HarnessError:
        raise
    except Exception as error:  # a dozen kinds, all of which mean that it cannot be read
        raise UsageError(
            f"{folder} has {reason}, and sentence-transformers cannot read it ({type(error).__name__}: "
            f"{said(error)[:200]}): say pooling= to take its transformer alone"
        ) from None
    encoder.max_length = max_length
    return encoder.eval()
