"""An order of methods is one claim: its number is the smallest step, and it holds where every step does."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from harness import Claim, Metric, difference, order
from harness.reports.phrases import quantity, why
from harness.runs.results import find_runs
from harness.verdicts.scorecard import judge
from harness.verdicts.stats import Cell, estimate, verdict
from tests.records import PAPER, write_run

METRICS = {"score": Metric("higher", "a score"), "loss": Metric("lower", "a loss")}
ABC = order("score", ("a", "b", "c"))


def cells(*rows, metric="score"):
    return [Cell(name, metric, dict(enumerate(row))) for name, row in zip("abcd", rows, strict=False)]


def means(*values, seeds=6, spread=0.1, seed=0, metric="score"):
    rng = np.random.default_rng(seed)
    return cells(*(value + spread * rng.standard_normal(seeds) for value in values), metric=metric)


def steps(rows, level=0.95):
    found = []
    for one, other in pairwise(rows):
        found.append(estimate(difference(one.metric, one.method, other.method), METRICS, [one, other], level))
    return found


def test_it_is_the_smallest_step_with_its_ends_and_the_largest_p():
    rows = means(3, 2, 0)
    found, apart = estimate(ABC, METRICS, rows), steps(rows)
    assert found.value == min(step.value for step in apart)
    assert found.low == min(step.low for step in apart)
    assert found.high == min(step.high for step in steps(rows, 0.975))
    assert found.p == max(step.p for step in apart)
    assert found.step == "a over b"
    assert verdict(found) == "holds"


def test_one_step_that_is_not_told_leaves_it_open_and_one_that_is_turned_fails_it():
    assert verdict(estimate(ABC, METRICS, means(3, 0.01, 0))) == "open"
    turned = estimate(ABC, METRICS, means(3, 0, 2))
    assert verdict(turned) == "fails"
    assert turned.p == pytest.approx(2 * steps(means(3, 0, 2))[1].p)


def test_lower_may_be_better():
    assert (
        verdict(estimate(order("loss", ("a", "b", "c")), METRICS, means(0, 2, 3, metric="loss"))) == "holds"
    )


def test_a_margin_must_be_cleared_by_every_step():
    assert verdict(estimate(order("score", "abc", by=1.5), METRICS, means(5, 2, 0)), by=1.5) == "holds"
    assert verdict(estimate(order("score", "abc", by=1.5), METRICS, means(5, 1, 0)), by=1.5) == "fails"


def test_two_methods_are_no_order():
    for methods in (("a", "b"), ("a", "b", "a")):
        with pytest.raises(ValueError, match="three methods or more, each once"):
            order("score", methods)


def test_a_step_without_an_interval_is_named():
    rows = means(3, 2, 0)
    rows[2] = Cell("c", "score", {0: 1.0, 1: 1.0})
    assert "3 paired seeds are needed" in estimate(ABC, METRICS, rows).reason
    rows[2] = Cell("c", "score", {}, absent="it was not run")
    assert estimate(ABC, METRICS, rows).reason == "c has no score: it was not run"


@pytest.mark.parametrize("truth", [(0, 0, 0), (0.3, 0, 0), (0, 0.5, 0), (9, 0, 0), (0, 9, 9)])
def test_either_end_errs_no_more_often_than_promised(truth):
    smallest = min(a - b for a, b in pairwise(truth))
    missed = np.zeros(2)
    for seed in range(400):
        found = estimate(ABC, METRICS, means(*truth, seeds=5, spread=1, seed=seed))
        missed += (found.low > smallest, found.high < smallest)
    assert (missed <= 400 * 0.025 + 3 * np.sqrt(400 * 0.025)).all(), missed


def test_it_is_one_row_of_the_report(tmp_path):
    for seed in range(4):
        for place, name in enumerate(("toy", "plain", "third")):
            write_run(
                tmp_path, name, seed, {"accuracy": 0.9 - 0.2 * place + 0.01 * ((seed * (place + 2)) % 3)}
            )
    methods = {**PAPER.methods, "third": PAPER.methods["plain"]}
    claim = Claim("In this order", order("accuracy", ("toy", "plain", "third")), "table 1")
    (card,) = judge("toy", replace(PAPER, methods=methods, claims=[claim]), list(find_runs(tmp_path)))
    (row,) = card["claims"]
    assert (row["verdict"], row["of"], row["reached"]["seeds"]) == ("holds", ["plain", "third"], 4)
    assert quantity(row) == "accuracy: the smallest step of toy > plain > third"
    assert "The step that decides is" in why(row)
