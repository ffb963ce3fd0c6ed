"""Stop a training that has gone wrong, with a sentence that says how; what was kept so far stays.

The best-known failure is sandbagging: turn 1 learns to be wrong so that turn 2 can gain. It shows as turn-1
accuracy far below the base's. The others: the KL explodes, no group of samples has an advantage any more,
answers are cut off before they end.
"""

from __future__ import annotations

from typing import Any

from harness.errors import HarnessError


class Guarded(HarnessError):
    """A guard stopped the training."""


class Guard:
    """Watch a training; `state` is what a resumed one must remember."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self.state: dict[str, Any] = {"start": None, "idle": 0, "step": -1, "live": True}

    def validated(self, step: int, accuracy: float) -> None:
        """Compare turn-1 accuracy on validation with what it was before training."""
        if self.state["start"] is None:
            self.state["start"] = accuracy
        start, most = self.state["start"], self.task.most_drop
        if accuracy < start - most:
            raise Guarded(
                f"turn-1 accuracy on validation fell from the base's {start:.1%} to {accuracy:.1%} by step {step}: the "
                "policy answers worse first so as to gain at turn 2 (sandbagging); keep gamma=0 and a lower alpha, "
                "raise beta2, or allow more with task.most_drop"
            )

    def stepped(self, step: int, kl: float, live: bool, cut: float) -> None:
        """Look at a step's largest mean KL (nats an answer), whether any group had an advantage, and cut answers."""
        task, state = self.task, self.state
        if not kl <= task.most_kl:
            raise Guarded(
                f"the policy lies {kl:.3g} nats an answer from its base at step {step}: lower the learning rate, "
                "raise beta1, or allow more with task.most_kl"
            )
        if cut > task.most_truncated:
            raise Guarded(
                f"{cut:.0%} of the answers at step {step} were cut off before they ended: raise task.answer_tokens "
                "(and task.length), or allow more with task.most_truncated"
            )
        if step != state["step"]:  # a step may come in several pieces
            state["idle"] = 0 if state["live"] else state["idle"] + 1
            state["step"], state["live"] = step, False
        state["live"] = state["live"] or live
        if state["idle"] >= task.most_idle:
            raise Guarded(
                f"for {state['idle']} steps up to {step} all samples of each problem had one reward, so nothing is "
                "learned: give easier or harder problems, more task.samples, or check the verifier"
            )
