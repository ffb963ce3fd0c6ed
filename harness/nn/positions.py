"""How a decoder knows the order of its tokens: the classic ways, each one small class.

A position encoding may add something to the embeddings, rotate queries and keys, or add a bias to the
attention scores. The decoder asks for each once per forward, not once per layer, and hands over real
positions (left padding not counted), so every kind works with padding, any cache and packed documents.
A plugin adds its own kind: `KINDS["mine"] = MyPosition`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harness.errors import HarnessError, nearest
from harness.nn.config import DecoderConfig


class Position(nn.Module):
    """A position encoding that does nothing: the base of every kind, and "none" itself.

    A kind overrides the one method it needs and is built as `Kind(config, **config.position_options)`.
    Its parameters are trained and saved with the model. Compute in float32; the decoder casts.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()

    def embed(self, positions: Tensor) -> Tensor | None:
        """Return what is added to the embeddings at `positions` (rows, length): (rows, length, width)."""
        return None

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return cosine and sine, each (rows, length, head_width / 2), that `rotate` turns q and k by."""
        return None

    def bias(self, distance: Tensor) -> Tensor | None:
        """Return what is added to the scaled scores, (heads, query_length, key_length).

        `distance` (query_length, key_length) is how many tokens the key lies before the query; where it
        is negative the key is in the future and will be masked.
        """
        return None


class Sinusoidal(Position):
    """Sines and cosines of geometric frequencies, in two halves (Vaswani et al. 2017, as in fairseq)."""

    def __init__(self, config: DecoderConfig, base: float = 10_000.0) -> None:
        super().__init__(config)
        if config.width % 2:
            raise HarnessError(f"sinusoidal positions need an even width, not {config.width}: add one.")
        self.pairs, self.base = config.width // 2, base

    def embed(self, positions: Tensor) -> Tensor:
        order = torch.arange(self.pairs, device=positions.device, dtype=torch.float32)
        frequency = torch.exp(order * (-math.log(self.base) / max(self.pairs - 1, 1)))
        angle = positions[..., None] * frequency
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class Learned(Position):
    """One trained vector a position, up to the training length and no further."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        self.table = nn.Embedding(config.length, config.width)

    def embed(self, positions: Tensor) -> Tensor:
        length = self.table.num_embeddings
        kind = (
            positions.device.type
        )  # a GPU would be waited for in each step; batches are as long as the table
        looks = kind == "cpu" or (kind != "meta" and not self.training)
        if looks and int(positions.max()) >= length:
            raise HarnessError(
                f"Learned positions end at {length} tokens and were asked for {int(positions.max()) + 1}: "
                f"shorten the input or train with length={int(positions.max()) + 1}."
            )
        return self.table(positions)


class Rotary(Position):
    """Rotate each pair of a head's coordinates by an angle that grows with position (Su et al. 2021).

    `scaling` reaches past the training length by `factor`: "linear" squeezes the positions (Chen et al.
    2023), "ntk" raises the base so that slow pairs stretch and fast ones stay ("NTK-aware", 2023).
    """

    def __init__(
        self, config: DecoderConfig, base: float = 10_000.0, scaling: str = "none", factor: float = 1.0
    ) -> None:
        super().__init__(config)
        head_width = config.width // config.heads
        if head_width % 2:
            raise HarnessError(
                f"rotary positions need an even head width, not {head_width}: change width or heads."
            )
        if scaling not in ("none", "linear", "ntk"):
            raise HarnessError(f"there is no rotary scaling {scaling!r}: give none, linear or ntk.")
        if scaling == "ntk":
            base = base * factor ** (head_width / max(head_width - 2, 1))
        self.pairs, self.base = head_width // 2, base
        self.squeeze = factor if scaling == "linear" else 1.0

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        order = torch.arange(self.pairs, device=positions.device, dtype=torch.float32)
        angle = (positions / self.squeeze)[..., None] * self.base ** (-order / self.pairs)
        return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + half) of `x` (..., length, 2 * half) by the angle of its position."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class T5Bias(Position):
    """A trained bias per head and bucket of distance, shared by all layers (Raffel et al. 2020).

    Half of the buckets hold one distance each; the others grow logarithmically up to `max_distance`, and
    the last holds everything beyond.
    """

    def __init__(self, config: DecoderConfig, buckets: int = 32, max_distance: int = 128) -> None:
        super().__init__(config)
        self.table = nn.Embedding(buckets, config.heads)
        self.max_distance = max_distance

    def bias(self, distance: Tensor) -> Tensor:
        every = torch.arange(distance.shape[-1], device=distance.device)  # no key lies further back
        values = self.table(self.bucket(every)).T  # (heads, key_length)
        return values[:, distance.clamp(min=0)]  # (heads, query_length, key_length)

    def bucket(self, distance: Tensor) -> Tensor:
        """Return the bucket of each distance, zero or more."""
        buckets = self.table.num_embeddings
        exact = buckets // 2
        growth = torch.log(distance.clamp(min=1) / exact) / math.log(self.max_distance / exact)
        far = exact + (growth * (buckets - exact)).long()
        return torch.where(distance < exact, distance, far.clamp(max=buckets - 1))


KINDS: dict[str, type[Position]] = {
    "none": Position,
    "sinusoidal": Sinusoidal,
    "learned": Learned,
    "rotary": Rotary,
    "t5_bias": T5Bias,
}


def position_of(config: DecoderConfig) -> Position:
    """Build the position encoding that `config.position` names, with `config.position_options`."""
    if config.position not in KINDS:
        raise HarnessError(
            f"No position encoding is called {config.position!r} ({nearest(config.position, KINDS)}): "
            "if a plugin defines it, import that plugin first."
        )
    return KINDS[config.position](config, **config.position_options)
