"""A metric over a setting is one metric for each value of it: returned by value, named by `@`, known by the task."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from harness import Claim, Items, Metric, difference, setting
from harness.errors import HarnessError
from harness.papers.families import member, members, metric_called, named, problems, spread, with_members
from harness.papers.plugins import _problems
from harness.runs.provenance import definitions
from harness.runs.results import find_runs
from harness.verdicts.comparison import compare
from harness.verdicts.scorecard import judge
from tests.records import PAPER, answers, write_run


@dataclass
class Task:
    temperatures: list[float] = setting([0.7, 1.0, 1.5], "temperatures to sample at")
    steps: int = setting(3, "no list")


METRICS = {
    "accuracy": Metric("higher", "right answers", over="task.temperatures"),
    "loss": Metric("lower", "loss"),
}
CLAIM = Claim("It answers when it is hot", difference("accuracy@1.5", "toy", than="plain"), "table 1")
HOT = replace(
    PAPER,
    task=Task,
    metrics=METRICS,
    claims=[CLAIM],
    figures=[],
    budgets={"smoke": {"task": {"temperatures": [2.0]}}, "small": {}, "full": {}},
)


def test_members_are_called_by_the_value_and_a_whole_number_has_no_point():
    assert [member("a", value) for value in (0.7, 1.0, 2, -1.5, "code")] == [
        "a@0.7",
        "a@1",
        "a@2",
        "a@-1.5",
        "a@code",
    ]


def test_a_task_decides_which_members_there_are():
    assert list(members(METRICS, Task())) == ["accuracy@0.7", "accuracy@1", "accuracy@1.5", "loss"]
    assert list(members(METRICS, {"temperatures": [3.0]})) == ["accuracy@3", "loss"]
    assert members(METRICS, Task())["accuracy@0.7"].text == "right answers (temperatures: 0.7)"


def test_a_loaded_paper_knows_the_members_of_its_defaults_and_budgets_and_a_task_its_own():
    paper = with_members(HOT)
    assert {"accuracy@0.7", "accuracy@1.5", "accuracy@2", "accuracy", "loss"} <= set(paper.metrics)
    assert list(members(paper.metrics, {"temperatures": [3.0]})) == ["accuracy@3", "loss"]
    assert metric_called(paper.metrics, "accuracy@9").better == "higher"
    assert metric_called(paper.metrics, "loss@9") is None


def test_a_paper_without_families_is_left_as_it_is():
    assert with_members(PAPER) is PAPER
    assert members(PAPER.metrics, PAPER.task()) == PAPER.metrics


def test_values_are_returned_by_their_index():
    found = dict(named(METRICS, {"accuracy": {0.7: 1, 1: 2, 1.5: 3}, "loss": 4}, Task()))
    assert found == {"accuracy@0.7": 1, "accuracy@1": 2, "accuracy@1.5": 3, "loss": 4}


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ({"accuracy": {1.7: 0.5}}, "'accuracy' at 1.7, and task.temperatures has 0.7, 1.0, 1.5"),
        ({"accuracy": 0.5}, "one for each of task.temperatures"),
        ({"loss": {1.5: 0.5}}, "declare it with Metric"),
    ],
)
def test_what_does_not_fit_the_setting_is_refused_in_one_sentence(returned, said):
    with pytest.raises(HarnessError, match=said.replace(".", "[.]")):
        dict(named(METRICS, returned, Task()))


def test_a_reason_for_the_family_is_that_of_each_member():
    assert spread(METRICS, {"accuracy": "no answers", "loss": "no loss"}, Task()) == {
        "accuracy@0.7": "no answers",
        "accuracy@1": "no answers",
        "accuracy@1.5": "no answers",
        "loss": "no loss",
    }


def stated(**changes):
    return "; ".join(_problems(with_members(replace(HOT, **changes))))


def test_a_paper_is_told_what_is_wrong_with_its_families():
    assert stated() == ""
    unknown = replace(CLAIM, contrast=difference("accuracy@1.7", "toy", than="plain"))
    assert "no metric 'accuracy@1.7': did you mean 'accuracy@1.5'?" in stated(claims=[unknown])
    bare = replace(CLAIM, contrast=difference("accuracy", "toy", than="plain"))
    assert "name 'accuracy@0.7'" in stated(claims=[bare])
    for over in ("task.steps", "task.heat", "temperatures"):
        wrong = {**METRICS, "accuracy": Metric("higher", "", over=over)}
        assert "name a list of the task" in "; ".join(problems(replace(HOT, metrics=wrong)))


@pytest.fixture
def records(tmp_path):
    for seed in range(3):
        for name, rate in (("toy", 0.9), ("plain", 0.4)):
            items = {member("accuracy", t): answers(rate, 10 * seed + len(name)) for t in (0.7, 2.5)}
            metrics = {key: sum(one.columns["right"]) / 250 for key, one in items.items()}
            write_run(tmp_path, name, seed, metrics, items=items, task={"temperatures": [0.7, 2.5]})
    return list(find_runs(tmp_path))


def test_report_and_compare_know_the_members_of_the_runs_task(records):
    claims = [replace(CLAIM, contrast=difference("accuracy@0.7", "toy", than="plain")), CLAIM]
    paper = with_members(replace(HOT, claims=claims))
    (card,) = judge("toy", paper, records)
    assert [claim["verdict"] for claim in card["claims"]] == ["holds", "not tested"]
    assert card["metrics"]["accuracy@2.5"]["text"] == "right answers (temperatures: 2.5)"
    assert set(card["methods"][0]["metrics"]) == {"accuracy@0.7", "accuracy@2.5"}
    for asked, shown in (([], 2), (["accuracy"], 2), (["accuracy@2.5"], 1)):
        one, other = ([r for r in records if r.result.config["name"] == name] for name in ("toy", "plain"))
        (pair,) = compare(one, other, {"toy": paper}, asked)["pairs"]
        assert len(pair["metrics"]) == shown
        assert {m["verdict"] for m in pair["metrics"].values()} == {"a"}


def test_how_a_member_is_reduced_is_recorded_with_its_run():
    plugin = SimpleNamespace(paper=HOT, module=SimpleNamespace(__name__="tests.records"))
    assert "metric:accuracy@9" in definitions(plugin, [], ["accuracy@9"])


def test_items_stand_behind_a_member_as_behind_any_metric():
    items = Items({"right": [1.0, 0.0]}, ["a", "b"])
    assert dict(named(METRICS, {"accuracy": {1.5: items}}, Task())) == {"accuracy@1.5": items}
