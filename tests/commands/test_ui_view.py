"""The view that MLflow's page of a paper opens with: its form is checked here, in a browser by `test_ui`."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from dataclasses import replace as changed

import pytest

from harness.commands.ui.view import NAME, PAGE, saved, view
from tests.records import PAPER


@dataclass
class Data:
    """What a store says of a run."""

    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]


@dataclass
class Run:
    """A run as a store returns it."""

    data: Data = field(default_factory=lambda: Data({}, {}, {}))


METRICS = {
    "test/perplexity_1L": 3.0,
    "test/perplexity_8L": 3.5,
    "loss": 2.0,
    "gradient_norm": 1.0,
    "seconds/total": 9.0,
}


def run(method: str = "toy", metrics: dict[str, float] = METRICS, **params: str) -> Run:
    dotted = {name.replace("__", "."): value for name, value in params.items()}
    return Run(Data({"budget": "small", "seed": "0", **dotted}, {"method": method}, metrics))


def claiming(*names: str):
    """The toy paper with its first claim about each of these metrics, in this order."""
    first = PAPER.claims[0]
    contrast = {"kind": "level", "method": "toy", "than": "", "over": "", "of": ("", "")}
    claims = tuple(
        changed(first, contrast=changed(first.contrast, metric=name, **contrast)) for name in names
    )
    return changed(PAPER, claims=claims)


def grouped(*runs: Run) -> list[str]:
    keys = view(PAPER, runs)["groupBy"]["groupByKeys"]
    assert keys[0] == {"mode": "tag", "groupByData": "method"}
    assert {key["mode"] for key in keys[1:]} <= {"param"}
    return [key["groupByData"] for key in keys[1:]]


def state_of(value: str) -> dict:
    packed = json.loads(value)["state"]
    assert packed.startswith("deflate;")
    return json.loads(zlib.decompress(base64.b64decode(packed[8:])))


def test_the_claims_metrics_are_the_columns_in_the_claims_order():
    two = claiming("perplexity_8L", "perplexity_1L", "perplexity_8L")
    assert view(two, [run()])["selectedColumns"] == [
        "metrics.`test/perplexity_8L`",
        "metrics.`test/perplexity_1L`",
    ]


def test_names_stand_before_the_metrics_in_a_column_that_holds_the_longest():
    short, long = (view(PAPER, [run(data__corpus=name), run(data__corpus="b")]) for name in ("a", "a" * 40))
    for shown in (short, long):
        assert shown["columnOrder"] == ["attributes.`Run Name`", *shown["selectedColumns"]]
        assert set(shown["columnOrder"]) == set(shown["columnWidths"])
    grown = long["columnWidths"]["attributes.`Run Name`"] - short["columnWidths"]["attributes.`Run Name`"]
    assert grown == 7 * 39


def test_a_metric_that_no_run_has_is_no_column():
    only = run(metrics={"test/perplexity_1L": 3.0})
    shown = view(claiming("perplexity_8L", "perplexity_1L"), [only])
    assert shown["selectedColumns"] == ["metrics.`test/perplexity_1L`"]
    assert view(PAPER, [run(metrics={})])["selectedColumns"] == []


@pytest.mark.parametrize(("better", "ascending"), [("lower", True), ("higher", False)])
def test_the_best_method_by_the_first_claims_metric_comes_first(better, ascending):
    paper = claiming("perplexity_8L")
    metrics = {**paper.metrics, "perplexity_8L": changed(paper.metrics["perplexity_8L"], better=better)}
    shown = view(changed(paper, metrics=metrics), [run()])
    assert (shown["orderByKey"], shown["orderByAsc"]) == ("metrics.`test/perplexity_8L`", ascending)


def test_more_runs_than_a_page_loads_are_not_chosen_by_their_values():
    shown = view(PAPER, [run()] * (PAGE + 1))
    assert (shown["orderByKey"], shown["orderByAsc"]) == ("attributes.start_time", False)


def test_runs_that_differ_in_their_seed_alone_share_a_mean():
    assert grouped(run(seed="0"), run(seed="1"), run("plain", seed="0")) == []


@pytest.mark.parametrize("name", ["budget", "task.length", "data.corpus", "model", "precision", "device"])
def test_runs_of_other_settings_share_no_mean(name):
    here, there = (run(**{name.replace(".", "__"): value}) for value in ("a", "b"))
    assert grouped(here, there) == [name]


def test_a_methods_own_settings_part_its_runs_and_no_others():
    assert grouped(run("toy", method__slope="1"), run("plain", method__slope="2")) == []
    assert grouped(run("toy", method__slope="1"), run("toy", method__slope="2")) == ["method.slope"]


def test_curves_are_charts_before_the_claims_metrics_and_the_loss_before_all():
    shown = view(claiming("perplexity_1L"), [run()])
    drawn = [
        (chart["type"], chart["metricKey"], chart["metricSectionId"]) for chart in shown["compareRunCharts"]
    ]
    assert drawn == [
        ("LINE", "loss", "Curves"),
        ("LINE", "gradient_norm", "Curves"),
        ("BAR", "test/perplexity_1L", "Claims"),
    ]
    assert [section["uuid"] for section in shown["compareRunSections"]] == ["Curves", "Claims"]
    assert len({chart["uuid"] for chart in shown["compareRunCharts"]}) == 3


def test_what_is_saved_unpacks_to_the_state_under_its_name():
    state = view(PAPER, [run()])
    value = saved(state, "", 7)
    assert state_of(value) == state
    told = json.loads(value)
    assert (told["name"], told["createdAt"], told["updatedAt"]) == (NAME, 7, 7)


def test_the_same_view_is_not_saved_anew_and_another_one_keeps_when_it_was_made():
    before = saved(view(PAPER, [run()]), "", 7)
    assert saved(view(PAPER, [run(), run(seed="1")]), before, 8) == before
    other = json.loads(saved(view(claiming("perplexity_1L"), [run()]), before, 9))
    assert (other["createdAt"], other["updatedAt"]) == (7, 9)


@pytest.mark.parametrize(
    "before", ["", "{", "[]", "null", '{"name": "mine"}', "deflate;eJyr", '{"createdAt": null}']
)
def test_whatever_stood_there_a_view_is_saved(before):
    state = view(PAPER, [run()])
    assert state_of(saved(state, before, 5)) == state


def test_a_hundred_claims_and_curves_fit_a_tag():
    names = [f"perplexity@{n}" for n in range(100)]
    metric = next(iter(PAPER.metrics.values()))
    paper = changed(claiming(*names), metrics=dict.fromkeys(names, metric))
    known = {f"test/perplexity:{n}": 1.0 for n in range(100)} | {f"curve_{n}": 1.0 for n in range(100)}
    shown = view(paper, [run(metrics=known)])
    assert len(shown["selectedColumns"]) == 100
    assert len(saved(view(paper, [run(metrics=known)]), "", 2_000_000_000_000)) < 20_000  # MLflow's limit
