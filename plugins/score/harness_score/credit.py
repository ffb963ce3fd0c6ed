"""SCoRe in tensors: who is rewarded for what, and what holds the policy near its base.

Two answers, two rewards. Stage I rewards turn 2 alone and pins turn 1 to the base. Stage II rewards both, and
turn 2 for progress besides: alpha (r2 - r1). Each turn is credited with its own reward only (gamma = 0): the
bonus must never reach turn 1's tokens, or being wrong first would pay. With y1 as given context, -alpha r1
is a constant for turn 2, so in expectation the bonus is (1 + alpha) r2: a weight of turn 2, plus variance.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def shaped_rewards(first: Tensor, second: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Return the rewards of turn 1 and turn 2 in stage II, of the shape of `first` and `second`.

    `first` and `second` are the verifier's. Turn 1's is its own; turn 2's has the bonus
    alpha * (second - first).
    """
    return first, second + alpha * (second - first)


def leave_one_out(rewards: Tensor) -> Tensor:
    """Subtract from each reward the mean of its problem's other samples: (problems, samples) -> the same.

    Raises ValueError for fewer than two samples, which leave nothing to compare with.
    """
    samples = rewards.shape[-1]
    if samples < 2:
        raise ValueError("leave-one-out needs at least two samples of each problem")
    return (rewards - rewards.mean(dim=-1, keepdim=True)) * (samples / (samples - 1))


class Credit(NamedTuple):
    """The weight of each answer's log-probability, (problems, samples) each, and of each turn's KL."""

    first: Tensor
    second: Tensor
    kl_first: float
    kl_second: float


def credit(
    first: Tensor,
    second: Tensor,
    *,
    stage: int,
    alpha: float,
    beta1: float,
    beta2: float,
    gamma: float = 0.0,
    conditioned: bool = False,
) -> Credit:
    """Turn two rewards, (problems, samples) each, into advantages of both turns and their KL weights.

    `conditioned` takes -alpha r1 out of turn 2's reward before the leave-one-out mean: it is constant given
    y1, so the expectation stays and the variance falls.
    """
    if stage == 1:  # no reward for turn 1
        return Credit(torch.zeros_like(first), leave_one_out(second), beta1 + beta2, beta1)
    turn1, turn2 = shaped_rewards(first, second, alpha)
    own = (1 + alpha) * second if conditioned else turn2
    return Credit(leave_one_out(turn1 + gamma * turn2), leave_one_out(own), beta1, beta1)


def kl(logits: Tensor, reference: Tensor, tokens: Tensor, mask: Tensor, estimator: str) -> Tensor:
    """Return KL(policy || reference) of each answer token, (rows, length), 0 where `mask` is False.

    `logits` and `reference` are (rows, length, vocabulary), each predicting the token at the same place.
    "exact" sums over the vocabulary; k1 = log p/q and k3 = q/p - 1 - log q/p look at the sampled token alone.
    """
    ours, theirs = logits.log_softmax(-1), reference.log_softmax(-1)
    if estimator == "exact":
        each = (ours.exp() * (ours - theirs)).sum(-1)
    else:
        ratio = (theirs - ours).gather(-1, tokens[..., None])[..., 0]  # log q/p
        each = -ratio if estimator == "k1" else ratio.exp() - 1 - ratio
    return torch.where(mask, each, 0.0)


def kl_loss(each: Tensor, log_probs: Tensor, estimator: str, per_token: bool, mask: Tensor) -> Tensor:
    """Return what to minimise, (rows,), so that its mean gradient is that of the KL of an answer.

    A sampled estimate depends on the policy twice: by its value and by which tokens are sampled. Its own
    gradient alone is not the KL's (k1's is zero in the mean, k3's is that of the reversed KL): the
    score-function term is added, each token with the estimates from it on.
    """
    loss = each
    if estimator != "exact":
        onward = each.flip(-1).cumsum(-1).flip(-1).detach()
        loss = each + onward * torch.where(mask, log_probs, 0.0)
    summed = loss.sum(-1)
    return summed / mask.sum(-1).clamp(min=1) if per_token else summed


def policy_loss(advantage: Tensor, log_probs: Tensor, mask: Tensor) -> Tensor:
    """Return REINFORCE's loss of one turn, (rows,): the answer is one action, its log-probability a sum."""
    return -advantage.detach() * torch.where(mask, log_probs, 0.0).sum(-1)
