"""Sentences to vectors: any transformers encoder, a pooling over its tokens, and what may come after it.

`load_encoder` reads a plain transformers folder or a sentence-transformers one (Transformer and Pooling or a
StaticEmbedding, then Dense, Normalize), and `Encoder.save` writes one, both without that library.
`Encoder.embed` is differentiable, for training; `Encoder.encode` is for judging: it puts each distinct text
through once, in eval mode, the longest first, so that little of a batch is padding. Padding never counts:
not in attention, not in a mean, not in a maximum.
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


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cls": cls, "mean": mean, "max": maximum}
ACTIVATIONS = {
    "Tanh": nn.Tanh,
    "Identity": nn.Identity,
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "Sigmoid": nn.Sigmoid,
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


class Encoder(nn.Module):
    """A transformers encoder with its tokenizer, a pooling, and `head`, a module over the pooled vectors or None.

    `max_length` is in tokens, special ones included; a longer text is cut. `normalize` makes unit vectors. A
    tokenizer without a padding token pads with its end or unknown token, else with token 0: which one does not
    matter, since padding is masked. Over a `StaticEmbedding` no special tokens are put around a text.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        pooling: str = "mean",
        max_length: int | None = None,
        normalize: bool = False,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if pooling not in (*POOLINGS, POOLER):
            raise UsageError(f"there is no pooling {pooling!r}: {nearest(pooling, (*POOLINGS, POOLER))}")
        self.model, self.tokenizer, self.pooling, self.head = model, tokenizer, pooling, head
        self.max_length, self.normalize = max_length, normalize
        tokenizer.padding_side = "right"  # so that the first token is the first of the text
        if tokenizer.pad_token is None:
            other = tokenizer.eos_token or tokenizer.unk_token
            tokenizer.pad_token = other or tokenizer.convert_ids_to_tokens(0)

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
            list(texts),
            add_special_tokens=not isinstance(self.model, StaticEmbedding),
            return_attention_mask=False,
            return_token_type_ids=False,
            **cut,
        )["input_ids"]
        for text, row in zip(texts, rows, strict=True):
            if not row:
                raise UsageError(f"the text {text!r} has no tokens with this tokenizer: leave it out")
        return rows

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
            pooled = POOLINGS[self.pooling](output.last_hidden_state, batch["attention_mask"])
        if self.head is not None:
            pooled = self.head(pooled)
        return nn.functional.normalize(pooled, dim=-1) if self.normalize else pooled

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

    def _save_static(self, folder: Path) -> None:
        from safetensors.torch import save_file

        assert isinstance(self.model, StaticEmbedding)
        save_file(
            {"embedding.weight": self.model.embedding.weight.detach().cpu()}, folder / "model.safetensors"
        )
        self.tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))

    def _save_transformer(self, folder: Path) -> None:
        self.model.save_pretrained(folder)  # type: ignore[operator]
        self.tokenizer.save_pretrained(folder)
        _write(
            folder / "sentence_bert_config.json", {"max_seq_length": self.max_length, "do_lower_case": False}
        )

    def _save_pooling(self, folder: Path) -> None:
        width = self.model.config.hidden_size  # type: ignore[union-attr]
        older = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
        modes = {f"pooling_mode_{name}": mode == self.pooling for mode, name in older.items()}
        _write(folder / "config.json", {"word_embedding_dimension": width, **modes})


def load_encoder(
    folder: str | Path,
    *,
    pooling: str | None = None,
    max_length: int | None = None,
    device: str | torch.device = "cpu",
    trust_remote_code: bool = False,
) -> Encoder:
    """Load an encoder from a folder (or a file in it), in float32 and eval mode.

    With `pooling` None a sentence-transformers folder is taken as it says: its pooling, dense layers,
    normalisation and longest input; a plain one gets "mean". Any other `pooling` replaces all of that but the
    longest input. `max_length` None is the folder's own limit, else the most tokens the model has positions for.
    An encoder-decoder (T5) gives its encoder. Raises UsageError for parts it does not know.
    """
    from transformers import AutoModel, AutoTokenizer

    folder = Path(folder)
    if folder.is_file():
        folder = folder.parent
    plan = folder / "modules.json"
    modules = json.loads(plan.read_text()) if plan.exists() else []
    kinds = {module["type"].rsplit(".", 1)[-1]: folder / module["path"] for module in modules}
    inner = kinds.get("Transformer", folder)
    if "StaticEmbedding" in kinds:
        encoder = _static(kinds["StaticEmbedding"])
        encoder.max_length, encoder.normalize, encoder.head = (
            max_length,
            "Normalize" in kinds,
            _head(folder, modules),
        )
        return encoder.to(device).eval()
    if not (inner / "config.json").exists():
        raise UsageError(f"{inner} has no config.json: give a folder that transformers saved")
    tokenizer = AutoTokenizer.from_pretrained(inner, trust_remote_code=trust_remote_code)
    model = AutoModel.from_pretrained(inner, dtype=torch.float32, trust_remote_code=trust_remote_code)
    if model.config.is_encoder_decoder:
        model = model.get_encoder()

    about = _json(inner / "sentence_bert_config.json")
    if about.get("do_lower_case"):
        from tokenizers import normalizers

        backend = tokenizer.backend_tokenizer
        backend.normalizer = normalizers.Sequence(
            [normalizers.Lowercase(), *filter(None, [backend.normalizer])]
        )
    length = max_length or about.get("max_seq_length") or longest_input(model, tokenizer)
    if pooling is not None:
        encoder = Encoder(model, tokenizer, pooling, length)
    else:
        unknown = sorted(set(kinds) - {"Transformer", "Pooling", "Dense", "Normalize"})
        if unknown:
            raise UsageError(f"{plan} has the part {unknown[0]}, which is not known here: say pooling=")
        own = _pooling(kinds["Pooling"]) if "Pooling" in kinds else "mean"
        encoder = Encoder(model, tokenizer, own, length, "Normalize" in kinds, _head(folder, modules))
    return encoder.to(device).eval()


def longest_input(model: Any, tokenizer: Any) -> int | None:
    """Return how many tokens the model has positions for; None where nothing limits them."""
    positions = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            positions = (
                module.num_embeddings - module.padding_idx - 1
            )  # RoBERTa counts from after the padding
    limits = [limit for limit in (positions, tokenizer.model_max_length) if limit and 0 < limit < 10**9]
    return min(limits, default=None)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _pooling(folder: Path) -> str:
    """Return a Pooling module's mode, from its newer or its older way of writing it."""
    config = _json(folder / "config.json")
    modes = config.get("pooling_mode") or [
        name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for name, on in config.items()
        if name.startswith("pooling_mode_") and on
    ]
    modes = [modes] if isinstance(modes, str) else list(modes)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise UsageError(
            f"{folder} pools by {' and '.join(modes) or 'nothing'}, which is not known here: "
            f"say pooling={', '.join(POOLINGS)} or {POOLER}"
        )
    return modes[0]


def _static(folder: Path) -> Encoder:
    from safetensors.torch import load_file
    from transformers import PreTrainedTokenizerFast

    weight = load_file(folder / "model.safetensors").get("embedding.weight")
    if weight is None:
        raise UsageError(f"{folder} is no plain StaticEmbedding in safetensors: say another folder")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    return Encoder(StaticEmbedding(weight.float()), tokenizer, "mean")


def _head(folder: Path, modules: Sequence[Mapping[str, str]]) -> nn.Sequential | None:
    found = [_dense(folder / module["path"]) for module in modules if module["type"].endswith("Dense")]
    return nn.Sequential(*found) if found else None


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


def _dense(folder: Path) -> nn.Sequential:
    """Return a Dense module: a linear layer and an activation. Its weights must be safetensors."""
    from safetensors.torch import load_file

    config, weights = _json(folder / "config.json"), folder / "model.safetensors"
    activation = str(config.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
    if not weights.exists() or activation not in ACTIVATIONS or config.get("use_residual"):
        raise UsageError(
            f"{folder} is no plain Dense layer in safetensors (activation {activation}): say pooling= to go without"
        )
    linear = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    state = {name.removeprefix("linear."): tensor for name, tensor in load_file(weights).items()}
    linear.load_state_dict(state)
    return nn.Sequential(linear, ACTIVATIONS[activation]())
