"""How far can a model read? Its loss at lengths below and beyond its own, by position, and what it can copy.

The same tokens are scored at every length: without overlap, where longer windows hold fewer tokens with little
context, and sliding, where each scored token has nearly a full window before it. The probe shows a key and a value,
then text, then the key: can the model say the value again? A flat loss is not long memory.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.sources import Document
from harness.data.tokens import encode
from harness.errors import UsageError
from harness.fit import peak_memory
from harness.nn.evals import by_position, nll, retrieval
from harness_alibi.kinds import Positions
from harness_alibi.pieces import last, token_nll

KEY, VALUE = 4, 12  # tokens of the probe's key and value
CHARACTERS = 16  # of text read for each token that is needed: more than any tokenizer's words have
TARGETS = 32_768  # tokens scored where none are asked for; the longest window, where that has more
Tell = Callable[..., None]  # (step, done, total, tokens_per_second=)


@dataclass(frozen=True)
class Plan:
    """What is asked of a model: windows of these many tokens, and how many are scored, slid and probed."""

    lengths: tuple[int, ...]
    own: int
    targets: int = TARGETS
    windows: int = 8  # that slide, at each length; 0: none do
    stride: int = 0  # a quarter of the model's own length
    probes: int = 16
    seed: int = 0

    @property
    def step(self) -> int:
        """How many tokens a sliding window moves by: at most the shortest window."""
        return min(self.stride or max(self.own // 4, 1), min(self.lengths))


def plan_of(words: str, positions: Positions, own: int = 0, **asked: Any) -> tuple[Plan, tuple[int, ...]]:
    """Return what `words` such as "0.5x,1x,4096" ask of a model, and the lengths that it has no positions for.

    Raises UsageError for what is no length, and for numbers that cannot be scored.
    """
    length = own or positions.length or 0
    if own < 0:
        raise UsageError(f"--length={own} is no length: give the model's own in tokens, 1 or more")
    found = []
    for word in words.split(","):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(x?)", word.strip())
        tokens = float(match[1]) if match else 0.0
        if match and match[2]:
            if not length:
                raise UsageError(
                    f"the model's config does not say how long it reads, so {word} has no meaning: add --length"
                )
            tokens *= length
        if tokens < 1 or (match and not match[2] and tokens != int(tokens)):
            raise UsageError(
                f"--lengths={words}: {word!r} is no length: write 0.5x, 2x or a number of tokens"
            )
        found.append(int(tokens))
    limit = positions.limit or max(found)
    beyond = tuple(tokens for tokens in sorted(set(found)) if tokens > limit)
    within = tuple(tokens for tokens in sorted(set(found)) if tokens <= limit)
    if not within:
        raise UsageError(f"--lengths={words}: the model has {positions.told}, so none of these can be scored")
    asked["targets"] = asked.get("targets") or max(TARGETS, *within)
    plan = Plan(within, length or max(within), **asked)
    for name, least in (("targets", max(within)), ("windows", 0), ("stride", 0), ("probes", 0)):
        if getattr(plan, name) < least:
            raise UsageError(
                f"--{name}={getattr(plan, name)} is too few: {least} is the least"
                + (" (the longest window)" if name == "targets" else "")
            )
    if plan.probes == 1:
        raise UsageError("--probes=1 has no second item to compare with: give 2 or more, or 0 for none")
    if plan.stride > min(within):
        raise UsageError(
            f"--stride={plan.stride} is longer than the shortest window, {min(within)}: lower it"
        )
    return plan, beyond


def needed(plan: Plan) -> int:
    """Return how many tokens of text a plan reads."""
    longest = max(plan.lengths)
    probe = 2 * longest if plan.probes else 0
    return max(plan.targets, longest + plan.windows * plan.step, probe) + 1


def text_of(
    documents: Iterator[Document], tokenizer: Any, vocabulary: int, plan: Plan, name: str
) -> np.ndarray:
    """Return the first tokens of a text, as many as the plan needs.

    Raises UsageError where there are too few, or the tokenizer does not fit the text or a model of this `vocabulary`.
    """
    count = needed(plan)

    def enough() -> Iterator[Document]:
        left = count * CHARACTERS
        for document in documents:
            if left <= 0:
                return
            yield Document(document.id, document.text[:left])
            left -= len(document.text)

    with tempfile.TemporaryDirectory() as folder:
        tokens = np.array(encode(enough(), tokenizer, Path(folder) / "text.npy"))
    if len(tokens) < count:
        raise UsageError(
            f"{name} has {len(tokens):,} tokens and {count:,} are read: give a longer text, lower --targets, or ask "
            "for shorter --lengths"
        )
    tokens = tokens[:count]
    if tokens.max() >= vocabulary:
        raise UsageError(
            f"the tokenizer has a token {tokens.max():,} and the model {vocabulary:,} words: it is another model's"
        )
    unknown = tokenizer.unk_token_id
    if unknown is not None and (tokens == unknown).mean() > 0.5:
        raise UsageError(
            f"the tokenizer knows less than half of {name}: give the one that the model was trained with"
        )
    return tokens


def curve(model: Any, tokens: np.ndarray, plan: Plan, device: str, tell: Tell) -> dict[str, Any]:
    """Return the loss of `tokens` at every length with both protocols, by position, and the probe, as plain data."""
    stretch(model, max(plan.lengths))
    rows: list[dict[str, Any]] = []
    whole = np.empty(0)
    for length in plan.lengths:
        scored = Counted(f"{length:,} tokens, without overlap", plan.targets, tell)
        whole = nll(model, tokens, length, targets=plan.targets, device=device, losses=scored)
        row = {
            "length": length,
            "multiple": length / plan.own,
            "loss": float(whole.mean(dtype=np.float64)),
            "perplexity": float(np.exp(whole.mean(dtype=np.float64))),
            "windows": -(-plan.targets // length),
            "tokens_per_second": plan.targets / scored.seconds,
        }
        if plan.windows:
            row["sliding_loss"] = float(
                slid(model, tokens, length, plan, device, tell).mean(dtype=np.float64)
            )
        rows.append(row)
    longest = max(plan.lengths)
    edges = [0, *sorted({longest >> shift for shift in range(8) if longest >> shift})]
    found: dict[str, Any] = {"lengths": rows}
    found["by_position"] = [
        {"from": low, "to": high, "loss": float(means.mean(dtype=np.float64))}
        for (low, high), means in by_position(whole, longest, edges).items()
    ]
    if plan.probes:
        found["retrieval"] = probed(model, tokens, plan, device, tell)
    found["peak_memory_bytes"] = peak_memory(device)
    return found


def slid(model: Any, tokens: np.ndarray, length: int, plan: Plan, device: str, tell: Tell) -> np.ndarray:
    """Return the losses of the same tokens at every length, each with all but a stride of a window before it."""
    lead, scored = length - plan.step, plan.windows * plan.step
    begin = max(plan.lengths) - plan.step - lead
    count = Counted(f"{length:,} tokens, sliding", plan.windows * length, tell)
    losses = nll(
        model, tokens[begin:], length, targets=lead + scored, stride=plan.step, device=device, losses=count
    )
    return losses[-scored:]


def probed(model: Any, tokens: np.ndarray, plan: Plan, device: str, tell: Tell) -> list[dict[str, float]]:
    """Return, for each length that has room, how well a value seen at its beginning is copied at its end."""
    span = KEY + VALUE
    distances = [length - span for length in plan.lengths if length >= 2 * span]
    asked = last(model, VALUE)
    found = []
    for done, distance in enumerate(distances):
        tell("the probe", done, len(distances))
        (items,) = retrieval(
            asked, tokens, [distance], items=plan.probes, key=KEY, value=VALUE, seed=plan.seed, device=device
        ).values()
        found.append(
            {
                "distance": distance,
                "accuracy": float(items["accuracy"].mean(dtype=np.float64)),
                "gain": float(items["gain"].mean(dtype=np.float64)),
            }
        )
    tell("the probe", len(distances), len(distances))
    return found


class Counted:
    """`token_nll` in pieces that tells how far it is."""

    def __init__(self, step: str, total: int, tell: Tell) -> None:
        self.step, self.total, self.tell = step, total, tell
        self.done, self.seconds = 0, 0.0

    def __call__(self, model: Any, inputs: Tensor, answers: Tensor, device: str | torch.device) -> Tensor:
        begun = time.perf_counter()
        losses = token_nll(model, inputs, answers, device)
        self.seconds += time.perf_counter() - begun
        self.done = min(self.done + inputs.numel(), self.total)
        self.tell(self.step, self.done, self.total, self.done / self.seconds)
        return losses


def stretch(model: Any, longest: int) -> None:
    """Let a model read as far as it is asked where only a table of fixed numbers ends there (MPT's bias)."""
    config = model.config
    if config.model_type == "mpt" and config.max_seq_len < longest:
        config.max_seq_len = longest


def told(found: dict[str, Any]) -> Sequence[Sequence[str]]:
    """Return the rows of the table: length, its multiple, windows, losses, perplexity, copied."""
    probes = {int(row["distance"]) + KEY + VALUE: row for row in found.get("retrieval", ())}
    rows = []
    for row in found["lengths"]:
        probe = probes.get(row["length"])
        rows.append(
            (
                f"{row['length']:,}",
                f"{row['multiple']:g}x",
                f"{row['windows']:,}",
                f"{row['loss']:.4f}",
                f"{row['perplexity']:.3f}",
                f"{row['sliding_loss']:.4f}" if "sliding_loss" in row else "-",
                f"{probe['accuracy']:.0%}" if probe else "-",
            )
        )
    return rows
