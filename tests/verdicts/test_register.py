"""The register of bounds: what a claim asked when its runs were first judged, and what changed after that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.papers.plugins import load
from harness.papers.statement import Claim, difference
from harness.reports.phrases import flags, notes
from harness.reports.stored import read_cards
from harness.verdicts.register import NAME, entered, read_register, registered
from harness.verdicts.scorecard import judge
from tests.records import PAPER, write_run

TRACKED = Path(__file__).parent.parent.parent / "results" / "scorecard"
AHEAD = difference("accuracy", "toy", "plain", by=0.05)
CLAIM = Claim("Toy is ahead", AHEAD, "s")


def cards(folder, *claims: Claim, seeds=range(3), **config):
    records = [
        write_run(folder, name, seed, {"accuracy": gap + (seed % 5) / (90 + turn)}, **config)
        for turn, (name, gap) in enumerate((("toy", 0.6), ("plain", 0.5)))
        for seed in seeds
    ]
    return judge("toy", replace(PAPER, claims=list(claims)), records)


def judge_twice(folder, first: Claim, *then: Claim, seeds=range(3), **config):
    """Enter the first claim's card, and return the claims of the second's."""
    path = folder / NAME
    entered(cards(folder / "one", first), path)
    (card,) = entered(cards(folder / "two", *then, seeds=seeds, **config), path)
    return card["claims"]


def test_the_first_judged_run_enters_what_the_claim_asks(tmp_path):
    (card,) = entered(cards(tmp_path, CLAIM), tmp_path / NAME)
    line, *judged = read_register(tmp_path / NAME)
    assert (line["text"], line["by"], line["side"], line["metric"]) == (
        "Toy is ahead",
        0.05,
        "above",
        "accuracy",
    )
    assert (line["setting"][:3], line["seeds"]) == (["toy", "small", "cpu"], [0, 1, 2])
    assert [(one["judged"], len(one["runs"])) for one in judged] == [("toy", 3), ("plain", 3)]
    assert not flags(card["claims"][0]) or flags(card["claims"][0]) == ["survives Holm"]


def test_judging_again_adds_nothing(tmp_path):
    for _ in range(3):
        (card,) = entered(cards(tmp_path, CLAIM), tmp_path / NAME)
    assert len(read_register(tmp_path / NAME)) == 3
    assert card["claims"][0]["registered"]["was"] is None


def test_another_bound_after_data_marks_the_row_and_stays_marked(tmp_path):
    changed = replace(CLAIM, contrast=replace(AHEAD, by=0.02))
    for _ in range(2):
        (found,) = judge_twice(tmp_path, CLAIM, changed)
        assert "bound changed after data" in flags(found)
        assert any("as accuracy: toy ahead of plain > 0.05" in note for note in notes(found))


@pytest.mark.parametrize("turn", [{"than": "chance"}, {"metric": "perplexity_1L"}, {"side": "below"}])
def test_another_contrast_under_the_same_words_is_a_change(tmp_path, turn):
    changed = replace(CLAIM, contrast=replace(AHEAD, **turn))
    (found,) = judge_twice(tmp_path, CLAIM, changed)
    if found["verdict"] == "not tested":  # of cells that no run has: nothing is judged, nothing changes
        assert found["registered"]["was"] is None
    else:
        assert "bound changed after data" in flags(found)


def test_new_words_with_a_new_bound_are_still_the_same_claim(tmp_path):
    (found,) = judge_twice(tmp_path, CLAIM, Claim("Toy is a bit ahead", replace(AHEAD, by=0.01), "s"))
    assert "bound changed after data" in flags(found)
    assert any("“Toy is ahead”" in note for note in notes(found))


def test_new_words_alone_are_told_without_the_mark(tmp_path):
    (found,) = judge_twice(tmp_path, CLAIM, Claim("Toy leads", AHEAD, "s"))
    assert "bound changed after data" not in flags(found)
    assert any("“Toy is ahead”" in note for note in notes(found))


def test_a_bound_that_is_changed_back_is_the_registered_one(tmp_path):
    judge_twice(tmp_path, CLAIM, replace(CLAIM, contrast=replace(AHEAD, by=0.02)))
    (card,) = entered(cards(tmp_path / "two", CLAIM), tmp_path / NAME)
    assert card["claims"][0]["registered"]["was"] is None


def test_a_claim_added_after_its_values_were_seen_is_no_independent_test(tmp_path):
    other = Claim("Toy is far ahead", difference("accuracy", "plain", "toy", by=-0.3), "s")
    first, late = judge_twice(tmp_path, CLAIM, CLAIM, other)
    assert not first["registered"]["late"]
    assert "not an independent test" in flags(late)


@pytest.mark.parametrize(
    "unseen", [{"seeds": range(10, 13)}, {"task": {"length": 128}}], ids=["seeds", "data"]
)
def test_unseen_seeds_or_data_judge_a_late_claim_and_a_changed_bound(tmp_path, unseen):
    other = Claim("Toy is far ahead", difference("accuracy", "plain", "toy", by=-0.3), "s")
    changed = replace(CLAIM, contrast=replace(AHEAD, by=0.02))
    for found in judge_twice(tmp_path, CLAIM, changed, other, **unseen):
        assert not {"not an independent test", "bound changed after data"} & set(flags(found))


def test_seeds_added_after_a_look_are_told(tmp_path):
    (found,) = judge_twice(tmp_path, CLAIM, CLAIM, seeds=range(5))
    assert "Seeds were added after a look at 3 of them" in notes(found)


def test_smoke_runs_and_claims_without_a_run_are_not_entered(tmp_path):
    entered(cards(tmp_path, CLAIM, budget="smoke"), tmp_path / NAME)
    assert read_register(tmp_path / NAME) == []
    entered(cards(tmp_path, Claim("c", difference("accuracy", "toy", "chance"), "s")), tmp_path / NAME)
    assert [line.get("judged") for line in read_register(tmp_path / NAME)] == ["toy", "plain"]


def test_a_register_that_cannot_be_written_or_was_cut_off_stops_no_report(tmp_path):
    made = cards(tmp_path, CLAIM)
    (tmp_path / "file").write_text("")
    (card,) = entered(made, tmp_path / "file" / NAME)  # no folder: nothing can be written
    assert card["claims"][0]["registered"]["was"] is None
    path = tmp_path / NAME
    _, lines = registered(made, [])
    path.write_text(json.dumps(lines[0])[:40])
    entered(made, path)
    assert len(read_register(path)) == 3


def test_the_tracked_register_knows_the_bound_of_every_published_claim():
    cards, added = registered(read_cards(TRACKED), read_register(TRACKED / NAME))
    assert added == []
    for card in cards:
        for claim in card["claims"]:
            assert claim["verdict"] == "not tested" or claim["registered"], claim["text"]


def test_a_report_enters_what_it_judges_and_needs_no_folder_that_it_may_write(harness):
    metrics, results = load("alibi").paper.metrics, harness.folder / "results"
    for seed in range(3):
        for turn, name in enumerate(("alibi", "rotary")):
            values = {metric: 9.0 + place / 7 + seed / (9 + turn) for place, metric in enumerate(metrics)}
            write_run(results, name, seed, values, paper="alibi")
    harness("report", "alibi")
    before = (results / NAME).read_text()
    assert json.loads(before.splitlines()[0])["setting"][0] == "alibi"
    (results / NAME).unlink()
    (results / NAME).mkdir()  # not even root can write a line into a folder
    assert "the paper" in harness("report", "alibi").stdout
    (card,) = json.loads(harness("report", "alibi", "--json").stdout)
    assert card["schema"] == 2
