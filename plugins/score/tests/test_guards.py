"""Guards stop a training with a sentence; each stays silent in a healthy one."""

import pytest
from harness_score.guards import Guard, Guarded
from harness_score.settings import Task


def healthy(guard, steps=100):
    for step in range(steps):
        if step % 10 == 0:
            guard.validated(step, 0.6 - 0.1 * (step > 50))
        guard.stepped(step, kl=2.0, live=step % 5 == 0, cut=0.1)


def test_a_healthy_training_goes_on():
    guard = Guard(Task())
    healthy(guard)
    assert guard.state["step"] == 99


def test_answering_worse_first_stops_it():
    guard = Guard(Task(most_drop=0.2))
    guard.validated(0, 0.6)
    guard.validated(25, 0.41)
    with pytest.raises(Guarded, match=r"fell from the base's 60.0% to 39.0%.*sandbagging"):
        guard.validated(50, 0.39)


@pytest.mark.parametrize("kl", [101.0, float("nan"), float("inf")])
def test_a_kl_that_explodes_stops_it(kl):
    with pytest.raises(Guarded, match="nats"):
        Guard(Task(most_kl=100.0)).stepped(3, kl=kl, live=True, cut=0.0)


def test_answers_cut_off_stop_it():
    with pytest.raises(Guarded, match=r"60% of the answers.*answer_tokens"):
        Guard(Task(most_truncated=0.5)).stepped(0, kl=0.0, live=True, cut=0.6)


def test_groups_that_never_differ_stop_it():
    guard = Guard(Task(most_idle=5))
    for step in range(13):
        guard.stepped(step, kl=0.0, live=step < 8, cut=0.0)
    with pytest.raises(
        Guarded, match="all samples of each problem had one reward"
    ):  # five whole steps since 7
        guard.stepped(13, kl=0.0, live=False, cut=0.0)


def test_the_pieces_of_a_step_count_once():
    guard = Guard(Task(most_idle=5))
    for step in range(20):
        for piece in range(8):
            guard.stepped(step, kl=0.0, live=piece == 3, cut=0.0)
    assert guard.state["idle"] == 0


def test_a_resumed_guard_remembers():
    guard, again = Guard(Task()), Guard(Task())
    guard.validated(0, 0.9)
    again.state.update(dict(guard.state))
    with pytest.raises(Guarded):
        again.validated(50, 0.5)
