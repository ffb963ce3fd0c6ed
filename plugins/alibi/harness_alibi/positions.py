"""ALiBi as a position encoding of the decoder, with the variants that the paper only mentions.

Learned slopes "did not yield strong extrapolation" (section 3); half of the heads without a bias is
x-transformers' option; slopes scaled by L / L_valid beyond the training length L are position
interpolation for ALiBi (arXiv 2310.13017). Importing this module gives decoders the kind "alibi".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from harness.errors import HarnessError
from harness.nn.positions import KINDS, Position
from harness_alibi.bias import slopes

if TYPE_CHECKING:
    from harness.nn.decoder import DecoderConfig


class AlibiPosition(Position):
    """Linear biases. Built as `DecoderConfig(position="alibi", position_options={"learned_slopes": True})`.

    `learned_slopes` trains the slopes' logarithms, so that they stay positive; `half_heads` gives the first
    half of the heads the slopes of heads / 2 and the rest none; `interpolated` flattens the slopes when more
    than `config.length` tokens are seen (padding counts as seen).
    """

    def __init__(
        self,
        config: DecoderConfig,
        learned_slopes: bool = False,
        half_heads: bool = False,
        interpolated: bool = False,
    ) -> None:
        super().__init__(config)
        if half_heads and config.heads < 2:
            raise HarnessError("half_heads of one head is none: give two or more.")
        self.biased = config.heads // 2 if half_heads else config.heads
        self.heads, self.length, self.interpolated = config.heads, config.length, interpolated
        self.log_slopes = nn.Parameter(slopes(self.biased).log()) if learned_slopes else None

    def bias(self, distance: Tensor) -> Tensor:
        own = self.log_slopes
        slope = slopes(self.biased, distance.device) if own is None else own.float().exp()
        slope = nn.functional.pad(slope, (0, self.heads - self.biased))
        if self.interpolated:
            seen = distance[-1, 0] + 1  # the last query stands this far into its row
            slope = slope * (self.length / seen).clamp(max=1.0)
        return -slope[:, None, None] * distance


KINDS["alibi"] = AlibiPosition
