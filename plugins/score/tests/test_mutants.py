"""The errors that copies of SCoRe have really made: each must break a law, or the laws are too weak."""

import importlib.util
from pathlib import Path

import pytest
from harness_score import credit as own
from harness_score import episodes as rows

LAWS = (
    "test_progress_is_rewarded_and_its_loss_punished_at_turn_two_alone",
    "test_a_sample_is_compared_with_the_mean_of_the_others",
    "test_stage_one_rewards_turn_two_alone_and_holds_turn_one_to_the_base",
    "test_stage_two_rewards_both_turns_and_frees_turn_one",
    "test_with_gamma_one_it_would_pay_to_be_wrong_first",
    "test_in_expectation_the_bonus_is_a_weight_of_turn_two",
    "test_the_kl_of_a_policy_with_itself_is_zero_and_with_another_is_not",
    "test_an_answer_is_one_action_and_only_its_own_tokens_count",
)
EPISODES = (
    "test_the_second_turn_reads_the_first_answer_as_it_was_generated",
    "test_an_answer_trains_its_end_token_and_nothing_behind_it",
    "test_one_pass_over_padded_rows_scores_as_each_turn_alone",
    "test_samples_follow_the_models_chances",
    "test_turn_two_gives_no_gradient_to_the_first_answers_tokens_and_turn_one_none_to_the_seconds",
)


def kl_with_itself(logits, reference, tokens, mask, estimator):
    return own.kl(logits, logits, tokens, mask, estimator)


def k3_without_its_score(each, log_probs, estimator, per_token, mask):
    return each.sum(-1)


def bonus_for_both(first, second, *, gamma=0.0, **options):
    return own.credit(first, second, gamma=1.0, **options)


def always_stage_two(first, second, *, stage, **options):
    return own.credit(first, second, stage=2, **options)


def bonus_turned(first, second, alpha):
    return first, second + alpha * (first - second)


def own_mean(rewards):
    return rewards - rewards.mean(-1, keepdim=True)


def both_turns_at_once(advantage, log_probs, mask):
    return -advantage * log_probs.sum(-1)


def descending(advantage, log_probs, mask):
    return -own.policy_loss(advantage, log_probs, mask)


MUTANTS = {
    "the KL of a policy with itself": {"kl": kl_with_itself},
    "k3 put into the loss as it is": {"kl_loss": k3_without_its_score},
    "the bonus credited to turn 1 too": {"credit": bonus_for_both},
    "no stage I": {"credit": always_stage_two},
    "the bonus turned": {"shaped_rewards": bonus_turned},
    "a mean with the sample itself in it": {"leave_one_out": own_mean},
    "no mask between the turns": {"policy_loss": both_turns_at_once},
    "a negative reward ascends": {"policy_loss": descending},
}


def arg_max(self):
    """Rewards on what a teacher-forced model thinks most likely: never a sample."""
    return self.logits.argmax(-1)


def without_the_first_answer(self, tokens):
    """A chat template that drops the first answer."""
    self.seen = self.seen.clone()
    self.seen[:, -5:] = False
    return READ(self, tokens)


def one_column_off(logits, tokens):
    return LOG_PROBS(logits.roll(1, 1), tokens)


READ, LOG_PROBS = rows.Writer.read, rows.answer_log_probs


def laws(file):
    """Load a file of laws afresh."""
    spec = importlib.util.spec_from_file_location("laws", Path(__file__).parent / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def broken(changes):
    """Return the laws of the credit that fail with some functions replaced."""
    module = laws("test_credit.py")
    for name, mutant in changes.items():
        setattr(module, name, mutant)
    checks = {name: getattr(module, name) for name in LAWS}
    gradient = module.test_every_estimator_has_the_value_and_the_gradient_of_the_kl
    checks |= {f"the gradient of {name}": lambda e=name: gradient(e) for name in ("exact", "k1", "k3")}
    return failing(checks)


def failing(checks):
    found = []
    for name, check in checks.items():
        try:
            check()
        except AssertionError:
            found.append(name)
    return found


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_known_error_of_the_credit_breaks_a_law(mutant):
    assert broken(MUTANTS[mutant])


def test_the_credit_itself_breaks_none():
    assert broken({}) == []


@pytest.mark.parametrize(
    ("place", "name", "mutant"),
    [
        (rows.Writer, "_choose", arg_max),
        (rows.Writer, "read", without_the_first_answer),
        (None, "answer_log_probs", one_column_off),
    ],
)
def test_a_known_error_of_the_episodes_breaks_a_law(monkeypatch, place, name, mutant):
    module = laws("test_episodes.py")
    monkeypatch.setattr(place or module, name, mutant)
    assert failing(bound(module))


def test_the_episodes_themselves_break_none():
    assert failing(bound(laws("test_episodes.py"))) == []


def bound(module):
    """Return the laws of the episodes on their own small model."""
    model = module.small_model()
    return {name: lambda law=name: getattr(module, law)(model) for name in EPISODES}
