"""The baselines that imitate filtered traces: STaR, and Pair-SFT after Welleck et al.

Pair-SFT glues a wrong and a right answer of the same problem into a trace, once. STaR samples whole episodes
and keeps those whose second answer is right, in three rounds, each from the policy as it then is. Only the
second answer's tokens are trained: nobody should learn to answer wrong first. Still the weights are shared.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data.batches import Counted
from harness.data.jsonl import read_jsonl
from harness.errors import HarnessError
from harness.fit import whole
from harness.nn.generate import pad_left
from harness_score.asked import asked, opened
from harness_score.episodes import Episodes, answer_log_probs, sample, scores
from harness_score.judging import pieces
from harness_score.looks import Looks
from harness_score.policies import Policy
from harness_score.settings import Trains
from harness_score.verifiers import Verify

ROUNDS = {Trains.pair_sft: 1, Trains.star: 3}


def imitation(run: Any, policy: Policy, verify: Verify) -> tuple[Imitate, Draws, int]:
    """Return the step, the batches and the number of steps of a baseline that imitates traces."""
    step = Imitate(run, policy, verify)
    return step, Draws(run.task.sft_batch, run.seed), run.task.sft_steps


class Imitate(Looks):
    """The step of supervised fine-tuning on traces, which are made anew at the beginning of each round."""

    def __init__(self, run: Any, policy: Policy, verify: Verify) -> None:
        super().__init__(run, verify)
        self.policy, self.problems = policy, read_jsonl(run.data_dir / "train.jsonl")
        self.each = -(-run.task.sft_steps // ROUNDS[run.method.trains])
        self.round, self.traces = -1, (torch.empty(0), torch.empty(0), torch.empty(0))
        self.start = max(len(row["ids"]) for row in self.problems)

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss of the second answers of a batch of traces."""
        self.renew(getattr(model, "module", model), batch)
        picked = (batch["draw"] * len(self.traces[0])).long()
        tokens, seen, second = (part[picked] for part in self.traces)
        return trace_loss(model, tokens, seen, second, self.start)

    @torch.no_grad()
    def renew(self, model: Any, batch: dict[str, Tensor]) -> None:
        """Look if it is time, and make the traces of a new round."""
        step = int(batch["step"][0])
        self.due(model, step)
        if step // self.each != self.round:
            self.round = step // self.each
            with whole(model):
                self.traces = self.made(model, batch["draw"].device)

    def made(self, model: Any, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return this round's traces: tokens, what is seen, the second answers' mask; from disk if they are there."""
        path = self.run.checkpoint.with_name(f"traces-{self.round}.pt")  # the run's processes share it
        if not path.exists():
            partial = path.with_suffix(f".{os.getpid()}")
            torch.save(tuple(part.cpu() for part in self.sampled(model, device)), partial)
            os.replace(partial, path)
        tokens, seen, second = torch.load(path, map_location=device, weights_only=True)
        return tokens, seen, second

    def sampled(self, model: Any, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Sample from `model` and filter. Raises HarnessError where no trace is left."""
        first = (self.run.seed * 1009 + self.round) * 1_000_003  # the seed of the first problem
        draw = np.random.default_rng([self.run.seed, self.round])
        pairs = self.method.trains is Trains.pair_sft
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        engine = opened(self.run, self.tokenizer)  # of pair_sft alone: its one round is the base's
        write: Any = (
            functools.partial(asked, engine)
            if engine
            else functools.partial(sample, model, tokenizer=self.tokenizer)
        )
        for rows in pieces(self.problems, max(self.task.judge_batch // self.task.sft_samples, 2)):
            prompts = pad_left([row["ids"] for row in rows]).to(device)
            prompts = torch.nn.functional.pad(prompts, (self.start - prompts.shape[1], 0), value=-1)
            episodes = write(
                prompts, self.turns, samples=self.task.sft_samples, temperature=self.task.temperature,
                seeds=range(first, first + len(rows)), only_first=pairs,
            )  # fmt: skip
            first += len(rows)
            right = [
                np.array(self.rewarded(rows, episodes, turn)).reshape(len(rows), -1)
                for turn in ((1,) if pairs else (1, 2))
            ]
            if pairs:
                found += self.paired(episodes, right[0], draw)
            else:
                kept = (right[1] == 1) & ((right[0] < 1) | self.method.keep_right)
                picked = torch.from_numpy(np.flatnonzero(kept.ravel())).to(device)
                found.append(self.widened(episodes, picked, picked))
        if not sum(len(tokens) for tokens, _, _ in found):
            raise HarnessError(
                f"none of {self.task.sft_samples} samples of {len(self.problems)} problems made a trace that ends "
                "right: raise task.sft_samples, or give easier problems or a better base"
            )
        tokens, seen, second = (torch.cat(parts) for parts in zip(*found, strict=True))
        return tokens, seen, second

    def paired(
        self, episodes: Episodes, right: np.ndarray, draw: np.random.Generator
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Glue each wrong answer (with `keep_right`, each answer) to a right one of its problem."""
        firsts, seconds = [], []
        for problem, row in enumerate(right):
            good = np.flatnonzero(row == 1)
            if len(good):
                own = np.arange(len(row)) if self.method.keep_right else np.flatnonzero(row < 1)
                firsts += (problem * len(row) + own).tolist()
                seconds += (problem * len(row) + draw.choice(good, len(own))).tolist()
        device = episodes.tokens.device
        return [self.widened(episodes, torch.tensor(firsts, device=device, dtype=torch.long),
                             torch.tensor(seconds, device=device, dtype=torch.long))]  # fmt: skip

    def widened(self, episodes: Episodes, firsts: Tensor, seconds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows [x1 | y1 of `firsts` | p1 | y2 of `seconds`], all of the longest width."""
        mask = episodes.second if bool(episodes.second.any()) else episodes.first
        (t1, s1, _), (t2, s2, m2) = (
            self.column_block(episodes, rows, part, longest)
            for rows, part, longest in (
                (firsts, episodes.first, self.turns.first),
                (seconds, mask, self.turns.second),
            )
        )
        rows = len(firsts)
        between = torch.tensor(self.turns.correction, device=t1.device).expand(rows, -1)
        tokens = torch.cat([episodes.tokens[firsts, : self.start], t1, between, t2], dim=1)
        seen = torch.cat(
            [episodes.seen[firsts, : self.start], s1, torch.ones_like(between, dtype=torch.bool), s2], dim=1
        )
        second = torch.zeros_like(seen)
        second[:, -m2.shape[1] :] = m2
        return tokens, seen, second

    def column_block(
        self, episodes: Episodes, rows: Tensor, part: Tensor, longest: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return tokens, seen and mask of an answer's columns, padded on the right to `longest`."""
        columns = torch.nonzero(part.any(dim=0))[:, 0]
        low, high = int(columns[0]), int(columns[-1]) + 1
        more = (0, longest - (high - low))
        block = (episodes.tokens[rows, low:high], episodes.seen[rows, low:high], part[rows, low:high])
        tokens, seen, mask = (torch.nn.functional.pad(each, more) for each in block)
        return tokens, seen, mask


def trace_loss(model: Any, tokens: Tensor, seen: Tensor, second: Tensor, start: int) -> Tensor:
    """Return the mean over rows of the mean loss of each second answer's tokens."""
    logits = scores(model, tokens, seen, start)
    log_probs = answer_log_probs(logits, tokens[:, start:])
    mask = second[:, start:]
    return -(torch.where(mask, log_probs, 0.0).sum(-1) / mask.sum(-1).clamp(min=1)).mean()


class Draws(Counted):
    """Endless batches of random numbers in [0, 1) that pick traces; batch n follows from the seed and n."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed

    def __next__(self) -> dict[str, Tensor]:
        draw = np.random.default_rng([self.seed, 17, self.drawn]).random(self.size)
        batch = {"draw": torch.from_numpy(draw), "step": torch.full((self.size,), self.drawn)}
        self.drawn += 1
        return batch
