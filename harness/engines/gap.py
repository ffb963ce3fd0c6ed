"""How far an engine's log-probabilities are from those of the weights that are trained here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.engines.asking import Written
from harness.errors import HarnessError

OTHER = 1.0  # nats a token in the mean: no rounding and no usual quantisation is so far off


@dataclass(frozen=True)
class Gap:
    """The largest and the mean absolute difference of log-probabilities, in nats, over `tokens`."""

    largest: float
    mean: float
    tokens: int

    def __str__(self) -> str:
        return (
            f"log-probabilities of engine and trainer differ by {self.mean:.2g} nats in the mean and "
            f"{self.largest:.2g} at most, over {self.tokens} tokens"
        )


def gap(model: Any, prompts: Sequence[Sequence[int]], written: Sequence[Written]) -> Gap:
    """Compare what an engine said of its tokens with what `model`, of transformers, says of the same.

    Raises HarnessError where they are so far apart that the engine has other weights, and where there is nothing to
    compare.
    """
    from harness.nn.generate import log_probs

    told = [(prompt, one) for prompt, one in zip(prompts, written, strict=True) if one.log_probs]
    if not told:
        raise HarnessError("the engine gave no log-probabilities to compare: ask it for some")
    ours = log_probs(model, [prompt for prompt, _ in told], [one.tokens for _, one in told])
    apart = [
        abs(a - b)
        for mine, (_, one) in zip(ours, told, strict=True)
        for a, b in zip(mine, one.log_probs or [], strict=True)
    ]
    found = Gap(max(apart), sum(apart) / len(apart), len(apart))
    if found.mean > OTHER:
        raise HarnessError(f"{found}: the engine has other weights than the trainer, so serve the same")
    return found
