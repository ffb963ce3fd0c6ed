"""Two-turn episodes: sampled in one go with a cache, and scored in one pass.

An episode is one row of columns [x1 | y1 | p1 | y2]. x1 is padded on the left; an answer's end token and what
lies behind it are masked out, so the second turn reads y1 exactly as it was generated. Where a template ends its
turns with words, the first token of these is the end token. Both turns share the row: x2 starts with x1 and y1,
and the masks say whose tokens are whose. Nothing is packed anew between sampling and training, so the columns of
both agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import UsageError
from harness.nn.generate import accepted
from harness.nn.turns import word_end


@dataclass(frozen=True)
class Turns:
    """What all episodes share: the correction prompt's tokens, end tokens, the answers' longest, words that end."""

    correction: tuple[int, ...]
    ends: tuple[int, ...]
    first: int
    second: int
    words: tuple[str, ...] = ()


@dataclass
class Episodes:
    """Sampled episodes, one a row, all (rows, columns): see the module's text.

    `first` and `second` mark the answers' tokens with their end token; `seen` is what later columns may look
    at. `cut` (rows, 2) says which answers ended without an end token. `shown` is `tokens` with the first
    answer that turn 2 was shown, where that is not the row's own.
    """

    tokens: Tensor
    seen: Tensor
    first: Tensor
    second: Tensor
    cut: Tensor
    shown: Tensor | None = None
    shown_seen: Tensor | None = None

    def answers(self, turn: int) -> list[list[int]]:
        """Return the tokens of each row's answer of turn 1 or 2, without the end token."""
        mask = (self.first if turn == 1 else self.second) & self.seen
        tokens, mask = self.tokens.cpu(), mask.cpu()
        return [row[kept].tolist() for row, kept in zip(tokens, mask, strict=True)]


@torch.no_grad()
def sample(
    model: Any,
    prompts: Tensor,
    turns: Turns,
    *,
    samples: int = 1,
    temperature: float = 1.0,
    seeds: Sequence[int] | Tensor = (),
    only_first: bool = False,
    blank: bool = False,
    tokenizer: Any = None,
) -> Episodes:
    """Answer each prompt twice; `prompts` is (problems, width), -1 for padding on the left.

    Each problem draws by its own seed of `seeds` (default: its place), whoever stands beside it, so a batch in pieces
    is the same batch. `tokenizer` reads the words that end an answer, where `turns` has such.

    Returns `samples` rows for each problem, next to each other. Greedy at temperature 0. `blank` shows turn
    2 the first answer of the next problem. Raises UsageError where `blank` has no other problem.
    """
    if blank and len(prompts) < 2:
        raise UsageError("the blank control shows another problem's answer: give at least two problems")
    training = getattr(model, "training", False)
    model.eval()
    over = word_end(tokenizer, turns.words) if turns.words else None
    chosen = [int(seed) for seed in seeds] or list(range(len(prompts)))
    draws = drawn(chosen, samples, turns.first + turns.second).to(prompts.device)
    writer = Writer(model, prompts, samples, temperature, draws, turns.ends, over)
    first = writer.answer(turns.first)
    shown = shown_seen = None
    if not only_first:
        if blank:
            writer.show_another(first, samples)
        writer.read(turns.correction)
        second = writer.answer(turns.second)
    else:
        second = slice(0, 0)
    model.train(training)
    tokens, seen = writer.tokens, writer.seen
    if blank and not only_first:
        shown, shown_seen = tokens, seen
        tokens, seen = tokens.clone(), seen.clone()
        tokens[:, first], seen[:, first] = writer.own_tokens, writer.own_seen
    columns = torch.arange(tokens.shape[1], device=tokens.device)
    masks = []
    for part, ended in ((first, writer.ended_at[0]), (second, writer.ended_at[-1])):
        inside = (columns >= part.start) & (columns < part.stop)
        masks.append(inside & (columns <= part.start + ended[:, None]))
    cut = torch.stack([writer.cut[0], writer.cut[-1]], dim=1)
    return Episodes(tokens, seen, masks[0], masks[1], cut, shown, shown_seen)


def drawn(seeds: Sequence[int], samples: int, columns: int) -> Tensor:
    """Return uniform numbers in [0, 1) for each sample of each problem, (problems x samples, columns)."""
    rows = [np.random.default_rng(seed).random((samples, columns), dtype=np.float32) for seed in seeds]
    return torch.from_numpy(np.concatenate(rows))


class Writer:
    """Write rows column by column: tokens, what is seen of them, and the model's cache."""

    def __init__(
        self,
        model: Any,
        prompts: Tensor,
        samples: int,
        temperature: float,
        draws: Tensor,
        ends: tuple[int, ...],
        over: Callable[[Sequence[int]], int] | None = None,
    ) -> None:
        self.over = over
        self.model, self.temperature = model, temperature
        self.draws = iter(draws.T)
        self.tokens = prompts.clamp(min=0)
        self.seen = prompts >= 0
        self.ends = torch.tensor(ends, device=prompts.device, dtype=torch.long)
        self.takes = accepted(model)
        self.ended_at: list[Tensor] = []  # of each answer, (rows,): the place of its last token
        self.cut: list[Tensor] = []
        out = self._forward(self.tokens, None)
        self.cache, self.logits = out.past_key_values, out.logits[:, -1]
        if samples > 1:  # problems are read once, and their caches repeated
            self.cache.batch_repeat_interleave(samples)
            self.logits, self.tokens, self.seen = (
                tensor.repeat_interleave(samples, 0) for tensor in (self.logits, self.tokens, self.seen)
            )

    def _forward(self, tokens: Tensor, cache: Any) -> Any:
        options: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in self.takes else {}
        places = reading(self.seen, self.takes, last=tokens.shape[1])
        return self.model(input_ids=tokens, past_key_values=cache, use_cache=True, **places, **options)

    def answer(self, longest: int) -> slice:
        """Write an answer of at most `longest` tokens; return its columns."""
        rows = len(self.tokens)
        start = self.tokens.shape[1]
        ended = torch.zeros(rows, dtype=torch.bool, device=self.tokens.device)
        last = torch.zeros(rows, dtype=torch.long, device=self.tokens.device)
        for place in range(longest):
            token = self._choose()
            last = torch.where(ended, last, place)
            ending = torch.isin(token, self.ends) if len(self.ends) else ended
            self._append(token[:, None], (~ended & ~ending)[:, None])
            ended = ended | ending
            if self.over:
                ended = ended | self._by_words(start, ended, last)
            if place + 1 == longest or ((len(self.ends) or self.over) and ended.all()):
                break
            self._advance(1)
        self.ended_at.append(last)
        # where nothing ends an answer it has a fixed length, and is never cut off
        self.cut.append(~ended if len(self.ends) or self.over else ended)
        self.unread = 1
        return slice(start, self.tokens.shape[1])

    def _by_words(self, start: int, ended: Tensor, last: Tensor) -> Tensor:
        """Return which rows have ended with words just now; where these begin is `last`, and they are unseen."""
        assert self.over is not None
        found = torch.zeros_like(ended)
        for row in torch.nonzero(~ended)[:, 0].tolist():
            place = self.over(self.tokens[row, start:].tolist())
            if place >= 0:
                found[row], last[row] = True, place
                self.seen[row, start + place :] = False
        return found

    def read(self, tokens: tuple[int, ...]) -> None:
        """Read the same tokens in every row, together with the answer's last one, not yet read."""
        more = torch.tensor(tokens, device=self.tokens.device).expand(len(self.tokens), -1)
        self._append(more, torch.ones_like(more, dtype=torch.bool))
        self._advance(self.unread + len(tokens))

    def show_another(self, part: slice, samples: int) -> None:
        """Put the next problem's answer in place of each row's own, and forget the cache."""
        self.own_tokens, self.own_seen = self.tokens[:, part].clone(), self.seen[:, part].clone()
        self.tokens[:, part] = self.own_tokens.roll(-samples, 0)
        self.seen[:, part] = self.own_seen.roll(-samples, 0)
        self.cache, self.unread = None, self.tokens.shape[1]

    def _choose(self) -> Tensor:
        if self.temperature == 0:
            return self.logits.argmax(-1)
        reached = (self.logits.float() / self.temperature).softmax(-1).cumsum(-1)  # (rows, vocabulary)
        whole = reached[:, -1:]
        token = torch.searchsorted(reached, next(self.draws)[:, None] * whole, right=True)
        return token.minimum((reached < whole).sum(-1, keepdim=True))[:, 0]  # none that has no chance

    def _append(self, tokens: Tensor, seen: Tensor) -> None:
        self.tokens = torch.cat([self.tokens, tokens], dim=1)
        self.seen = torch.cat([self.seen, seen], dim=1)

    def _advance(self, columns: int) -> None:
        out = self._forward(self.tokens[:, -columns:], self.cache)
        self.cache, self.logits = out.past_key_values, out.logits[:, -1]


@torch.no_grad()
def reading(seen: Tensor, takes: Any, last: int) -> dict[str, Tensor]:
    """Return attention mask and positions of the last columns; nothing where every column is seen."""
    if seen.device.type == "meta" or bool(seen.all()):
        return {}
    mask = seen.long()
    places = {"attention_mask": mask}
    if "position_ids" in takes:
        places["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)[:, -last:]
    return places


def scores(model: Any, tokens: Tensor, seen: Tensor, start: int) -> Tensor:
    """Return the logits that predict the columns from `start` on, (rows, columns - start, vocabulary)."""
    takes = accepted(getattr(model, "module", model))
    inputs, length = tokens[:, :-1], tokens.shape[1]
    options: dict[str, Any] = {}
    if "logits_to_keep" in takes:
        options["logits_to_keep"] = length - start
    places = reading(seen[:, :-1], takes, last=length - 1)
    logits: Tensor = model(input_ids=inputs, use_cache=False, **places, **options).logits
    return logits[:, -(length - start) :]


def answer_log_probs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return the log-probability of each of `tokens` (rows, length) under `logits` at the same places."""
    return logits.float().log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
