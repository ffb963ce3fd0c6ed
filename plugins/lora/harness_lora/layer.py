"""LoRA's idea: leave the weight W (out x in) alone and learn a low-rank change of it.

    h = W x + scale * B (A x)      A: (rank, in), random    B: (out, rank), zero    scale = alpha / rank

B starts at zero, so the adapted model starts as the base itself. Afterwards B A can be added to W: the
merged layer costs nothing extra. Dropout acts on A's input alone. A starts Kaiming-uniform, as in the
official code and in PEFT; the paper says Gaussian. rsLoRA scales by alpha / sqrt(rank) instead. DoRA learns the
length of each row of W + scale * B A beside its direction. GPT-2's Conv1D and embeddings hold W transposed.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn


class Wrapped(nn.Module):
    """Stand before a frozen layer, whose other attributes a model still finds here; fold the change in and out."""

    base_layer: Any  # Linear, Conv1D or Embedding

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base_layer = base.requires_grad_(False)
        self.kept: list[Tensor] = []  # W while merged; in a list, so that it is no parameter of ours

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "base_layer" not in self.__dict__.get("_modules", {}):
                raise
            return getattr(self._modules["base_layer"], name)

    @property
    def merged(self) -> bool:
        return bool(self.kept)

    def changed(self) -> Tensor:
        """Return what the base layer's weight is once merged, shaped and typed as that is."""
        raise NotImplementedError

    def adapter(self) -> dict[str, nn.Parameter]:
        """Return what is learned here, by the path within this layer."""
        return {name: p for name, p in self.named_parameters() if not name.startswith("base_layer.")}

    @torch.no_grad()
    def merge(self) -> None:
        """Put the changed weight in W's place: summed in float32, then rounded to W's type."""
        if not self.merged:
            merged = self.changed()
            self.kept.append(self.base_layer.weight)
            self.base_layer.weight = nn.Parameter(merged, requires_grad=False)

    def unmerge(self) -> None:
        """Put W itself back, bit for bit (subtracting would leave rounding errors behind)."""
        if self.merged:
            weight = self.kept.pop()
            weight.data = weight.data.to(self.base_layer.weight.device)
            self.base_layer.weight = weight


class LowRank(Wrapped):
    """Hold what layers with an A and a B share: the change, the lengths that DoRA learns, and the merged weight."""

    transposed = False  # whether the base layer holds W as (in, out)
    lora_magnitude_vector: nn.Parameter | None

    def __init__(self, base: nn.Module, rank: int, scale: float) -> None:
        super().__init__(base)
        self.rank, self.scale = rank, scale
        self.register_parameter("lora_magnitude_vector", None)

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Return A (rank, in) and B (out, rank)."""
        raise NotImplementedError

    def start_lengths(self) -> None:
        """Let DoRA begin at the lengths that the rows have with A and B as they are."""
        with torch.no_grad():
            lengths = self._direction().norm(dim=1)
        self.lora_magnitude_vector = nn.Parameter(lengths)

    def factor(self) -> Tensor:
        """Return what DoRA multiplies each row by, (out,): the lengths themselves are no way for a gradient."""
        assert self.lora_magnitude_vector is not None
        with torch.no_grad():
            lengths = self._direction().norm(dim=1)
        return self.lora_magnitude_vector / lengths

    def changed(self) -> Tensor:
        weight = self._direction()
        if self.lora_magnitude_vector is not None:
            weight = self.factor()[:, None] * weight
        return (weight.T if self.transposed else weight).contiguous().to(self.base_layer.weight.dtype)

    def _direction(self) -> Tensor:
        a, b = self.matrices()
        weight = self.base_layer.weight.float()
        change = self.scale * b.float() @ a.float()  # (out, in)
        return (weight.T if self.transposed else weight) + change


class LoraLinear(LowRank):
    """Wrap a linear layer (or a Conv1D), with A and B; parameters are named as PEFT names them."""

    def __init__(self, base: Any, rank: int, scale: float, dropout: float = 0.0, dora: bool = False) -> None:
        super().__init__(base, rank, scale)
        self.transposed = not isinstance(base, nn.Linear)
        out, width = base.weight.T.shape if self.transposed else base.weight.shape
        place = {"device": base.weight.device}
        self.lora_A = nn.Linear(width, rank, bias=False, **place)
        self.lora_B = nn.Linear(rank, out, bias=False, **place)
        self.dropout = nn.Dropout(dropout)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))  # U(-1/sqrt(in), 1/sqrt(in))
        nn.init.zeros_(self.lora_B.weight)
        if dora:
            self.start_lengths()
        self.train(base.training)  # or dropout would act in a model that is being used, not trained

    def matrices(self) -> tuple[Tensor, Tensor]:
        return self.lora_A.weight, self.lora_B.weight

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.base_layer(x)
        if self.merged:
            return h
        given = self.dropout(x.to(self.lora_A.weight.dtype))
        low = self.lora_B(self.lora_A(given))
        if self.lora_magnitude_vector is None:
            return h + (self.scale * low).to(h.dtype)
        plain: Tensor = h if self.base_layer.bias is None else h - self.base_layer.bias
        if self.training and self.dropout.p:  # the rows are stretched for the input that A sees
            weight = self.base_layer.weight.to(given.dtype)
            plain = nn.functional.linear(given, weight.T if self.transposed else weight)
        factor = self.factor()
        return h + ((factor - 1) * plain + factor * self.scale * low).to(h.dtype)


class LoraEmbedding(LowRank):
    """Wrap an embedding: A has a column for each token and starts at zero, B at random."""

    transposed = True

    def __init__(self, base: nn.Embedding, rank: int, scale: float, dora: bool = False) -> None:
        super().__init__(base, rank, scale)
        tokens, width = base.weight.shape
        self.lora_embedding_A = nn.Parameter(torch.zeros(rank, tokens, device=base.weight.device))
        self.lora_embedding_B = nn.Parameter(torch.randn(width, rank, device=base.weight.device))
        if dora:
            self.start_lengths()
        self.train(base.training)

    def matrices(self) -> tuple[Tensor, Tensor]:
        return self.lora_embedding_A, self.lora_embedding_B

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.base_layer(x)
        if self.merged:
            return h
        low = self.scale * nn.functional.embedding(x, self.lora_embedding_A.T) @ self.lora_embedding_B.T
        low = low * getattr(self.base_layer, "embed_scale", 1.0)  # by which Gemma 3 and BART multiply
        if self.lora_magnitude_vector is None:
            return h + low.to(h.dtype)
        return (self.factor() * (h + low)).to(h.dtype)


class TokenAdapter(nn.Module):
    """Hold the rows of some tokens, as PEFT names them."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.trainable_tokens_delta = nn.Parameter(rows)


class TokenRows(Wrapped):
    """Learn the rows of some tokens of an embedding, or of the output layer that is tied to it (`leader`)."""

    token_adapter: TokenAdapter

    def __init__(self, base: Any, tokens: list[int], leader: "TokenRows | None" = None) -> None:
        super().__init__(base)
        self.tokens = torch.tensor(tokens, device=base.weight.device)
        self.leader = [leader] if leader is not None else []  # in a list: its parts are not ours
        rows = base.weight.detach()[self.tokens].clone()
        self.token_adapter = leader.token_adapter if leader is not None else TokenAdapter(rows)
        self.train(base.training)

    @property
    def weight(self) -> Tensor:
        """Return the matrix as it is used, for models that read it."""
        used: Tensor = self.base_layer.weight if self.merged else self.rows()
        return used

    def changed(self) -> Tensor:
        return self.rows().detach()

    def rows(self) -> Tensor:
        """Return the whole matrix, with the rows that are learned in their places."""
        weight: Tensor = self.base_layer.weight
        learned = self.token_adapter.trainable_tokens_delta.to(weight)
        return weight.index_copy(0, self.tokens.to(weight.device), learned)

    def merge(self) -> None:
        if self.leader and not self.merged:  # what was one matrix stays one
            self.leader[0].merge()
            self.kept.append(self.leader[0].kept[0])
            self.base_layer.weight = self.leader[0].base_layer.weight
            return
        super().merge()

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            whole: Tensor = self.base_layer(x)
            return whole
        if isinstance(self.base_layer, nn.Embedding):
            found = nn.functional.embedding(x, self.rows(), self.base_layer.padding_idx)
            return found * getattr(self.base_layer, "embed_scale", 1.0)
        return nn.functional.linear(x, self.rows(), self.base_layer.bias)
