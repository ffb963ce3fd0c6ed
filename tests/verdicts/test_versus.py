"""Wins of one method over another: judged as a share of items at .5, found once both runs are there, and kept."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binomtest

from harness import Claim, Items, Metric, difference, level, wins
from harness.errors import HarnessError
from harness.papers.plugins import _problems
from harness.reports.phrases import quantity
from harness.reports.text import to_markdown
from harness.runs.results import find_runs
from harness.verdicts import versus as room
from harness.verdicts.register import registered
from harness.verdicts.scorecard import judge
from harness.verdicts.stats import Cell, cells_of, estimate, verdict
from harness.verdicts.versus import FOLDER, Versus
from tests.records import PAPER, Task, write_run

JUDGE = Metric("higher", "share of answers that win", range=(0, 1), versus=True)
METRICS = {"judge": JUDGE}
OVER = wins("judge", "toy", over="plain")
ITEMS = 220
TASK = Task(length=64, steps=300)
TOY = replace(
    PAPER,
    metrics={**PAPER.metrics, "judge": JUDGE},
    claims=[
        Claim("Its answers win", OVER, "table 1"),
        Claim("They do not", wins("judge", "plain", over="toy"), "nowhere", counter=True),
    ],
)


# The rule


def cell(rows, name="toy over plain"):
    """Return a cell of wins, (seeds, items); one seed is a pair of deterministic methods."""
    ids = [str(i) for i in range(len(rows[0]))]
    items = {seed: Items({"wins": list(row)}, ids) for seed, row in enumerate(rows)}
    values = {seed: float(np.mean(row)) for seed, row in enumerate(rows)}
    return Cell(name, "judge", values, lambda: items, deterministic=len(rows) == 1)


def drawn(seeds, shares=(0.3, 0.2, 0.5), n=ITEMS, seed=0):
    return np.random.default_rng(seed).choice([0.0, 0.5, 1.0], size=(seeds, n), p=shares)


@pytest.mark.parametrize("rows", [drawn(1), drawn(1, (0.4, 0.0, 0.6)), drawn(5), drawn(5, n=30)])
def test_wins_are_judged_as_a_level_of_the_same_items(rows):
    plain = {"judge": replace(JUDGE, versus=False)}
    found = estimate(OVER, METRICS, [cell(rows)])
    assert found == estimate(level("judge", "toy over plain", at_least=0.5), plain, [cell(rows)])
    assert found.value == pytest.approx(rows.mean())


@pytest.mark.parametrize(
    "rows", [drawn(1, (0.4, 0.0, 0.6)), drawn(5), drawn(5, n=30), drawn(4, (0.5, 0.5, 0))]
)
def test_the_other_way_round_it_is_the_mirrored_interval_with_the_same_p(rows):
    one, other = (estimate(OVER, METRICS, [cell(r)]) for r in (rows, 1 - rows))
    assert other.value == pytest.approx(1 - one.value)
    assert (other.low, other.high) == pytest.approx((1 - one.high, 1 - one.low))
    assert other.p == pytest.approx(one.p)
    turned = {"holds": "fails", "fails": "holds", "open": "open"}
    assert verdict(other, 0.5) == turned[verdict(one, 0.5)]


def test_wins_without_ties_are_the_exact_binomial_s():
    rows = drawn(1, (0.4, 0.0, 0.6))
    found = estimate(OVER, METRICS, [cell(rows)])
    exact = binomtest(int(rows.sum()), ITEMS).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_ties_are_halves_and_nothing_but_ties_decides_nothing():
    ties = estimate(OVER, METRICS, [cell(np.full((5, ITEMS), 0.5))])
    assert (ties.value, verdict(ties, 0.5)) == (0.5, "open")
    even = np.tile([1.0, 0.5, 0.5, 0.0], (5, 60))
    assert estimate(OVER, METRICS, [cell(even)]).value == 0.5


def test_wins_are_read_of_two_methods_at_once():
    assert cells_of(OVER) == [("toy over plain", "judge")]
    assert OVER.methods == ("toy", "plain")


def test_nobody_wins_over_itself_or_more_than_always():
    with pytest.raises(ValueError, match="over itself"):
        wins("judge", "toy", over="toy")
    with pytest.raises(ValueError, match="between 0 and 1"):
        wins("judge", "toy", over="plain", by=1.0)


def test_a_paper_says_which_metrics_compare_and_claims_them_so():
    def said(**stated):
        return "; ".join(_problems(replace(TOY, **stated)))

    assert "judge" not in said()
    assert "wins('judge', ...)" in said(claims=[Claim("x", difference("judge", "toy", than="plain"), "s")])
    assert "marked versus" in said(claims=[Claim("x", wins("accuracy", "toy", over="plain"), "s")])
    assert "range=(0, 1)" in said(metrics={**TOY.metrics, "judge": replace(JUDGE, range=None)})
    assert "chosen by one" in said(tuned_by="judge")


# Two runs, a hook and what is kept


def versus(one, other):
    ours, theirs = (json.loads((folder / "answers.json").read_text()) for folder in (one, other))
    if ours.keys() != theirs.keys():
        raise HarnessError("the runs have other items")
    return {"judge": Items({"w": [(1 + np.sign(ours[k] - theirs[k])) / 2 for k in ours]}, list(ours))}


class Toy:
    """A plugin with the toy paper and one hook, which counts how often it is asked."""

    name = "toy"

    def __init__(self, hook=versus, paper=TOY):
        self.paper, self.answer, self.times = paper, hook, 0
        self.module = SimpleNamespace(__name__=__name__, versus=versus)

    def implements(self, name):
        return self.answer is not None

    def hook(self, name):
        def call(task, one, other):
            self.times += 1
            assert task == TASK
            return self.answer(one, other)

        return call


def write(results, seeds=5, better=0.3, name="plain", single=False, changes=None):
    for method, shift in (("toy", better), (name, 0.0)):
        for seed in range(1 if single and method == name else seeds):
            record = write_run(results, method, seed, {"accuracy": 0.5}, changes=changes)
            scores = np.round(shift + np.random.default_rng([seed, len(method)]).normal(size=ITEMS), 1)
            (record.folder / "output").mkdir()
            given = {f"q{i}": score for i, score in enumerate(scores)}
            (record.folder / "output" / "answers.json").write_text(json.dumps(given))
    return results


@pytest.fixture
def results(tmp_path):
    return write(tmp_path)


def cards(results, plugin):
    return judge("toy", plugin.paper, list(find_runs(results)), versus=Versus(plugin, results))


def test_a_sweep_s_wins_become_two_verdicts_that_mirror_each_other(results):
    (card,) = cards(results, Toy())
    one, other = card["claims"]
    assert (one["verdict"], other["verdict"]) == ("holds", "fails")
    assert one["value"] == pytest.approx(1 - other["value"])
    assert (one["seeds"], one["items"], one["rule"]) == (5, ITEMS, "seeds+items")
    assert [seed for seed, _ in one["by_seed"]] == list(range(5))
    assert quantity(one) == "judge: toy wins over plain"
    text = to_markdown([card])
    assert "Its answers win" in text
    assert "> 0.5" in text
    assert "origin not stated" not in text


def test_wins_belong_to_no_method_alone(results):
    (card,) = cards(results, Toy())
    assert all("judge" not in method["metrics"] for method in card["methods"])
    assert "judge" not in card["places"]


def test_the_register_knows_that_both_methods_wins_were_judged(results):
    lines = registered(cards(results, Toy()), [])[1]
    assert {line["judged"] for line in lines if "judge" in line.get("metrics", ())} == {"toy", "plain"}


def test_a_method_without_seeds_is_compared_with_each_seed_of_the_other(tmp_path):
    apart = write(tmp_path, name="chance", single=True)
    paper = replace(TOY, claims=[Claim("x", wins("judge", "toy", over="chance"), "s")])
    (card,) = cards(apart, Toy(paper=paper))
    assert card["claims"][0]["seeds"] == 5


def test_the_hook_is_asked_once_a_pair_and_never_again(results):
    first, second = Toy(), Toy()
    before = cards(results, first)[0]["claims"]
    assert first.times == 10
    assert cards(results, second)[0]["claims"] == before
    assert second.times == 0


def kept(results):
    return sorted((results / FOLDER / "toy").glob("*.json"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "null",
        lambda text: "[]",
        lambda text: '{"key": 1}',
        lambda text: text.replace("1.0", "0.0", 1),
        lambda text: text.replace("q1", "q0", 1),
        lambda text: "\x00" * 50,
        lambda text: "[" * 100_000,
    ],
)
def test_a_damaged_file_is_made_again_as_it_was(results, damage):
    before = cards(results, Toy())[0]["claims"]
    file = kept(results)[0]
    whole = file.read_text()
    file.write_text(damage(whole))
    plugin = Toy()
    assert cards(results, plugin)[0]["claims"] == before
    assert plugin.times == 1
    assert file.read_text() == whole


def test_a_file_of_another_pair_in_its_place_is_not_believed(results):
    before = cards(results, Toy())[0]["claims"]
    one, other = kept(results)[:2]
    one.write_text(other.read_text())
    assert cards(results, Toy())[0]["claims"] == before


def test_other_code_of_the_hook_and_a_run_made_again_ask_anew(results):
    cards(results, Toy())
    plugin = Toy()
    changed = Versus(plugin, results)
    changed.__dict__["code"] = "of another day"
    judge("toy", TOY, list(find_runs(results)), versus=changed)
    assert plugin.times == 10
    records = list(find_runs(results))
    again = next(record for record in records if record.result.config["name"] == "toy")
    again.result.timings["train"] += 1
    plugin = Toy()
    judge("toy", TOY, records, versus=Versus(plugin, results))
    assert plugin.times == 2


def test_results_that_may_only_be_read_are_judged_all_the_same(results, monkeypatch):
    before = cards(results, Toy())[0]["claims"]
    for file in kept(results):
        file.unlink()

    def refused(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(room, "write_json", refused)
    assert cards(results, Toy())[0]["claims"] == before
    assert not kept(results)


def test_a_file_where_the_folder_should_be_does_not_matter(results):
    (results / FOLDER).write_text("")
    assert cards(results, Toy())[0]["claims"][0]["verdict"] == "holds"


def reason(results, plugin=None):
    (card,) = cards(results, plugin or Toy())
    claim = card["claims"][0]
    return claim["verdict"], claim["reason"]


def test_outputs_that_are_gone_and_runs_that_share_no_items_are_said(results):
    for record in find_runs(results):
        if record.result.config["name"] == "plain":
            file = record.folder / "output" / "answers.json"
            file.write_text('{"other": 1.0}')
    assert reason(results) == ("not tested", "toy over plain has no judge: the runs have other items")
    for record in find_runs(results):
        (record.folder / "output" / "answers.json").unlink()
        (record.folder / "output").rmdir()
    said = reason(results)
    assert said[0] == "not tested"
    assert "output is not here" in said[1]


def test_a_method_that_was_not_run_is_named(results):
    for record in list(find_runs(results)):
        if record.result.config["name"] == "plain":
            (record.folder / "result.json").unlink()
    assert reason(results) == ("not tested", "plain has no judge: it has no finished run")


def test_who_judges_without_a_plugin_has_nobody_to_ask(results):
    (card,) = judge("toy", TOY, list(find_runs(results)))
    assert card["claims"][0]["verdict"] == "not tested"


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ({}, "returned nothing"),
        ({"judge": 0.5}, "no Items of one column"),
        ({"judge": Items({"a": [1.0], "b": [0.0]}, ["q"])}, "no Items of one column"),
        ({"judge": Items({"a": [1.0, 0.0]}, ["q"])}, "each item one of its own"),
        ({"judge": Items({"a": [1.0, 0.0]}, ["q", "q"])}, "each item one of its own"),
        ({"judge": Items({"a": []}, [])}, "0 ids"),
        ({"judge": Items({"a": [1.5]}, ["q"])}, "between 0 and 1"),
        ({"judge": Items({"a": [float("nan")]}, ["q"])}, "between 0 and 1"),
        ({"judge": Items({"a": [1.0]}, ["q"]), "accuracy": Items({"a": [1.0]}, ["q"])}, "accuracy"),
        (None, "raised AttributeError"),
    ],
)
def test_what_is_no_wins_is_refused_by_what_is_wrong_with_it(results, returned, said):
    verdict_, why = reason(results, Toy(hook=lambda one, other: returned))
    assert verdict_ == "not tested"
    assert said in why


def test_several_judgments_an_item_are_draws(results):
    def judges(one, other):
        (items,) = versus(one, other).values()
        return {"judge": Items({"w": [[w, w, 0.5] for w in items.columns["w"]]}, items.ids)}

    (card,) = cards(results, Toy(hook=judges))
    assert card["claims"][0]["drawn"] > 0


def test_untuned_runs_of_both_are_compared_and_marked(tmp_path):
    grid, claims = (
        {"slope": [1.0, 2.0]},
        [Claim("x", OVER, "s", control=wins("judge", "toy", over="plain", by=0.4))],
    )
    methods = {
        name: replace(method, tune=grid) if name in ("toy", "plain") else method
        for name, method in TOY.methods.items()
    }
    (card,) = cards(
        write(tmp_path, changes={"tuned": False}), Toy(paper=replace(TOY, methods=methods, claims=claims))
    )
    assert [claim["untuned"] for claim in card["claims"]] == [True]
    assert [card["claims"][0]["verdict"], card["claims"][0]["control"]["verdict"]] == ["holds", "holds"]
