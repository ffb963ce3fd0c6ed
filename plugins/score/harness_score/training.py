"""Train the policy: two-stage, two-turn REINFORCE on its own samples (its baselines: `imitation`).

A step draws problems, samples two-turn episodes, asks the verifier, and takes one gradient of both turns'
log-probabilities, each weighted by its own advantage, and of their KL to the base. Between steps it looks at
the validation problems: guards may stop the run, and the best weights are kept, by the last turn that is trained.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from harness.data.batches import Counted, Shuffled
from harness.data.jsonl import read_jsonl
from harness.fit import VOCABULARY, recipe, seed_everything, trial_step, whole
from harness.nn.generate import pad_left
from harness.tools import write_json
from harness_score.asked import compared, refuse
from harness_score.credit import Credit, credit, kl, kl_loss, policy_loss
from harness_score.episodes import Episodes, answer_log_probs, sample, scores
from harness_score.guards import Guard
from harness_score.looks import Looks
from harness_score.policies import CHOSEN, Policy
from harness_score.preparation import read_turns
from harness_score.settings import Baseline, Per, Score, Trains
from harness_score.verifiers import Verify, verifier


def train(run: Any, verify: Verify | None = None) -> None:
    """Train what `run.method` trains; leave `policy-<step>/` and `chosen.json` in `run.output_dir`.

    `verify` is a verifier of your own (see `verifiers`); by default the one that the task names.
    """
    refuse(run)
    if run.method.trains is Trains.nothing:
        compare(run, Policy.of(run))  # the seed's base is made, or found
        write_json(run.output_dir / CHOSEN, {"folder": "", "step": 0})
        for name in ("train_tokens_per_second", "train_peak_memory"):
            run.absent(name, "nothing is trained")
        return
    verify = verify or verifier(run.task)
    policy = Policy.of(run)
    compare(run, policy)
    seed_everything(run.seed)
    step: Any
    batches: Any
    if run.method.trains is Trains.policy:
        step, batches, steps = reinforcement(run, policy, verify)
    else:
        from harness_score.imitation import imitation

        step, batches, steps = imitation(run, policy, verify)
    rate = run.task.learning_rate * run.method.rate
    own = {"steps": steps, "schedule": "constant", "learning_rate": rate}
    run.fit(policy.model, batches, step, **recipe(run.task) | own)
    step.look(policy.model, steps)


def compare(run: Any, policy: Policy) -> None:
    """Say how far an engine's log-probabilities are from the base's, where there is an engine."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.data_dir / "tokenizer")
    problems = read_jsonl(run.data_dir / "train.jsonl")
    compared(run, policy.model, tokenizer, read_turns(run.data_dir), problems)


def reinforcement(run: Any, policy: Policy, verify: Verify) -> tuple[Reinforce, Prompts, int]:
    """Return the step, the batches and the number of steps of SCoRe and of the other policy-gradient arms."""
    problems = read_jsonl(run.data_dir / "train.jsonl")
    guard = Guard(run.task)
    prompts = Prompts(problems, run.task.prompts, run.seed, guard)
    return Reinforce(run, policy, verify, problems, guard), prompts, run.task.steps


class Reinforce(Looks):
    """The step of a policy-gradient method, for `harness.fit.fit`."""

    def __init__(
        self, run: Any, policy: Policy, verify: Verify, problems: list[dict[str, Any]], guard: Guard
    ) -> None:
        super().__init__(run, verify)
        self.policy, self.problems, self.guard = policy, problems, guard
        self.stage_one = round(self.task.steps * self.method.stage_one) if self.method.turns == 2 else 0
        self.first_kept = min(self.stage_one + 1, self.task.steps)

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """Sample, judge and return the loss of a batch of prompts."""
        step, episodes, first, second, weights = self.judged(getattr(model, "module", model), batch)
        start = batch["prompts"].shape[1]
        loss, nats = episode_loss(model, self.policy, episodes, weights, self.method, start)
        self.tell(step, first, second, weights, nats, episodes)
        return loss

    @torch.no_grad()
    def judged(self, model: Any, batch: dict[str, Tensor]) -> tuple[int, Episodes, Tensor, Tensor, Credit]:
        """Return the step, a batch's episodes, both turns' rewards and who is credited: what a GPU is waited for."""
        step = int(batch["step"][0])
        self.due(model, step)
        with whole(model):
            episodes = sample(
                model, batch["prompts"], self.turns, samples=self.task.samples, temperature=self.task.temperature,
                seeds=batch["seed"], only_first=self.method.turns == 1, blank=self.method.blank,
                tokenizer=self.tokenizer,
            )  # fmt: skip
        first, second = self.rewards(batch["rows"].tolist(), episodes)
        return step, episodes, first, second, self.credit(first, second, step)

    def rewards(self, rows: list[int], episodes: Episodes) -> tuple[Tensor, Tensor]:
        """Return the verifier's rewards of both turns, (problems, samples) each."""
        asked = [self.problems[row] for row in rows]
        given = [self.rewarded(asked, episodes, turn) for turn in range(1, self.method.turns + 1)]
        found = torch.tensor(given, device=episodes.tokens.device).view(len(given), len(rows), -1)
        return found[0], found[-1]

    def credit(self, first: Tensor, second: Tensor, step: int) -> Credit:
        """Return who is credited with what at this step."""
        method = self.method
        if method.turns == 1:
            alone = credit(first, first, stage=2, alpha=0.0, beta1=method.beta1, beta2=0.0)
            return alone._replace(second=torch.zeros_like(first), kl_second=0.0)
        return credit(
            first, second, stage=1 if step < self.stage_one else 2, alpha=method.alpha, beta1=method.beta1,
            beta2=method.beta2, gamma=method.gamma, conditioned=method.baseline is Baseline.conditioned,
        )  # fmt: skip

    @torch.no_grad()
    def tell(
        self,
        step: int,
        first: Tensor,
        second: Tensor,
        weights: Credit,
        nats: tuple[Tensor, Tensor],
        episodes: Episodes,
    ) -> None:
        """Note what the next look logs, and let the guard see it."""
        idle = ((weights.first == 0) & (weights.second == 0)).all(dim=1).float().mean().item()
        cut = episodes.cut[:, : self.method.turns].float().mean().item()
        kl_t1, kl_t2 = (each.item() for each in nats)
        self.told = {
            "reward_t1": first.mean().item(), "reward_t2": second.mean().item(), "kl_t1": kl_t1,
            "kl_t2": kl_t2, "groups_without_advantage": idle, "answers_cut_off": cut,
            "stage": 1.0 if step < self.stage_one else 2.0,
        }  # fmt: skip
        self.guard.stepped(step, max(kl_t1, kl_t2), idle < 1, cut)

    def validated(self, step: int, first: float) -> None:
        if self.method.guarded:  # a control must end with a figure; the looks log how far it fell
            self.guard.validated(step, first)


def episode_loss(
    model: Any, policy: Policy, episodes: Episodes, weights: Credit, method: Score, start: int
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the mean loss of the episodes, and the mean KL of both turns in nats an answer.

    Column `start` is the first of y1. Where turn 2 was shown another answer, it is scored in a pass of its own.
    """
    estimator, per_token = method.kl.name, method.kl_per is Per.token
    turns = [(episodes.first, weights.first, weights.kl_first)]
    if method.turns == 2:
        turns.append((episodes.second, weights.second, weights.kl_second))
    passes = [(episodes.tokens, episodes.seen, turns)]
    if episodes.shown is not None and episodes.shown_seen is not None:
        passes = [
            (episodes.tokens, episodes.seen, turns[:1]),
            (episodes.shown, episodes.shown_seen, turns[1:]),
        ]
    losses, nats = [], []
    for tokens, seen, own in passes:
        logits = scores(model, tokens, seen, start).float()
        base, as_base = policy.reference()
        with torch.no_grad(), as_base:
            reference = scores(base, tokens, seen, start).float()
        answered = tokens[:, start:]
        log_probs = answer_log_probs(logits, answered)
        for columns, advantage, beta in own:
            mask = columns[:, start:]
            each = kl(logits, reference, answered, mask, estimator)
            losses.append(policy_loss(advantage.flatten(), log_probs, mask))
            losses.append(beta * kl_loss(each, log_probs, estimator, per_token, mask))
            nats.append(each.detach().sum(-1).mean())
    return torch.stack(losses).sum(0).mean(), (nats[0], nats[-1])


class Prompts(Counted):
    """Endless batches of the training problems, each pass in an order of its own that follows from the seed."""

    def __init__(self, problems: list[dict[str, Any]], size: int, seed: int, guard: Guard) -> None:
        self.rows = Shuffled(range(len(problems)), size, seed)
        self.problems, self.seed, self.guard = problems, seed, guard

    def __next__(self) -> dict[str, Tensor]:
        rows = self.rows.places(self.drawn)
        seed = self.seed * 1_000_003 + self.drawn * 1009
        batch = {
            "prompts": pad_left([self.problems[row]["ids"] for row in rows]),
            "rows": torch.tensor(rows),
            "step": torch.full((len(rows),), self.drawn),
            "seed": seed + torch.arange(len(rows)),
        }
        self.drawn += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"guard": dict(self.guard.state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.guard.state.update(state["guard"])


def training_step(run: Any, device: str) -> None:
    """Do one whole step on random episodes of the task's shape (for the contract kit)."""
    from harness_score.addition import small

    if run.method.trains is Trains.nothing:
        return
    task = run.task
    start, answer = 2 * task.digits + 2, task.digits + 1
    shape = (4, start + 2 * answer + 1)
    with torch.device(device):
        base, given = small(task, VOCABULARY), torch.rand(2, 2)
        columns = torch.arange(shape[1]).expand(shape)
        cut = torch.zeros(shape[0], 2, dtype=torch.bool)
    first, second = (columns >= start) & (columns < start + answer), columns > start + answer
    seen = torch.ones_like(first)
    weights = credit(given, given, stage=2, alpha=run.method.alpha, beta1=0.01, beta2=0.1)

    def loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
        tokens = batch["input_ids"]
        shown = (tokens, seen) if run.method.blank else (None, None)
        episodes = Episodes(tokens, seen, first, second, cut, *shown)
        return episode_loss(model, Policy(model, base), episodes, weights, run.method, start)[0]

    trial_step(functools.partial(small, task), loss, shape, device)
