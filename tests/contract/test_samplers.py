"""A paper that trains nothing has no empty hooks: it is run, killed and checked like any other."""

from typing import Any

import pytest

from harness import Items
from harness.contract.bench import Bench
from harness.contract.checks import _finished, _resumes
from harness.runs.results import read_result
from tests.contract.test_cheats import ROWS, Quiz

TRIED = "tried.txt"


def sample(run: Any, split: str) -> dict[str, Any]:
    """Answer each row once, or not, by chance; note outside of what is kept how many were asked."""
    import numpy as np

    def answer(row: str) -> float:
        with (run.folder / TRIED).open("a") as file:
            file.write("x")
        return float(np.random.random() < run.method.skill)

    rows = ROWS[:40] if split == "test" else ROWS[40:80]
    return {"accuracy": Items({"right": run.each("answers", rows, answer)}, rows), "other": float(run.seed)}


def sampler(**hooks: Any) -> Quiz:
    return Quiz(**{"prepare": None, "train": None, "evaluate": sample, **hooks})


@pytest.fixture
def bench(tmp_path):
    def made(quiz: Quiz) -> tuple[Bench, Any]:
        bench = Bench(quiz, tmp_path)
        result, seen = bench.run("clever", "first")
        assert not _finished(result, seen)
        return bench, result

    return made


def test_a_paper_without_prepare_and_train_runs_and_consumes_nothing(bench):
    _, result = bench(sampler())
    assert result.consumed == {}
    assert result.items == {"accuracy": 40}


def test_a_killed_evaluation_goes_on_to_the_same_items_without_asking_twice(bench):
    bench, result = bench(sampler())
    found = _resumes(bench, "clever", result)
    assert found.passed, found.fix
    assert not found.void
    folder = bench.spec("clever", "killed").folder
    assert read_result(folder).metrics == result.metrics
    assert len((folder / TRIED).read_text()) == 40
    assert not (folder / "answers").exists()


def test_where_nothing_can_be_resumed_the_kit_says_that_the_check_does_not_apply(bench):
    def at_once(run, split):
        rows = ROWS[:40]
        return {"accuracy": Items({"right": [float(run.seed)] * 40}, rows), "other": 0.5}

    bench, result = bench(sampler(evaluate=at_once))
    found = _resumes(bench, "clever", result)
    assert (found.passed, "run.each" in found.void) == (True, True)


def test_answers_that_depend_on_more_than_their_item_are_seen(bench):
    def counting(run, split):
        drawn = []

        def answer(row):
            drawn.append(row)
            return float(len(drawn))

        return {"accuracy": Items({"right": run.each("answers", ROWS[:40], answer)}, ROWS[:40]), "other": 0.5}

    bench, result = bench(sampler(evaluate=counting))
    assert "run.each" in _resumes(bench, "clever", result).fix
