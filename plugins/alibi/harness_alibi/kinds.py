"""Which positions a model has: by its config, and by its layers where the config does not say.

Read in the source of transformers 5.23: BLOOM, MPT and Falcon (`alibi=True`) have ALiBi, and nothing else there has.
Llama has rotary positions in every version, Llama 2 too, although reviews have it among ALiBi's users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness_alibi.models import MARK

LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
LEARNED = (
    "wpe",
    "embed_positions",
    "position_embeddings",
    "position_embedding",
)  # what families call the table


@dataclass(frozen=True)
class Positions:
    """How a model knows positions, in a word and in a sentence; `length` it was trained at, `limit` it ends at."""

    kind: str
    told: str
    length: int | None = None
    limit: int | None = None


def positions_of(config: Any, model: Any = None) -> Positions:
    """Return the positions of a model of this config; of the `model` itself, learned ones are seen too."""
    config = config.get_text_config()
    length = next((n for name in LENGTHS if isinstance(n := getattr(config, name, None), int)), None)
    kind, told, limit = _told(config, model)
    return Positions(kind, told, length, limit)


def _told(config: Any, model: Any) -> tuple[str, str, int | None]:
    family = config.model_type
    if family == "harness-decoder":
        limit = config.length if config.position == "learned" else None
        return config.position, f"{config.position} positions of the harness's own decoder", limit
    if getattr(config, MARK, None):
        return "alibi", f"ALiBi, put in place of {family}'s rotary positions", None
    if family == "bloom":
        return "alibi", "ALiBi, as BLOOM was trained", None
    if family == "mpt":
        return (
            "alibi",
            "ALiBi, as MPT was trained (its bias is a table as long as max_seq_len, made longer here)",
            None,
        )
    if getattr(config, "alibi", False):
        return "alibi", f"ALiBi, as {family} has it: the bias is divided by the root of a head's width", None
    if rotary := _rotary(config):
        return "rotary", rotary, None
    if limit := _table(model):
        return (
            "learned",
            f"a learned vector a position, {limit:,} of them: there is none for a later one",
            limit,
        )
    if _has(model, "Rotary"):
        return "rotary", "rotary", None
    if _has(model, "SinusoidalPosition"):
        return "sinusoidal", "sinusoids added to the embeddings", None
    return "unknown", f"not known of {family}", None


def _rotary(config: Any) -> str:
    """Return what the config says of rotary positions, empty where it speaks of none."""
    found = getattr(config, "rope_parameters", None)
    if not isinstance(found, Mapping) or not found:
        return "rotary, of a part of each head" if getattr(config, "rotary_dim", None) else ""
    sets = [found] if "rope_theta" in found else [one for one in found.values() if isinstance(one, Mapping)]
    told = " and ".join(dict.fromkeys(_base(one) for one in sets)) or "its base not told"
    without = [layer for layer in getattr(config, "no_rope_layers", None) or () if not layer]
    return f"rotary, {told}" + (f", none at all in {len(without)} layers" if without else "")


def _base(rope: Mapping[str, Any]) -> str:
    kind = rope.get("rope_type", "default")
    base = f"base {rope.get('rope_theta', 10_000):,.0f}"
    return base if kind == "default" else f"{base} scaled ({kind}, factor {rope.get('factor', 'not told')})"


def _table(model: Any) -> int | None:
    """Return how many learned positions a model has; its table may begin with a few places that stand for none."""
    for name, module in model.named_modules() if model is not None else ():
        if name.rpartition(".")[2] in LEARNED and hasattr(module, "num_embeddings"):
            return int(module.num_embeddings - getattr(module, "offset", 0))
    return None


def _has(model: Any, name: str) -> bool:
    return model is not None and any(name in type(module).__name__ for module in model.modules())
