"""What to adapt and how strongly: `LoraConfig`, which refuses in one sentence what cannot be meant."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from harness.errors import UsageError

BIASES = ("none", "all", "lora_only")


@dataclass(frozen=True)
class LoraConfig:
    """Say what to adapt and how strongly.

    `heads` are trained whole and saved beside A and B: None means a classifier's own head and whatever else is new,
    () none. `exclude` and `layers` (numbers, for a list of targets) leave out what `targets` match.
    `ranks` and `alphas` give modules, by name or pattern, a rank or alpha of their own. `tokens` are rows of the
    input embedding, or of several by name, that are learned alone.
    """

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.0
    targets: str | Sequence[str] = "all-linear"
    rslora: bool = False
    heads: Sequence[str] | None = None
    gaussian: bool = False  # A ~ N(0, (1 / rank)^2), as in the paper's text, not Kaiming-uniform
    exclude: str | Sequence[str] = ()
    layers: Sequence[int] = ()
    layers_pattern: Sequence[str] = ()
    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)
    bias: str = "none"
    tokens: Mapping[str, Sequence[int]] | Sequence[int] = ()
    dora: bool = False
    tied: bool = False  # heads share the matrices they shared before

    def __post_init__(self) -> None:
        for name, fits, wanted in CHECKS:
            if not fits(getattr(self, name)):
                raise UsageError(f"{name}={getattr(self, name)!r} is not {wanted}")
        for name in ("targets", "exclude"):
            if isinstance(given := getattr(self, name), str) and given:
                try:
                    re.compile(given)
                except re.error as error:
                    raise UsageError(f"{name}={given!r} is no regular expression ({error}): fix it") from None
        if self.layers and isinstance(self.targets, str):
            raise UsageError(
                f"layers={self.layers!r} needs targets as a list of names: a regular expression can say the layers"
            )
        if self.layers_pattern and not self.layers:
            raise UsageError(
                f"layers_pattern={self.layers_pattern!r} chooses nothing without layers: give layers"
            )

    @property
    def scale(self) -> float:
        """What B A is multiplied by: alpha / rank, or alpha / sqrt(rank) with `rslora`."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def at(self, name: str) -> tuple[int, float]:
        """Return the rank and the scale of the module of this path."""
        rank, alpha = _first(self.ranks, name, self.rank), _first(self.alphas, name, self.alpha)
        return int(rank), float(alpha / (math.sqrt(rank) if self.rslora else rank))


def _first(patterns: Mapping[str, Any], name: str, otherwise: Any) -> Any:
    return next((v for p, v in patterns.items() if re.match(rf"(.*\.)?({p})$", name)), otherwise)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least  # type: ignore[operator]


def _number(value: Any) -> bool:
    return (
        isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(float(value)) and value != 0
    )


def _texts(value: Any) -> bool:
    listed = isinstance(value, Sequence | set | frozenset) and not isinstance(value, str)
    return listed and all(isinstance(name, str) and name for name in value)


def _numbers(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(_whole(n, 0) for n in value)


def _pattern(text: Any) -> bool:
    try:
        return isinstance(text, str) and bool(text) and re.compile(text) is not None
    except re.error:
        return False


CHECKS = (  # (field, what says that it fits, what it has to be)
    ("rank", lambda v: _whole(v, 1), "a whole number from 1 on: use 4 to 64 to begin with"),
    ("alpha", _number, "a number other than 0: use the rank, or twice the rank"),
    (
        "dropout",
        lambda v: isinstance(v, Real) and not isinstance(v, bool) and 0 <= float(v) < 1,
        "a share from 0 to below 1: use 0, or 0.1",
    ),
    (
        "targets",
        lambda v: bool(v) and (isinstance(v, str) or _texts(v)),
        "something to adapt: give a list of names, a regular expression or all-linear",
    ),
    (
        "heads",
        lambda v: v is None or _texts(v),
        "a list of names: write ('classifier',), () for none, or None",
    ),
    ("exclude", lambda v: isinstance(v, str) or _texts(v), "a list of names or a regular expression"),
    ("layers", _numbers, "a list of whole numbers from 0 on"),
    ("layers_pattern", _texts, "a list of names"),
    (
        "ranks",
        lambda v: isinstance(v, Mapping) and all(_pattern(k) and _whole(r, 1) for k, r in v.items()),
        "a mapping from names or patterns to whole numbers from 1 on",
    ),
    (
        "alphas",
        lambda v: isinstance(v, Mapping) and all(_pattern(k) and _number(a) for k, a in v.items()),
        "a mapping from names or patterns to numbers other than 0",
    ),
    ("bias", lambda v: v in BIASES, "one of none, all and lora_only"),
    (
        "tokens",
        lambda v: (
            all(isinstance(k, str) and k and len(t) and _numbers(t) for k, t in v.items())
            if isinstance(v, Mapping)
            else _numbers(v)
        ),
        "a list of token numbers, or a mapping from embeddings' names to such lists",
    ),
    *(
        (name, lambda v: isinstance(v, bool), "True or False")
        for name in ("rslora", "gaussian", "dora", "tied")
    ),
)
