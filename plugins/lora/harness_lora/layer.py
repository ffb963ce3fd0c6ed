"""LoRA's idea: leave the weight W (out x in) alone and learn a low-rank change of it.

    h = W x + scale * B (A x)      A: (rank, in), random    B: (out, rank), zero    scale = alpha / rank

B starts at zero, so the adapted model starts as the base itself. Afterwards B A can be added to W: the
merged layer costs nothing extra. Dropout acts on A's input alone. A starts Kaiming-uniform, as in the
official code and in PEFT; the paper says Gaussian. rsLoRA scales by alpha / sqrt(rank) instead.
"""

import math

import torch
from torch import Tensor, nn


class LoraLinear(nn.Module):
    """Wrap a linear layer, frozen, with A and B; parameters are named as PEFT names them."""

    def __init__(self, base: nn.Linear, rank: int, scale: float, dropout: float = 0.0) -> None:
        super().__init__()
        place = {"device": base.weight.device}
        self.base_layer = base.requires_grad_(False)
        self.lora_A = nn.Linear(base.in_features, rank, bias=False, **place)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False, **place)
        self.dropout = nn.Dropout(dropout)
        self.rank, self.scale = rank, scale
        self.kept: list[Tensor] = []  # W while merged; in a list, so that it is no parameter of ours
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))  # U(-1/sqrt(in), 1/sqrt(in))
        nn.init.zeros_(self.lora_B.weight)
        self.train(base.training)  # or dropout would act in a model that is being used, not trained

    @property
    def merged(self) -> bool:
        return bool(self.kept)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.base_layer(x)
        if self.merged:
            return h
        low = self.lora_B(self.lora_A(self.dropout(x.to(self.lora_A.weight.dtype))))
        return h + (self.scale * low).to(h.dtype)

    @torch.no_grad()
    def merge(self) -> None:
        """Put W + scale * B A in W's place: summed in float32, then rounded to W's type."""
        if not self.merged:
            weight = self.base_layer.weight
            change = self.scale * self.lora_B.weight.float() @ self.lora_A.weight.float()  # (out, in)
            merged = (weight.float() + change).to(weight.dtype)
            self.kept.append(weight)
            self.base_layer.weight = nn.Parameter(merged, requires_grad=False)

    def unmerge(self) -> None:
        """Put W itself back, bit for bit (subtracting would leave rounding errors behind)."""
        if self.merged:
            weight = self.kept.pop()
            weight.data = weight.data.to(self.base_layer.weight.device)
            self.base_layer.weight = weight
