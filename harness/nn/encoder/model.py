"""An encoder: tokens, a transformer over them, a pooling, and what comes after it.

`Encoder.encode` puts each distinct text through once, in eval mode, the longest first, so that little of a batch
is padding. A text so has one vector, whatever stands beside it in a batch.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import UsageError, nearest


def cls(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the first token's vector: tokens (n, length, width), mask (n, length) -> (n, width)."""
    return tokens[:, 0]


def mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the tokens that are not padding."""
    weight = mask[..., None].to(tokens.dtype)  # (n, length, 1)
    return (tokens * weight).sum(1) / weight.sum(1)


def maximum(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return each feature's maximum over the tokens that are not padding."""
    return tokens.masked_fill(mask[..., None] == 0, -math.inf).amax(1)


def mean_sqrt_len_tokens(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the sum over the tokens, divided by the square root of their number."""
    weight = mask[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1).sqrt()


def weightedmean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the mean with weights 1, 2, 3 ...: a causal model's later tokens have seen more."""
    weight = (mask * mask.cumsum(1))[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1)


def lasttoken(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the vector of the last token that is not padding."""
    return tokens[torch.arange(len(tokens), device=tokens.device), mask.sum(1) - 1]


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": cls,
    "mean": mean,
    "max": maximum,
    "mean_sqrt_len_tokens": mean_sqrt_len_tokens,
    "weightedmean": weightedmean,
    "lasttoken": lasttoken,
}
ACTIVATIONS = {
    "Tanh": nn.Tanh,
    "Identity": nn.Identity,
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "Sigmoid": nn.Sigmoid,
}
OLDER = {  # how a Pooling module's config names the modes, in the order in which it joins them
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
CACHED = 4096  # tokens that go through at a time on a CPU
POOLER = "pooler"  # the model's own pooler_output, which is no function of the last layer alone


@dataclass
class Tokens:
    """What a model gives back: a vector a token, (n, length, width)."""

    last_hidden_state: Tensor


class StaticEmbedding(nn.Module):
    """A vector for every token whatever stands around it; in training, elements are dropped with `dropout`."""

    def __init__(self, weight: Tensor, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(weight.clone(), freeze=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tokens:
        return Tokens(self.dropout(self.embedding(input_ids)))


def dense(inputs: int, outputs: int, activation: str = "Tanh") -> nn.Sequential:
    """Return a linear layer and an activation: one part of an `Encoder.head` that can be saved."""
    return nn.Sequential(nn.Linear(inputs, outputs), ACTIVATIONS[activation]())


class Unit(nn.Module):
    """Makes vectors of length one, between two layers of a head."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=-1)


def poolings(names: str) -> list[str]:
    """Return the poolings that a word names, "mean+max" both, side by side. Raises UsageError for another word."""
    found = names.split("+")
    for name in found:
        if name not in POOLINGS and names != POOLER:
            known = (*POOLINGS, POOLER)
            raise UsageError(
                f"there is no pooling {name!r}: {nearest(name, known)} (several are joined by +)"
            )
    return found


def padding(tokenizer: Any) -> None:
    """Let a tokenizer pad on the right, so that the first token is the text's, and with some token."""
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        other = tokenizer.eos_token or tokenizer.unk_token
        tokenizer.pad_token = other or tokenizer.convert_ids_to_tokens(0)


def padding_reaches(encoder: Encoder) -> bool:
    """Say whether padding behind a text changes its vector: FNet mixes it in, ConvBERT's convolution reaches it."""
    short, long = encoder.ids(["1 2", " ".join(map(str, range(1, 25)))])
    if not short or len(short) == len(long):
        return False
    with torch.inference_mode():
        alone, beside = (
            encoder.embed({name: one.to(encoder.device) for name, one in encoder.pad(rows).items()})[
                0
            ].float()
            for rows in ([short], [short, long])
        )
    return bool((alone - beside).abs().max() > 1e-4 * alone.abs().max())


class Encoder(nn.Module):
    """A transformers encoder with its tokenizer, a pooling, and `head`, a module over the pooled vectors or None.

    `max_length` is in tokens, special ones included; a longer text is cut. `normalize` makes unit vectors, of which
    the first `dimensions` numbers are kept. `prompt` is put before every text. A
    tokenizer without a padding token pads with its end or unknown token, else with token 0: which one does not
    matter, since padding is masked. Over a `StaticEmbedding` no special tokens are put around a text.
    Where padding reaches into a text's vector all the same, `apart` lets texts of one length alone share a batch.
    """

    apart = False

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        pooling: str = "mean",
        max_length: int | None = None,
        normalize: bool = False,
        head: nn.Module | None = None,
        prompt: str = "",
        dimensions: int | None = None,
    ) -> None:
        super().__init__()
        poolings(pooling)
        self.model, self.tokenizer, self.pooling, self.head = model, tokenizer, pooling, head
        self.max_length, self.normalize = max_length, normalize
        self.prompt, self.dimensions = prompt, dimensions
        padding(tokenizer)

    @property
    def device(self) -> torch.device:
        """Return where the weights are."""
        return next(self.parameters()).device

    def ids(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Return each text's token numbers, cut to `max_length` (or the encoder's own).

        Raises UsageError for a text of no tokens.
        """
        length = max_length or self.max_length
        cut: dict[str, Any] = {"truncation": True, "max_length": length} if length else {}
        rows: list[list[int]] = self.tokenizer(
            [self.prompt + text for text in texts],
            add_special_tokens=not isinstance(self.model, StaticEmbedding),
            return_attention_mask=False,
            return_token_type_ids=False,
            **cut,
        )["input_ids"]
        for text, row in zip(texts, rows, strict=True):
            if not row:
                raise UsageError(f"the text {text!r} has no tokens with this tokenizer: leave it out")
        return rows

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has uncut, prompt and special tokens included."""
        texts = [self.prompt + text for text in texts]
        special = not isinstance(self.model, StaticEmbedding)
        return [
            len(row) for row in self.tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
        ]

    def pad(self, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Return rows of token numbers as a batch: `input_ids` and `attention_mask`, (n, longest) int64."""
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the vectors of a padded batch of tokens, (n, width), with gradients."""
        batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
        output = self.model(**batch)
        if self.pooling == POOLER:
            if getattr(output, "pooler_output", None) is None:
                raise UsageError("this model has no pooler: use pooling=cls, mean or max")
            pooled = output.pooler_output
        else:
            tokens, mask = output.last_hidden_state, batch["attention_mask"]
            parts = [POOLINGS[name](tokens, mask) for name in poolings(self.pooling)]
            pooled = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        if self.head is not None:
            pooled = self.head(pooled)
        if self.normalize:
            pooled = nn.functional.normalize(pooled, dim=-1)
        return pooled[:, : self.dimensions] if self.dimensions else pooled

    forward = embed

    def encode(
        self,
        texts: Iterable[str],
        batch_size: int = 64,
        device: str | torch.device | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Return the vectors of `texts`, (n, width) float32; a text that comes twice is encoded once.

        At most `batch_size` go through at a time: fewer on a CPU, where they would not fit its cache. `device`
        moves the model there first. `progress(done, total)` counts distinct texts.
        """
        texts = list(texts)
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            raise UsageError("there are no texts to encode: give at least one")
        if device is not None:
            self.to(device)
        rows = self.ids(distinct)
        longest_first = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        found: list[Tensor] = []
        done = 0
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                while done < len(rows):
                    longest = max(1, len(rows[longest_first[done]]))
                    fits = max(1, CACHED // longest) if self.device.type == "cpu" else batch_size
                    size = min(batch_size, fits)
                    if self.apart:
                        near = longest_first[done : done + size]
                        size = sum(len(rows[i]) == len(rows[near[0]]) for i in near)
                    part = self.pad([rows[i] for i in longest_first[done : done + size]])
                    found.append(self.embed({k: v.to(self.device) for k, v in part.items()}).float().cpu())
                    done = min(done + size, len(rows))
                    if progress:
                        progress(done, len(rows))
        finally:
            self.train(training)
        vectors = torch.cat(found).numpy()  # in the order of `longest_first`
        place = {distinct[i]: n for n, i in enumerate(longest_first)}
        return np.ascontiguousarray(vectors[[place[text] for text in texts]])

    def save(self, folder: str | Path) -> None:
        """Write a folder that `load_encoder` and `SentenceTransformer` load, with the same vectors.

        Raises UsageError for what that format cannot say: the pooler, a head that is not made of `dense`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        parts: list[tuple[str, Callable[[Path], None]]]
        if isinstance(self.model, StaticEmbedding):
            parts = [("StaticEmbedding", self._save_static)]
        else:
            if self.pooling == POOLER:
                raise UsageError(
                    "sentence-transformers has no pooling by the model's pooler: use cls, mean or max"
                )
            parts = [("Transformer", self._save_transformer), ("Pooling", self._save_pooling)]
        for layer in [] if self.head is None else self.head.children():
            if isinstance(layer, Unit):
                parts.append(("Normalize", lambda path: None))
                continue
            if not (isinstance(layer, nn.Sequential) and isinstance(layer[0], nn.Linear)):
                raise UsageError(
                    "this head cannot be saved: make it a Sequential of harness.nn.encoder.dense"
                )
            parts.append(("Dense", functools.partial(_save_dense, layer)))
        if self.normalize:
            parts.append(("Normalize", lambda path: None))
        modules = []
        for i, (kind, write) in enumerate(parts):
            path = "" if kind == "Transformer" else f"{i}_{kind}"
            modules.append(
                {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            )
            (folder / path).mkdir(exist_ok=True)
            write(folder / path)
        _write(folder / "modules.json", modules)
        _write(folder / "config_sentence_transformers.json", self._said())

    def _said(self) -> dict[str, Any]:
        """Return what holds for the folder as a whole: what kind it is, its prompt, how many numbers are kept."""
        said: dict[str, Any] = {"model_type": "SentenceTransformer", "similarity_fn_name": "cosine"}
        if self.prompt:
            said |= {"prompts": {"default": self.prompt}, "default_prompt_name": "default"}
        return said | ({"truncate_dim": self.dimensions} if self.dimensions else {})

    def _save_static(self, folder: Path) -> None:
        from safetensors.torch import save_file

        assert isinstance(self.model, StaticEmbedding)
        save_file(
            {"embedding.weight": self.model.embedding.weight.detach().cpu()}, folder / "model.safetensors"
        )
        from tokenizers import Tokenizer

        # sentence-transformers obeys the limits that a tokenizer was saved with, and judging did not.
        whole = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        whole.no_truncation()
        whole.no_padding()
        if self.max_length:
            whole.enable_truncation(self.max_length)
        whole.save(str(folder / "tokenizer.json"))

    def _save_transformer(self, folder: Path) -> None:
        self.model.save_pretrained(folder)  # type: ignore[operator]
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is not None:  # what the last call cut and padded by
            backend.no_truncation()
            backend.no_padding()
        self.tokenizer.save_pretrained(folder)
        _write(
            folder / "sentence_bert_config.json", {"max_seq_length": self.max_length, "do_lower_case": False}
        )

    def _save_pooling(self, folder: Path) -> None:
        width = self.model.config.hidden_size  # type: ignore[union-attr]
        names = poolings(self.pooling)
        # One mode is said as older versions of the library say it, several as it does today.
        modes: dict[str, Any] = {key: mode in names for mode, key in OLDER.items()}
        if len(names) > 1:
            modes = {"pooling_mode": names}
        _write(folder / "config.json", {"word_embedding_dimension": width, **modes})


def _save_dense(layer: nn.Sequential, folder: Path) -> None:
    from safetensors.torch import save_file

    linear, activation = layer
    assert isinstance(linear, nn.Linear)
    config = {
        "in_features": linear.in_features,
        "out_features": linear.out_features,
        "bias": linear.bias is not None,
        "activation_function": f"{type(activation).__module__}.{type(activation).__name__}",
    }
    _write(folder / "config.json", config)
    state = {
        f"linear.{name}": tensor.detach().cpu().contiguous() for name, tensor in linear.state_dict().items()
    }
    save_file(state, folder / "model.safetensors")


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
