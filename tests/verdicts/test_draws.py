"""Several draws an item: its mean is what varies over items, the draws are kept, and their share is told."""

import numpy as np
import pytest

from harness import Items, Metric, difference, level
from harness.errors import HarnessError
from harness.papers.reduction import by_item, of_draws, reduce
from harness.reports.phrases import basis
from harness.runs.results import find_runs, read_items, write_items
from harness.verdicts.scorecard import judge
from harness.verdicts.stats import Cell, cells_of, estimate
from tests.records import PAPER, write_run

METRICS = {"score": Metric("higher", "a score")}
IDS = [f"q{i}" for i in range(400)]


def drawn(between: float, within: float, draws: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """(items, draws) scores whose items and whose draws within them vary by these standard deviations."""
    rng = np.random.default_rng(seed)
    items = np.random.default_rng(0).normal(shift, between, size=(len(IDS), 1))
    return items + rng.normal(0, within, size=(len(IDS), draws))


def judged(contrast, *columns):
    names = [method for method, _ in cells_of(contrast)]
    cells = [
        Cell(name, "score", {0: float(np.mean(c))}, lambda c=c: {0: Items({"x": c}, IDS)}, deterministic=True)
        for name, c in zip(names, columns, strict=True)
    ]
    return estimate(contrast, METRICS, cells)


def test_an_item_s_value_is_the_mean_of_its_draws():
    draws = [[1, 0, 1], [0, 0, 0]]
    assert by_item(draws).tolist() == [2 / 3, 0]
    assert reduce(METRICS["score"], {"x": draws}) == pytest.approx(1 / 3)
    assert of_draws(draws) == pytest.approx((1 / 3 + 0) / 2 / 3)  # sample variance of (1, 0, 1) is 1/3
    assert np.isnan(of_draws([1, 0]))
    assert np.isnan(of_draws([[1], [0]]))


def test_draws_are_judged_as_their_means_are():
    a, b = drawn(1, 2, 8, 1, 0.5), drawn(1, 2, 8, 2)
    contrast = difference("score", "a", than="b")
    ours, means = judged(contrast, a, b), judged(contrast, a.mean(axis=1), b.mean(axis=1))
    assert (ours.low, ours.high, ours.p, ours.items) == (means.low, means.high, means.p, 400)
    assert np.isnan(means.drawn)


@pytest.mark.parametrize(("within", "draws", "share"), [(1.0, 4, 0.2), (2.0, 4, 0.5), (1.0, 16, 1 / 17)])
def test_the_share_from_draws_is_that_of_the_variances(within, draws, share):
    found = judged(level("score", "a", at_least=0.0), drawn(1, within, draws, 1))
    assert found.drawn == pytest.approx(share, rel=0.15)


def test_what_both_methods_share_of_an_item_leaves_the_draws_alone_in_a_difference():
    found = judged(difference("score", "a", than="b"), drawn(3, 1, 5, 1), drawn(3, 1, 5, 2))
    assert found.drawn == pytest.approx(1.0, abs=0.15)


def test_more_draws_make_the_interval_narrower():
    widths = [judged(level("score", "a", at_least=0.0), drawn(0.5, 2, draws, 1)) for draws in (2, 8, 32)]
    assert widths[0].item_error > widths[1].item_error > widths[2].item_error


def test_files_keep_the_draws_and_an_older_reader_finds_the_means(tmp_path):
    import pyarrow.parquet as pq

    draws = drawn(1, 1, 3, 0)[:4]
    other = Items({"x": [1.0, 2.0]}, ["a", "b"], {"text": ["s", "t"]})
    write_items(tmp_path, {"score": Items({"x": draws, "y": [1, 2, 3, 4]}, IDS[:4]), "loss": other})
    found = read_items(tmp_path)
    assert np.array_equal(found["score"].columns["x"], draws)
    assert found["score"].columns["y"].tolist() == [1, 2, 3, 4]
    assert found["loss"].columns["x"].tolist() == [1, 2]
    assert pq.read_table(tmp_path / "items.parquet")["x"].to_pylist()[:4] == draws.mean(axis=1).tolist()


@pytest.mark.parametrize("draws", [[[1, 2], [1]], [[[1]]], [[], []]])
def test_draws_that_are_no_table_are_refused(draws):
    with pytest.raises(HarnessError, match="column of items"):
        reduce(METRICS["score"], {"x": draws})


def test_the_verdict_says_how_much_is_from_draws(tmp_path):
    for seed in range(3):
        for name, shift in (("toy", 0.5), ("plain", 0.0), ("chance", 0.0)):
            draws = drawn(1, 1, 4, 10 * seed + len(name), shift)
            items = {"accuracy": Items({"x": draws}, IDS)}
            write_run(tmp_path, name, seed, {"accuracy": float(draws.mean())}, items=items)
    (card,) = judge("toy", PAPER, list(find_runs(tmp_path)))
    claim = next(claim for claim in card["claims"] if claim["metric"] == "accuracy")
    assert 0.5 < claim["drawn"] <= 1
    assert f"{claim['drawn']:.0%} of whose variance is from draws within them" in basis(claim)
