"""A paper's runs on several data sets: which are pooled, which are told apart, and where one's own lies."""

import json
from dataclasses import replace
from math import exp, log

import pytest
from rich.console import Console

from harness.errors import UsageError
from harness.papers.statement import Claim, Metric, difference, level, ratio
from harness.reports import over as words
from harness.runs.files import as_text
from harness.verdicts.over import over_data, pooled
from harness.verdicts.over.sets import labels
from harness.verdicts.scorecard import judge
from harness.verdicts.stats import seeds_interval
from tests.records import PAPER, write_run

AHEAD = Claim("Toy answers better", difference("accuracy", "toy", "plain"), "Table 1")
FLAT = Claim("Toy stays flat", ratio("perplexity_8L", "toy", over="perplexity_1L", at_most=1.05), "Table 2")
LEVEL = Claim("Toy answers most", level("accuracy", "toy", at_least=0.5), "Table 3")
NOISE = [0.0, 0.01, -0.01, 0.02, -0.02]
METRICS = {**PAPER.metrics, "accuracy": Metric("higher", "right answers", range=(0.0, 1.0))}


def cards(folder, gaps, *claims, seeds=5, names=None, **config):
    """The scorecards of runs on a data set for each gap between toy and plain."""
    paper = replace(PAPER, metrics=METRICS, claims=list(claims or (AHEAD, FLAT, LEVEL)))
    records = []
    for number, gap in enumerate(gaps):
        called = names[number] if names else f"texts/{'abcdefg'[number]}.txt"
        for seed in range(seeds):
            for turn, (name, by) in enumerate((("toy", gap), ("plain", 0.0))):
                accuracy = 0.5 + by + NOISE[seed * (turn + 1) % 5]
                records.append(
                    write_run(
                        folder,
                        name,
                        seed,
                        {"accuracy": accuracy, "perplexity_1L": 20.0, "perplexity_8L": 20 + 10 * accuracy},
                        data={"corpus": called},
                        read={"corpus": {"name": called, "digest": f"{number}" * 64}},
                        task_digest=f"{number}" * 64,
                        **config,
                    )
                )
    return paper, judge("toy", paper, records)


def test_each_set_counts_by_the_houses_own_number(tmp_path):
    paper, found = cards(tmp_path, [0.1, 0.2, 0.15])
    (part,) = over_data(paper, found)
    ahead, flat, _ = part["claims"]
    by_set = [card["claims"][0] for card in found]
    assert [one["label"] for one in ahead["sets"]] == ["a.txt", "b.txt", "c.txt"]
    assert [one["value"] for one in ahead["sets"]] == [claim["value"] for claim in by_set]
    alone = seeds_interval([value for _, value in by_set[0]["by_seed"]])
    assert ahead["sets"][0]["error"] == pytest.approx(alone.seed_error)
    expected = pooled([one["value"] for one in ahead["sets"]], [one["error"] for one in ahead["sets"]])
    assert (ahead["value"], ahead["low"], ahead["high"]) == (expected.value, expected.low, expected.high)
    assert ahead["next"]["high"] == expected.next_high
    assert ahead["verdict"] == "holds"
    logs = pooled([log(one["value"]) for one in flat["sets"]], [one["error"] for one in flat["sets"]])
    assert flat["scale"] == "log"
    assert (flat["value"], flat["low"]) == pytest.approx((exp(logs.value), exp(logs.low)))


def test_two_sets_are_told_apart_and_not_pooled(tmp_path):
    paper, found = cards(tmp_path, [0.1, 0.2], AHEAD)
    (row,) = over_data(paper, found)[0]["claims"]
    assert (row["verdict"], row["value"], row["next"]) == ("open", None, None)
    assert row["reason"] == "two data sets are told apart, not pooled: holds on a.txt and holds on b.txt"


def test_one_set_is_nothing_to_pool(tmp_path):
    paper, found = cards(tmp_path, [0.1], AHEAD)
    (row,) = over_data(paper, found)[0]["claims"]
    assert row["reason"] == "one data set, a.txt: there is nothing to pool"


def test_sets_that_part_leave_the_claim_open_where_each_holds(tmp_path):
    paper, found = cards(tmp_path, [0.05, 0.1, 0.45], AHEAD)
    (row,) = over_data(paper, found)[0]["claims"]
    assert {one["verdict"] for one in row["sets"]} == {"holds"}
    assert row["verdict"] == "open"


@pytest.mark.parametrize("mine", ["data.corpus=texts/d.txt", "corpus=d.txt", "d.txt", "3" * 10])
@pytest.mark.parametrize(("gap", "inside"), [(0.14, True), (0.45, False)])
def test_ones_own_set_is_placed_and_not_pooled(tmp_path, mine, gap, inside):
    paper, found = cards(tmp_path, [0.1, 0.12, 0.14, gap], AHEAD)
    (row,) = over_data(paper, found, mine)[0]["claims"]
    without = over_data(paper, found[:3])[0]["claims"][0]
    assert (row["pooled"], row["value"], row["next"]) == (3, without["value"], without["next"])
    assert row["placed"]["label"] == "d.txt"
    assert row["placed"]["inside"] is inside


def test_a_set_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    paper, found = cards(tmp_path, [0.1, 0.12, 0.14], AHEAD)
    with pytest.raises(UsageError, match=r"no data set here is called 'e.txt': did you mean '.\.txt'"):
        over_data(paper, found, "e.txt")


def test_a_set_with_too_few_seeds_is_told_and_left_out(tmp_path):
    paper, found = cards(tmp_path / "all", [0.1, 0.12, 0.14], AHEAD)
    _, few = cards(tmp_path / "few", [0.1, 0.12, 0.14, 0.4], AHEAD, seeds=2)
    (row,) = over_data(paper, [*found, few[3]])[0]["claims"]
    assert row["pooled"] == 3
    assert row["sets"][3]["error"] is None
    assert row["sets"][3]["reason"] == "3 paired seeds are needed and there are 2"


def test_runs_of_another_size_are_another_question(tmp_path):
    paper, found = cards(tmp_path, [0.1, 0.12, 0.14], AHEAD)
    _, longer = cards(tmp_path / "long", [0.1, 0.12, 0.14], AHEAD, task={"length": 128})
    parts = over_data(paper, [*found, *longer])
    assert [len(part["sets"]) for part in parts] == [3, 3]


def test_an_end_stays_where_the_metric_can_be(tmp_path):
    paper, found = cards(tmp_path, [0.1, 0.3, 0.48], LEVEL)
    (row,) = over_data(paper, found)[0]["claims"]
    assert row["next"]["high"] == 1.0
    assert row["next"]["low"] >= 0.0


def test_smoke_runs_are_no_evidence_here_either(tmp_path):
    paper, found = cards(tmp_path, [0.1, 0.11, 0.12], AHEAD, budget="smoke")
    (row,) = over_data(paper, found)[0]["claims"]
    assert (row["verdict"], row["next"]["verdict"], row["holm"]) == ("open", "open", False)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["x/a.txt", "y/b.txt"], ["a.txt", "b.txt"]),
        (["x/a.txt", "y/a.txt"], ["x/a.txt", "y/a.txt"]),
        (["a.txt", "a.txt"], ["a.txt (00000000)", "a.txt (11111111)"]),
        (["hub:user/set", "builtin:python"], ["set", "python"]),
    ],
)
def test_sets_are_called_as_short_as_tells_them_apart(tmp_path, names, told):
    _, found = cards(tmp_path, [0.1, 0.12], AHEAD, names=names)
    assert labels(sorted(found, key=lambda card: card["task_digest"])) == told


def test_what_is_said_is_escaped_and_complete(tmp_path, capsys):
    paper, found = cards(tmp_path, [0.1, 0.12, 0.14], names=["<b>|a\x1b[31m", "b", "c"])
    parts = over_data(paper, found, "c")
    page, text = words.to_html(parts), words.to_markdown(parts)
    words.to_terminal(parts, Console(width=80))
    printed = capsys.readouterr().out
    assert max(map(len, printed.split("\n"))) <= 80
    for shown in (page, text, printed):
        assert "Toy answers better" in shown
        assert "\x1b[31m" not in shown
    assert "<b>|a" not in page
    assert "&lt;b>\\|a" in text
    assert "told apart, not pooled" in page  # c is one's own, two are left
    assert json.loads(as_text(parts))[0]["mine"] == "c"


def test_the_page_draws_every_set_and_the_next_one(tmp_path):
    paper, found = cards(tmp_path, [0.1, 0.12, 0.14], AHEAD)
    page = words.to_html(over_data(paper, found))
    assert page.count('<svg class="strip set">') == 3
    assert page.count('<svg class="strip next">') == 1
    assert "<script" not in page
