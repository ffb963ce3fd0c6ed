"""Look at the validation problems between steps: log, let a guard decide, and offer the weights to be kept."""

from __future__ import annotations

from typing import Any

from harness.data.jsonl import read_jsonl
from harness.fit import whole
from harness_score.episodes import Episodes
from harness_score.judging import decode, judge
from harness_score.policies import Keeper
from harness_score.preparation import read_turns
from harness_score.settings import Score
from harness_score.verifiers import Verify, rewards


class Looks:
    """Look at the validation problems every so often, once a step, and offer the weights to be kept."""

    first_kept = 1

    def __init__(self, run: Any, verify: Verify) -> None:
        from transformers import AutoTokenizer

        self.run, self.task, self.verify = run, run.task, verify
        self.method: Score = run.method
        self.tokenizer = AutoTokenizer.from_pretrained(run.data_dir / "tokenizer")
        self.turns = read_turns(run.data_dir)
        self.held = read_jsonl(run.data_dir / "validation.jsonl")
        self.keeper = Keeper(run)
        self.looked = -1
        self.told: dict[str, float] = {}

    def due(self, model: Any, step: int) -> None:
        """Look before `step` if it is time."""
        if step % self.task.validate_every == 0 and step != self.looked:
            self.look(model, step)

    def look(self, model: Any, step: int) -> None:
        """Judge the policy on validation after `step` steps, log it, and keep it if it is the best."""
        self.looked = step
        with whole(model):
            self._judge(model, step)

    def _judge(self, model: Any, step: int) -> None:
        found = judge(
            model, self.held, self.turns, self.tokenizer, self.verify, self.task, blank=self.method.blank
        )
        first, second = found.accuracy
        if self.run.rank == 0:
            self.run.log(step, validation_accuracy_t1=first, validation_accuracy_t2=second, **self.told)
        self.validated(step, first)
        if step >= self.first_kept and self.run.rank == 0:
            value = found.accuracy[(self.method.kept_by or self.method.turns) - 1]
            self.keeper.offer(model, step, value, accuracy_t1=first, accuracy_t2=second)

    def rewarded(self, rows: list[dict[str, Any]], episodes: Episodes, turn: int) -> list[float]:
        """Return the verifier's rewards of a turn; each row of `rows` has equally many episodes."""
        samples = len(episodes.tokens) // len(rows)
        asked = [row for row in rows for _ in range(samples)]
        texts = decode(self.tokenizer, episodes.answers(turn))
        return rewards(self.verify, asked, texts, self.task.verifier_seconds)

    def validated(self, step: int, first: float) -> None:
        """Let a guard look, where there is one."""
