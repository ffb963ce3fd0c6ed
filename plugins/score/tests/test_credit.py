"""The laws of the credit: who is rewarded for what, and that each estimator has the KL's own gradient."""

import itertools

import pytest
import torch
from harness_score import leave_one_out, shaped_rewards
from harness_score.credit import credit, kl, kl_loss, policy_loss

WEIGHTS = {"alpha": 10.0, "beta1": 0.01, "beta2": 0.1}


def pair(first, second):
    return torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64)


def test_progress_is_rewarded_and_its_loss_punished_at_turn_two_alone():
    first, second = pair([0, 0, 1, 1], [0, 1, 0, 1])
    turn1, turn2 = shaped_rewards(first, second, alpha=10)
    assert turn1.tolist() == [0, 0, 1, 1]
    assert turn2.tolist() == [0, 11, -10, 1]  # stays wrong, fixes, spoils, stays right


def test_without_alpha_both_turns_keep_the_verifiers_reward():
    first, second = pair([0, 1], [1, 0])
    turn1, turn2 = shaped_rewards(first, second, alpha=0)
    assert torch.equal(turn1, first)
    assert torch.equal(turn2, second)


def test_a_sample_is_compared_with_the_mean_of_the_others():
    found = leave_one_out(torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    expected = torch.tensor([[1.0, -1 / 3, -1 / 3, -1 / 3], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(found, expected)


def test_one_sample_has_no_others():
    with pytest.raises(ValueError, match="two samples"):
        leave_one_out(torch.ones(3, 1))


def test_stage_one_rewards_turn_two_alone_and_holds_turn_one_to_the_base():
    first, second = pair([[1, 0]], [[1, 0]])
    found = credit(first, second, stage=1, **WEIGHTS)
    assert found.first.tolist() == [[0, 0]]
    assert found.second.tolist() == [[1, -1]]  # no bonus yet
    assert (found.kl_first, found.kl_second) == (pytest.approx(0.11), 0.01)


def test_stage_two_rewards_both_turns_and_frees_turn_one():
    first, second = pair([[1, 0]], [[0, 1]])
    found = credit(first, second, stage=2, **WEIGHTS)
    assert found.first.tolist() == [[1, -1]]
    assert found.second.tolist() == [[-21, 21]]  # -10 against 11
    assert (found.kl_first, found.kl_second) == (0.01, 0.01)


@pytest.mark.parametrize("stage", [1, 2])
def test_no_shaped_reward_reaches_turn_one(stage):
    first, _ = pair([[1, 0, 0, 1]], [[0, 0, 0, 0]])
    outcomes = [
        credit(first, torch.tensor([second], dtype=torch.float64), stage=stage, **WEIGHTS).first
        for second in itertools.product((0, 1), repeat=4)
    ]
    assert all(torch.equal(found, outcomes[0]) for found in outcomes)


def test_with_gamma_one_it_would_pay_to_be_wrong_first():
    first, second = pair([[1, 0]], [[1, 1]])  # both end right
    assert credit(first, second, stage=2, gamma=1.0, **WEIGHTS).first[0, 1] > 0  # the wrong start is praised
    assert credit(first, second, stage=2, gamma=0.0, **WEIGHTS).first[0, 1] < 0


def two_turn_gradients(how, draws=4000):
    """Return turn-2 gradients, (draws, 4), of a softmax policy over (y1, y2) in {right, wrong}^2, four samples each."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.tensor([[0.3, -0.2], [0.8, 0.1]], dtype=torch.float64)  # [y1][y2]
    chances = logits.softmax(-1)
    first = (torch.rand(draws, 4, generator=generator) < 0.6).double()
    second = (torch.rand(draws, 4, generator=generator) < chances[first.long(), 1]).double()
    advantage = how(first, second)
    score = torch.nn.functional.one_hot(second.long(), 2) - chances[first.long()]  # grad log pi(y2 | y1)
    seen = torch.nn.functional.one_hot(first.long(), 2).double()
    return (advantage[..., None, None] * seen[..., :, None] * score[..., None, :]).mean(1).flatten(1)


def test_in_expectation_the_bonus_is_a_weight_of_turn_two():
    bonus = two_turn_gradients(lambda a, b: credit(a, b, stage=2, **WEIGHTS).second)
    weight = two_turn_gradients(lambda a, b: leave_one_out(11 * b))
    apart = bonus - weight
    error = apart.std(0) / len(apart) ** 0.5
    assert (apart.mean(0).abs() < 4 * error + 1e-12).all()
    assert (weight.mean(0).abs() > 8 * error).any()  # the noise is small against what is compared


def test_conditioned_on_the_first_answer_the_mean_stays_and_the_variance_falls():
    plain = two_turn_gradients(lambda a, b: credit(a, b, stage=2, **WEIGHTS).second)
    given = two_turn_gradients(lambda a, b: credit(a, b, stage=2, conditioned=True, **WEIGHTS).second)
    error = (plain - given).std(0) / len(plain) ** 0.5
    assert ((plain - given).mean(0).abs() < 4 * error + 1e-12).all()
    assert given.var(0).sum() < 0.75 * plain.var(0).sum()


def one_token(estimator, per_token=False):
    """Return the expected gradient of the KL term of one-token answers, over every token, and the true one."""
    logits = torch.tensor([0.5, -1.0, 0.2, 1.5], dtype=torch.float64, requires_grad=True)
    base = torch.tensor([-0.3, 0.4, 1.0, 0.0], dtype=torch.float64)
    tokens = torch.arange(4)[:, None]
    rows, mask = logits.expand(4, 1, 4), torch.ones(4, 1, dtype=torch.bool)
    each = kl(rows, base.expand(4, 1, 4), tokens, mask, estimator)
    log_probs = logits.log_softmax(-1)[:, None]
    loss = kl_loss(each, log_probs, estimator, per_token, mask)
    chance = logits.detach().softmax(-1)
    (found,) = torch.autograd.grad((chance * loss).sum(), logits)
    ours, theirs = logits.log_softmax(-1), base.log_softmax(-1)
    (true,) = torch.autograd.grad((ours.exp() * (ours - theirs)).sum(), logits)
    value = (chance * each.detach().sum(-1)).sum()
    return found, true, value, (chance * (ours - theirs).detach()).sum()


@pytest.mark.parametrize("estimator", ["exact", "k1", "k3"])
def test_every_estimator_has_the_value_and_the_gradient_of_the_kl(estimator):
    found, true, value, expected = one_token(estimator)
    torch.testing.assert_close(found, true)
    torch.testing.assert_close(value, expected)


def test_a_longer_answer_lies_further_away_in_sequence_and_not_in_token_terms():
    logits, base = torch.zeros(1, 6, 2), torch.tensor([1.0, 0.0]).expand(1, 6, 2)
    tokens, mask = torch.zeros(1, 6, dtype=torch.long), torch.ones(1, 6, dtype=torch.bool)
    each = kl(logits, base, tokens, mask, "exact")
    log_probs = torch.zeros(1, 6)
    whole = kl_loss(each, log_probs, "exact", False, mask)
    mean = kl_loss(each, log_probs, "exact", True, mask)
    torch.testing.assert_close(whole, 6 * mean)


def test_the_kl_of_a_policy_with_itself_is_zero_and_with_another_is_not():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    other = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))
    tokens, mask = torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool)
    assert kl(logits, logits, tokens, mask, "exact").abs().max() < 1e-6
    assert (kl(logits, other, tokens, mask, "exact") > 0.01).all()


def test_an_answer_is_one_action_and_only_its_own_tokens_count():
    log_probs = torch.tensor([[-1.0, -2.0, -4.0]], requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    loss = policy_loss(torch.tensor([0.5]), log_probs, mask)
    assert loss.item() == 1.5
    loss.sum().backward()
    assert log_probs.grad.tolist() == [[-0.5, -0.5, 0.0]]


def bandit(gamma, steps=600):
    """Train a table of two turns; return P(right first), P(right | wrong first), P(right | right first)."""
    generator = torch.Generator().manual_seed(0)
    first = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    second = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)  # [y1][y2]
    optimizer = torch.optim.Adam([first, second], lr=0.05)
    base = torch.zeros(64, 1, 2, dtype=torch.float64)
    mask = torch.ones(64, 1, dtype=torch.bool)
    for step in range(steps):
        with torch.no_grad():
            y1 = (torch.rand(64, generator=generator) < first.softmax(-1)[1]).long()
            y2 = (torch.rand(64, generator=generator) < second.softmax(-1)[y1, 1]).long()
        weights = credit(
            y1.double().view(-1, 4), y2.double().view(-1, 4), stage=1 if step < steps // 3 else 2, gamma=gamma,
            **WEIGHTS,
        )  # fmt: skip
        loss = torch.zeros((), dtype=torch.float64)
        for logits, tokens, advantage, beta in (
            (first.expand(64, 1, 2), y1[:, None], weights.first, weights.kl_first),
            (second[y1][:, None], y2[:, None], weights.second, weights.kl_second),
        ):
            log_probs = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
            each = kl(logits, base, tokens, mask, "exact")
            loss = loss + policy_loss(advantage.flatten(), log_probs, mask).mean()
            loss = loss + beta * kl_loss(each, log_probs, "exact", False, mask).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return first.softmax(-1)[1].item(), *second.softmax(-1)[:, 1].tolist()


def test_a_bandit_learns_to_answer_right_both_times():
    right_first, fixes, keeps = bandit(gamma=0.0)
    assert min(right_first, fixes, keeps) > 0.95


def test_a_bandit_whose_bonus_reaches_turn_one_learns_to_be_wrong_first():
    right_first, fixes, _ = bandit(gamma=1.0)
    assert right_first < 0.05
    assert fixes > 0.95
