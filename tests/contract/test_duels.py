"""Who wins between two runs: a judge that is none is caught by what it says the other way round, or of a run alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Claim, Items, Metric, wins
from harness.contract.bench import Bench
from harness.contract.checks import _complete, _finished
from harness.contract.duels import fairly, unfair
from tests.contract.test_cheats import HONEST, ROWS, Quiz

WINS = Metric("higher", "share of rows it answers better", range=(0, 1), versus=True)


def evaluate(run: Any, split: str) -> dict[str, Any]:
    scores = np.random.default_rng(run.seed).normal(run.method.skill, 1, size=40).round(1)
    (run.output_dir / "scores.json").write_text(json.dumps(dict(zip(ROWS, scores, strict=False))))
    return {"accuracy": Items({"right": (scores > 0.5).astype(float)}, ROWS[:40]), "other": float(run.seed)}


def scores(folder: Path) -> dict[str, float]:
    return json.loads((folder / "scores.json").read_text())


def versus(one: Path, other: Path, judge: Any = lambda a, b: (1 + np.sign(a - b)) / 2) -> dict[str, Items]:
    ours, theirs = scores(one), scores(other)
    return {"wins": Items({"win": [judge(ours[row], theirs[row]) for row in ours]}, list(ours))}


def quiz(hook: Any = versus) -> Quiz:
    stated = {
        "metrics": {**HONEST.metrics, "wins": WINS},
        "claims": [Claim("It answers better", wins("wins", "clever", over="plain"), "table 1")],
    }
    given = None if hook is None else lambda task, one, other: hook(one, other)
    return Quiz(stated, prepare=None, train=None, evaluate=evaluate, versus=given)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Smoke runs of both methods, made once."""
    bench = Bench(quiz(), tmp_path_factory.mktemp("duels"))
    for method in bench.plugin.paper.methods:
        result, seen = bench.run(method, "first")
        assert not _finished(result, seen)
        assert not _complete(bench.plugin, result)  # its metrics are all there, wins not among them
    return bench


def said(bench: Bench, hook: Any) -> str:
    bench.plugin = quiz(hook)
    ((name, look),) = fairly(bench, list(bench.plugin.paper.methods))
    assert name.startswith("clever over plain")
    return look()


def test_an_honest_judge_is_suspected_of_nothing(finished):
    assert said(finished, versus) == ""


def by_name(one, other):
    return versus(one, other, lambda a, b: 0.5 if one == other else float("clever" in str(one)))


def by_chance(one, other):
    return versus(one, other, lambda a, b: float(np.random.default_rng().random()))


CHEATS = {
    "where the runs lie decides": (by_name, "not by names or chance"),
    "chance decides": (by_chance, "not by names or chance"),
    "the first always wins": (lambda one, other: versus(one, other, lambda a, b: 1.0), "add up to 1"),
    "a tie is a win": (lambda one, other: versus(one, other, lambda a, b: float(a >= b)), "give a tie .5"),
    "it is no wins": (lambda one, other: versus(one, other, lambda a, b: 3.0), "between 0 and 1"),
    "it fails": (lambda one, other: versus(one / "nowhere", other), "FileNotFoundError"),
    "there is none": (None, "implement the hook versus"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_judge_that_is_none_is_told_what_to_change(finished, cheat):
    hook, fix = CHEATS[cheat]
    assert fix in said(finished, hook)


def answer(first=0.5, swapped=0.5, own=0.5, other_own=0.5):
    told = {
        "first": first,
        "again": first,
        "swapped": swapped,
        "self": own,
        "other self": other_own,
    }
    return {name: {"wins": {"q": win}} for name, win in told.items()}


def test_what_adds_up_to_one_and_ties_with_itself_is_fair():
    for win in (0.0, 0.25, 0.5, 1.0):
        assert unfair(answer(win, 1 - win)) == ""
    assert "add up to 1" in unfair(answer(1.0, 0.5))
    assert "against itself" in unfair(answer(1.0, 0.0, own=1.0))
    assert "against itself" in unfair(answer(1.0, 0.0, other_own=0.0))
    assert "other items" in unfair({**answer(), "swapped": {"wins": {"another": 0.5}}})


def test_evaluate_cannot_say_who_wins(tmp_path):
    def alone(run, split):
        return {**evaluate(run, split), "wins": 1.0}

    result, _ = Bench(Quiz(vars(quiz().paper), prepare=None, train=None, evaluate=alone), tmp_path).run(
        "clever", "first"
    )
    assert result is not None
    assert "return it from versus" in result.error["message"]


def test_a_bound_of_wins_lies_where_wins_can():
    from harness.contract.statements import _within_range

    claims = [Claim("x", wins("wins", "clever", over="plain", by=by), "s") for by in (0.0, 0.5, 0.9)]
    assert _within_range(replace(quiz().paper, claims=claims)) == ""
