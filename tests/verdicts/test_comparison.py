"""Any two sets of runs: what is paired, what is refused and why, what differs, and how the words select."""

from __future__ import annotations

import io
import json
from math import nan

import numpy as np
import pytest
from rich.console import Console

from harness.errors import UsageError
from harness.papers.plugins import load
from harness.papers.statement import Items, difference
from harness.reports.braille import plot
from harness.reports.comparison import curves, settings, to_html, to_terminal, verdict_of
from harness.reports.plots import Line
from harness.runs.results import find_runs, read_items, write_items, write_result
from harness.verdicts.comparison import compare
from harness.verdicts.rows import rows_of, select
from harness.verdicts.stats import Cell, estimate
from tests.records import PAPER, answers, write_run, write_sweep
from tests.verdicts.test_scorecard import Page

PAPERS = {"toy": PAPER}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    write_sweep(folder)
    return folder


@pytest.fixture(scope="module")
def found(results):
    return {"a": "A", "b": "B", **compare(select("toy/toy", results), select("toy/plain", results), PAPERS)}


def shown(found, records=()) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    to_terminal(found, records, console)
    return console.file.getvalue()


# Selecting


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("toy", 11),
        ("toy/toy", 5),
        ("method=plain", 5),
        ("toy/toy,seed=3", 1),
        ("budget=small,task.length=64", 11),
    ],
)
def test_filters_name_runs_by_paper_method_and_any_setting(results, words, count):
    assert len(select(words, results)) == count


def test_a_run_key_a_folder_and_a_results_folder_name_runs(results):
    (run,) = select("toy/toy,seed=2", results)
    assert [r.result.run_key for r in select(run.result.run_key[:10], results)] == [run.result.run_key]
    assert [r.folder for r in select(str(run.folder), results)] == [run.folder]
    assert len(select(str(results), results / "elsewhere")) == 11


def test_a_sweep_names_its_runs_and_those_it_found_there(tmp_path):
    one = write_run(tmp_path, "toy", 0, {"accuracy": 0.5}, sweep="20260101-000000-00001")
    two = write_run(tmp_path, "toy", 1, {"accuracy": 0.5}, sweep="20260101-000000-00002")
    journal = tmp_path / "sweeps" / "20260101-000000-00002.jsonl"
    journal.parent.mkdir()
    line = dict.fromkeys(("asked", "title", "paper", "folder", "outcome", "error"), "")
    lines = [json.dumps({**line, "run_key": r.result.run_key}) + "\n" for r in (one, two)]
    journal.write_text("".join(lines))
    assert len(select("20260101-000000-00001", tmp_path)) == 1  # its journal is gone, its runs say it
    assert len(select("20260101-000000-00002", tmp_path)) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("toy/nothing", "names no run under"),
        ("toy,taks.length=64", "which no run has: did you mean 'task.length'"),
    ],
)
def test_words_that_name_nothing_are_refused(results, words, says):
    with pytest.raises(UsageError, match=says):
        select(words, results)


def test_two_runs_of_one_seed_are_refused_by_what_differs(tmp_path):
    for precision in ("fp32", "bf16"):
        write_run(tmp_path, "toy", 0, {"accuracy": 0.5}, precision=precision)
    with pytest.raises(UsageError, match=r"two runs of toy/toy with seed 0, which differ in precision \("):
        rows_of(select("toy/toy", tmp_path), "A")


# Comparing


def test_each_shared_metric_is_judged_as_a_claim_would_be(found, results):
    (pair,) = found["pairs"]
    assert (pair["a"]["method"], pair["b"]["method"], pair["a"]["seeds"]) == ("toy", "plain", [0, 1, 2, 3, 4])
    rows = rows_of(list(find_runs(results)), "A")
    for name in ("accuracy", "perplexity_8L"):
        cells = [
            Cell(
                method,
                name,
                {s: r.result.metrics[name] for s, r in rows["toy", method].runs.items()},
                lambda m=method, name=name: {
                    s: r.items[name] for s, r in rows["toy", m].runs.items() if name in r.items
                },
            )
            for method in ("toy", "plain")
        ]
        oracle = estimate(difference(name, "toy", "plain"), PAPER.metrics, cells)
        one = pair["metrics"][name]
        assert (one["value"], one["low"], one["high"]) == (oracle.value, oracle.low, oracle.high)
        assert one["rule"] == oracle.rule
    assert pair["metrics"]["accuracy"]["verdict"] == "open"
    assert (pair["metrics"]["perplexity_8L"]["verdict"], pair["metrics"]["perplexity_8L"]["holm"]) == (
        "a",
        True,
    )


def test_the_arrow_of_a_metric_is_its_direction(found):
    text = shown(found)
    assert "accuracy ↑" in text
    assert "perplexity_8L ↓" in text


def test_swapping_the_sides_mirrors_the_table(found, results):
    back = compare(select("toy/plain", results), select("toy/toy", results), PAPERS)
    for name, one in found["pairs"][0]["metrics"].items():
        other = back["pairs"][0]["metrics"][name]
        assert {"a": "b", "b": "a", "open": "open"}[one["verdict"]] == other["verdict"]
        if one["low"] is not None:
            assert one["low"] == pytest.approx(-other["high"])


def test_different_tasks_are_refused_with_what_differs(tmp_path):
    for seed in range(3):
        write_run(tmp_path, "toy", seed, {"accuracy": 0.5 + seed / 10})
        write_run(tmp_path, "toy", seed, {"accuracy": 0.5 + seed / 9}, task={"length": 128})
    sides = [select(f"toy/toy,task.length={n}", tmp_path) for n in (64, 128)]
    (pair,) = compare(*sides, PAPERS)["pairs"]
    assert pair["metrics"] == {}
    assert "different tasks (task.length: 64 and 128)" in pair["refused"]


def test_other_test_items_are_refused_with_the_first_that_differs(tmp_path):
    for seed in range(3):
        items = answers(0.8, seed)
        other = Items(answers(0.7, seed + 9).columns, [f"z{i}" for i in range(250)])
        for name, behind in (("toy", items), ("plain", other)):
            rate = float(np.mean(behind.columns["right"]))
            write_run(
                tmp_path,
                name,
                seed,
                {"accuracy": rate, "perplexity_1L": 9.0 + seed},
                items={"accuracy": behind},
            )
    found = compare(select("toy/toy", tmp_path), select("toy/plain", tmp_path), PAPERS)
    metrics = found["pairs"][0]["metrics"]
    assert "the first that differs is" in metrics["accuracy"]["refused"]
    assert (metrics["accuracy"]["verdict"], metrics["accuracy"]["low"]) == ("open", None)
    assert metrics["perplexity_1L"]["refused"] == ""


def test_two_sweeps_pair_their_methods_by_name_and_name_the_rest(results, tmp_path):
    for seed in range(3):
        write_run(tmp_path, "toy", seed, {"accuracy": 0.5 + seed / 10}, precision="bf16")
        write_run(tmp_path, "other", seed, {"accuracy": 0.5 + seed / 10}, precision="bf16")
    found = compare(select(str(results), results), select(str(tmp_path), results), PAPERS)
    assert [(pair["a"]["method"], pair["b"]["method"]) for pair in found["pairs"]] == [("toy", "toy")]
    assert (found["only_a"], found["only_b"]) == (["toy/plain", "toy/chance"], ["toy/other"])
    assert {"key": "precision", "a": "fp32", "b": "bf16"} in found["pairs"][0]["config"]


def test_one_method_is_compared_with_each_of_the_other_side(results):
    found = compare(select("toy/toy", results), select("toy", results), PAPERS)
    assert [pair["b"]["method"] for pair in found["pairs"]] == ["plain", "chance"]


def test_the_same_runs_are_no_comparison(results):
    with pytest.raises(UsageError, match="the same runs"):
        compare(select("toy/toy", results), select("method=toy", results), PAPERS)


def test_what_differs_is_settings_and_code_not_seeds_or_sweeps(tmp_path):
    one = write_run(tmp_path, "toy", 0, {"accuracy": 0.5}, sweep="a")
    other = write_run(tmp_path, "toy", 1, {"accuracy": 0.5}, changes={"slope": 2.0}, sweep="b")
    one.result.code["modules"] = {"harness.fit": "1", "harness.verdicts.stats": "2"}
    other.result.code["modules"] = {"harness.fit": "3", "harness.verdicts.stats": "2"}
    (pair,) = compare([one], [other], PAPERS)["pairs"]
    assert settings(pair) == [("method.slope", "1.0", "2.0"), ("code", "1 modules differ", "harness.fit")]


def test_the_seeds_for_a_wanted_difference_are_told(results):
    found = compare(
        select("toy/toy", results), select("toy/plain", results), PAPERS, ["perplexity_8L"], detect=0.1
    )
    (power,) = (one["power"] for one in found["pairs"][0]["metrics"].values())
    assert (power["target"], power["target_is"]) == (0.1, "asked")
    assert power["needs_seeds"] > 5
    assert f"for 0.1 you need {power['needs_seeds']} seeds" in " ".join(
        shown(found | {"a": "", "b": ""}).split()
    )


def trained(folder, gap: float, seconds: float):
    """Two methods of five seeds: A ahead by about the gap, trained for so many of B's ten seconds."""
    for seed in range(5):
        for name, ahead, took in (("toy", gap, seconds), ("plain", 0.0, 10.0)):
            record = write_run(folder, name, seed, {"accuracy": 0.5 + ahead + seed * (2 + ahead) / 1000})
            record.result.timings["train"] = took
            write_result(record.folder, record.result)
    return select("toy/toy", folder), select("toy/plain", folder)


@pytest.mark.parametrize(
    ("gap", "margin", "says"),
    [
        (
            -0.02,
            0.05,
            "There is no difference worth 0.05; A is not worse by more than 0.05, at 40 % of the cost",
        ),
        (-0.02, 0.01, "That A is not worse by more than 0.01 is not shown, at 40 % of the cost"),
        (0.2, 0.05, "A is not worse by more than 0.05, at 40 %"),
    ],
)
def test_not_worse_by_more_than_the_margin_is_said_with_the_cost(tmp_path, gap, margin, says):
    found = compare(*trained(tmp_path, gap, 4.0), PAPERS, ["accuracy"], margin=margin)
    metric = found["pairs"][0]["metrics"]["accuracy"]
    assert metric["equivalence"]["within"] == (abs(gap) < margin)
    assert metric["better"] == "higher"
    assert says in " ".join(shown(found | {"a": "", "b": ""}).split())
    assert says in " ".join(to_html(found | {"a": "", "b": ""}, []).split())


def test_no_difference_worth_the_margin_is_a_verdict_where_neither_is_better(tmp_path):
    for seed in range(5):
        for turn, name in enumerate(("toy", "plain")):
            write_run(tmp_path, name, seed, {"accuracy": 0.5 + (seed * (turn + 1)) % 5 / 1000})
    sides = select("toy/toy", tmp_path), select("toy/plain", tmp_path)
    for margin, word in ((0.05, "no difference worth 0.05"), (0.0001, "not separable")):
        found = compare(*sides, PAPERS, ["accuracy"], margin=margin)
        assert verdict_of(found["pairs"][0]["metrics"]["accuracy"]) == word


@pytest.mark.parametrize(
    ("metrics", "margin"), [([], 0.1), (["accuracy", "perplexity_1L"], 0.1), (["accuracy"], 0.0)]
)
def test_a_margin_is_of_one_metric_and_above_zero(results, metrics, margin):
    with pytest.raises(UsageError, match="a margin is above 0 and in the unit of one metric"):
        compare(select("toy/toy", results), select("toy/plain", results), PAPERS, metrics, margin=margin)


# Showing


def test_curves_of_both_sides_are_drawn_over_each_other(found, results):
    records = list(find_runs(results))
    drawn = {figure.y: lines for figure, lines in curves(found["pairs"][0], records)}
    assert [line.label for line in drawn["loss"]] == ["A toy", "B plain"]
    text = shown(found, records)
    assert "loss  ━━ A toy ━━ B plain" in text
    assert "survives Holm" in text
    page = Page(to_html(found, records))
    assert page.open == []
    pictures = [a for tag, a in page.tags if tag == "svg"]
    assert len(pictures) == 2
    assert all(a["role"] == "img" for a in pictures)
    assert not {"script", "link", "img"} & {tag for tag, _ in page.tags}


def test_a_terminal_curve_puts_each_point_where_it_belongs():
    def line(y):
        return Line("", 0, range(len(y)), y, [nan] * len(y), [nan] * len(y))

    assert plot("t", [line([0.0, 1.0, 2.0, 3.0])], width=2, height=1).plain.split("\n")[1].endswith("│⡠⠊")
    flat = plot("t", [line([1.0, 1.0, 1.0])], width=4, height=2).plain
    assert "⠉⠉⠉⠉" in flat  # a level curve lies on one row of dots, from edge to edge
    rising = plot("t", [line([0.0, 1.0])], width=10, height=5).plain.split("\n")[1:-1]
    firsts = [min(i for i, c in enumerate(row.split("│")[1]) if c != chr(0x2800)) for row in rising]
    assert firsts == sorted(firsts, reverse=True)


def test_a_curve_without_points_is_a_title():
    assert "nothing" in plot("nothing", [Line("a", 0, [0.0], [nan], [nan], [nan])]).plain


def test_the_command_compares_refuses_and_writes_a_page(harness):
    (metric, *_), results = load("alibi").paper.metrics, harness.folder / "results"
    for seed in range(3):
        write_run(results, "alibi", seed, {metric: 9.0 + seed / 7}, paper="alibi")
        write_run(results, "rotary", seed, {metric: 12.0 + seed}, paper="alibi")
        write_run(results, "rotary", seed, {metric: 12.0 + seed}, paper="alibi", task={"length": 128})
    done = harness("compare", "alibi/alibi", "alibi/rotary,task.length=64", "--detect", "0.5")
    assert "A alibi/alibi and B alibi/rotary" in done.stdout
    assert "for 0.5 you need" in " ".join(done.stdout.split())
    assert (results / "reports" / "compare.html").exists()
    found = json.loads((results / "reports" / "compare.json").read_text())
    assert found["pairs"][0]["metrics"][metric]["verdict"] == "a"
    sides = "alibi/alibi", "alibi/rotary,task.length=64"
    worth = harness("compare", *sides, "--metric", metric, "--margin", "0.5")
    assert "A is not worse by more than 0.5, at 100 % of the cost" in " ".join(worth.stdout.split())
    assert "of one metric" in harness("compare", *sides, "--margin", "0.5", code=2).stderr
    refused = harness("compare", "alibi/alibi", "alibi/rotary,task.length=128", code=1)
    assert "task.length: 64 and 128" in refused.stderr
    wrong = harness("compare", "alibi/alibi", "alibi/alibi", "--metric", "perplexitty", code=2)
    assert "no metric is named 'perplexitty'" in wrong.stderr


def test_items_are_read_back_as_they_were_written(tmp_path):
    written = {
        "a": Items({"x": [1.0, 2.0]}, ["q1", "q2"]),
        "none": Items({"x": []}, []),
        "b": Items({"y": [3.0], "x": [4.0]}, ["q2"]),
    }
    write_items(tmp_path, written)
    for name, items in read_items(tmp_path).items():
        assert list(items.ids) == list(written[name].ids)
        assert {k: list(v) for k, v in items.columns.items()} == dict(written[name].columns)
    write_items(tmp_path, {"none": written["none"]})
    assert list(read_items(tmp_path)["none"].ids) == []
