"""Quality against cost: what lies on the Pareto front, by hand and by definition; what is left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.reports.text import to_markdown
from harness.runs.run import Run, _timed
from harness.verdicts.costs import costs, front
from harness.verdicts.scorecard import judge
from tests.records import PAPER, write_sweep

METRICS = {"accuracy": {"better": "higher"}, "loss": {"better": "lower"}}


def method(name: str, train: float | None, quality: float, evaluate: float = 5.0, **measured: float):
    timings = {"evaluate": evaluate} | ({} if train is None else {"train": train})
    metrics = {"accuracy": {"mean": quality, "low": None, "high": None}}
    return {"method": name, "timings": timings, "measured": measured, "metrics": metrics}


def on(points):
    return [p["method"] for p in points if p["front"]]


def test_the_front_by_hand():
    # cheap and good, dear and better, dear and worse, as dear and worse
    assert front([(1, 0.5), (2, 0.9), (3, 0.8), (2, 0.7)], "higher") == [True, True, False, False]
    assert front([(1, 0.5), (2, 0.9), (3, 0.4)], "lower") == [True, False, True]
    assert front([(1, 0.5), (1, 0.5)], "higher") == [True, True]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8))
def test_nothing_beats_what_is_on_the_front_and_something_beats_the_rest(points):
    def beats(one, other):
        return one[0] <= other[0] and one[1] >= other[1] and one != other

    for point, kept in zip(points, front(points, "higher"), strict=True):
        assert kept == (not any(beats(other, point) for other in points))


def test_costs_are_time_and_memory_where_they_say_something():
    methods = [method("a", 10.0, 0.9, train_peak_memory=5e8), method("b", 2.0, 0.5, train_peak_memory=6e8)]
    time, memory = costs(methods, METRICS, "accuracy")
    assert (time["cost"], on(time["points"])) == ("train", ["a", "b"])
    assert (memory["cost"], on(memory["points"])) == ("train_peak_memory", ["a"])


def test_where_nothing_trains_evaluation_is_the_cost():
    (only,) = costs([method("a", 0.01, 0.9, 200.0), method("b", 0.0, 0.5, 3.0)], METRICS, "accuracy")
    assert (only["cost"], on(only["points"])) == ("evaluate", ["a", "b"])


def test_one_method_or_an_unknown_cost_makes_no_picture():
    assert costs([method("a", 10.0, 0.9)], METRICS, "accuracy") == []
    assert costs([method("a", None, 0.9, 0.1), method("b", None, 0.9, 0.1)], METRICS, "accuracy") == []


def test_a_scorecard_tells_the_front_in_words(tmp_path):
    (card,) = judge("toy", PAPER, write_sweep(tmp_path))
    assert [cost["cost"] for cost in card["costs"]] == ["train"]
    assert "Pareto front by perplexity_8L and seconds of training: toy" in to_markdown([card])


def test_the_seconds_of_a_shared_stage_are_no_methods_own(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("harness.runs.run.time.perf_counter", lambda: now[0])
    folders = dict.fromkeys(("data_dir", "output_dir", "stages_dir", "folder"), tmp_path)
    plain = {"model": None, "budget": "smoke", "seed": 0, "device": "cpu", "precision": "float32"}
    run = Run(paper="p", name="p/m", method=None, task=None, data={}, **plain, **folders)
    timings: dict[str, float] = {}

    def takes(seconds):
        now[0] += seconds

    def outer(folder):
        takes(30)
        run.stage("inner", 1, lambda folder: takes(50))

    with _timed(timings, "train", run):
        run.stage("outer", 1, outer)
        takes(5)
    assert timings == {"train": 5, "stages": 80}  # the inner stage, made within the outer one, counts once
    with _timed(timings, "evaluate", run):
        run.stage("outer", 1, outer)
        takes(2)
    assert timings == {"train": 5, "stages": 80, "evaluate": 2}
