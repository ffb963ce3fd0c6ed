"""What stands beside an interval: whose number the paper's is, what was run, what could be seen, seed by seed."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import binomtest, trim_mean

from harness.papers.statement import (
    Bound,
    Claim,
    Items,
    Metric,
    Origin,
    Reported,
    Seen,
    difference,
    level,
    ratio,
)
from harness.reports.html import to_html
from harness.reports.languages import korean
from harness.reports.phrases import (
    asked,
    beside_the_paper,
    by_seed,
    choices,
    counted,
    counts,
    flags,
    notes,
    power,
    said,
    strength,
    tally,
    theirs,
    told,
    why,
)
from harness.reports.publish import short, three, whole
from harness.reports.terminal import to_terminal
from harness.reports.text import to_markdown
from harness.verdicts.origin import chosen, prototype_saw, sources
from harness.verdicts.scorecard import judge
from tests.records import PAPER, write_run

SPREAD = [0.0, 0.01, -0.01, 0.005, -0.005]


def judged(folder, *claims: Claim, seeds: int = 5, budget: str = "small", data=None, **gaps: float):
    """The card of these claims, of runs whose accuracy is .5 and of each method its gap, give or take .01."""
    records = []
    for turn, (name, gap) in enumerate({"toy": 0.1, "plain": 0.0, **gaps}.items()):
        for seed in range(seeds):
            noise = SPREAD[(seed * (turn + 1)) % 5]
            records.append(
                write_run(
                    folder,
                    name,
                    seed,
                    {"accuracy": 0.5 + gap + noise},
                    budget=budget,
                    data=data or {"corpus": "builtin:python"},
                    deterministic=False,
                )
            )
    (card,) = judge("toy", replace(PAPER, claims=list(claims)), records)
    return card


AHEAD = difference("accuracy", "toy", "plain")


# The same quantity, or words


def test_only_a_number_of_the_same_quantity_stands_beside_ours(tmp_path):
    theirs_of = {
        same: Reported(12.96, "win rate", "Table 1", Seen.PAPER, same=same) for same in (True, False)
    }
    card = judged(
        tmp_path, Claim("same", AHEAD, "s", theirs_of[True]), Claim("other", AHEAD, "s", theirs_of[False])
    )
    same, other = card["claims"]
    assert theirs(same) == "12.96 (Table 1, read in the paper)"
    assert "for 12.96, the paper's distance from the bound" in power(same)
    assert theirs(other) == "not compared (Table 1)"
    assert told(other) == "in words: win rate (read in the paper)"
    assert "half of it" in power(other)
    alone = {**card, "claims": [other]}
    for text in (to_markdown([alone]), to_html([alone]), short([alone]), whole([alone]), str(other)):
        assert "12.96" not in text


def test_words_are_the_default():
    assert not Reported(1.0, "x", "y", Seen.PAPER).same


def test_a_number_on_the_other_side_of_the_bound_is_no_distance_to_detect(tmp_path):
    told_by = Reported(0.02, "here", "Table 1", Seen.PAPER, same=True)
    own, counter = judged(
        tmp_path,
        Claim("own", replace(AHEAD, by=0.05), "s", told_by),
        Claim("counter", replace(AHEAD, by=0.05), "s", told_by, counter=True),
    )["claims"]
    assert own["power"]["target_is"] == "half"
    assert counter["power"]["target_is"] == "reported"


@pytest.mark.parametrize(("value", "says"), [(0.3, "at most"), (-0.3, "at least"), (0.001, "")])
def test_an_open_claim_says_when_it_excludes_the_papers_own_size(tmp_path, value, says):
    claim = Claim("c", AHEAD, "s", Reported(value, "x", "t", Seen.PAPER, same=True))
    (found,) = judged(tmp_path, claim, toy=0.0)["claims"]
    assert found["verdict"] == "open"
    assert found["reason"] == "the interval includes 0"
    assert says in beside_the_paper(found)
    assert ("excludes the paper's size" in flags(found)) == bool(says)
    other = {**found, "reported": {**found["reported"], "same": False}}
    del other["reported"]["value"]
    assert beside_the_paper(other) == ""


# What was run, and what could be seen


def test_a_claim_without_a_run_is_not_tested_rather_than_open(tmp_path):
    card = judged(tmp_path, Claim("c", difference("accuracy", "toy", "chance"), "s"), Claim("d", AHEAD, "s"))
    assert [claim["verdict"] for claim in card["claims"]] == ["not tested", "holds"]
    assert said(card, card["claims"][0]) == "not tested"


def test_a_claim_that_was_not_tested_says_what_it_takes(tmp_path):
    needs = "a GPU of 80 GB for a day"
    claims = [
        Claim("c", difference("accuracy", "toy", "chance"), "s", needs=needs),
        Claim("d", AHEAD, "s", needs=needs),
    ]
    untested, tested = judged(tmp_path, *claims)["claims"]
    assert untested["reason"].endswith(f"it has no finished run: it takes {needs}")
    assert needs not in tested["reason"]


def test_holms_family_are_the_claims_that_were_tested(tmp_path):
    """p of .05 survives alone, and not beside another claim that was tested."""
    untested = [Claim(str(i), difference("accuracy", "toy", "chance"), "s") for i in range(9)]
    close = Claim("close", replace(AHEAD, by=0.085), "s")
    alone = judged(tmp_path, *untested, close)["claims"]
    assert alone[-1]["verdict"] == "holds"
    assert alone[-1]["holm"]
    beside = judged(tmp_path, close, Claim("open", replace(AHEAD, by=0.1), "s"))["claims"]
    assert [claim["verdict"] for claim in beside] == ["holds", "open"]
    assert not beside[0]["holm"]
    control = judged(tmp_path, close, Claim("known", replace(AHEAD, by=0.1), "s", is_control=True))["claims"]
    assert control[0]["holm"]


def test_a_count_keeps_its_mark(tmp_path):
    paper = replace(
        PAPER,
        metrics={**PAPER.metrics, "bytes": Metric("lower", "bytes", exact=True)},
        claims=[
            Claim("small", ratio("bytes", "toy", than="plain", at_most=0.5), "s"),
            Claim("open", AHEAD, "s"),
        ],
    )
    records = [
        write_run(tmp_path, name, seed, {"bytes": size, "accuracy": 0.5 + SPREAD[seed]})
        for name, size in (("toy", 10.0), ("plain", 100.0))
        for seed in range(3)
    ]
    (card,) = judge("toy", paper, records)
    assert (card["claims"][0]["rule"], card["claims"][0]["holm"]) == ("exact", True)


@pytest.mark.parametrize(("at_least", "word"), [(0.2, "holds"), (0.9, "cannot be shown here")])
def test_a_claim_whose_control_does_not_hold_cannot_be_shown_here(tmp_path, at_least, word):
    claim = Claim("c", AHEAD, "s", control=level("accuracy", "plain", at_least=at_least))
    card = judged(tmp_path, claim)
    (found,) = card["claims"]
    assert (found["verdict"], found["holm"]) == (word, word == "holds")
    if word != "holds":
        assert why(found).startswith("Its control fails: accuracy of plain, asked > 0.9, is 0.5")
        assert "holds" not in said(card, found)


def test_a_control_that_was_not_run_shows_nothing(tmp_path):
    claim = Claim("c", AHEAD, "s", control=level("accuracy", "chance", at_least=0.2))
    (found,) = judged(tmp_path, claim)["claims"]
    assert found["verdict"] == "cannot be shown here"
    assert "Its control was not tested" in why(found)


def test_claims_controls_and_claims_against_the_paper_are_counted_apart(tmp_path):
    card = judged(
        tmp_path,
        Claim("own", AHEAD, "s"),
        Claim("own, not run", difference("accuracy", "chance", "plain"), "s"),
        Claim("against", AHEAD, "s", counter=True),
        Claim("known", AHEAD, "s", is_control=True),
    )
    assert {kind: counted(n) for kind, n in counts(card).items()} == {
        "paper": "1 holds, 1 not tested",
        "counter": "1 holds",
        "control": "1 holds",
    }
    assert tally(card) == (
        "2 claims of the paper: 1 holds, 1 not tested. 1 claim against it: 1 holds. 1 control: 1 holds"
    )
    (row,) = [line for line in short([card]).splitlines() if "builtin" in line or "python" in line][:1]
    assert "| 1 holds, 1 not tested | 1 holds | 1 holds |" in row
    for text in (to_markdown([card]), to_html([card]), whole([card])):
        assert "a control: its sign is known" in text
        assert "1 not tested" in text


def test_the_first_screen_shows_a_claim_of_each_verdict_and_none_against_the_paper(tmp_path):
    behind = difference("accuracy", "plain", than="toy", by=0)
    card = judged(
        tmp_path,
        Claim("against", AHEAD, "s", counter=True),
        Claim("ahead", AHEAD, "s"),
        Claim("behind", behind, "s"),
    )
    shown = three([card])
    assert "toy: ahead" in shown
    assert "toy: behind" in shown
    assert "against" not in shown
    assert shown.index("**holds") < shown.index("**fails")


def test_the_mark_of_holm_stands_in_every_table(tmp_path):
    card = judged(tmp_path, Claim("c", AHEAD, "s"))
    for text in (to_markdown([card]), to_html([card]), short([card]), whole([card])):
        assert "survives Holm" in text


@pytest.mark.parametrize("than", ["at_most", "at_least"])
def test_an_effect_size_has_the_claims_sign(tmp_path, than):
    """Toy is above plain: a claim that it is so has a positive effect size, one that it is not a negative one."""
    claim = Claim("c", ratio("accuracy", "toy", than="plain", **{than: 1.0}), "s")
    (found,) = judged(tmp_path, claim)["claims"]
    assert (found["effect"]["size"] > 0) == (found["verdict"] == "holds") == (than == "at_least")
    assert found["effect"]["ahead"] == found["reached"]["seeds"] == (5 if than == "at_least" else 0)


# Seed by seed


def test_each_seeds_value_is_shown_and_how_many_reach_the_bound(tmp_path):
    (found,) = judged(tmp_path, Claim("c", replace(AHEAD, by=0.1), "s"))["claims"]
    values = [value for _, value in found["by_seed"]]
    assert found["value"] == pytest.approx(np.mean(values))
    assert by_seed(found).count(" · ") == 4
    assert found["reached"]["seeds"] == sum(value > 0.1 for value in values)
    ((a, _), *_) = found["by_seed"]
    assert a == 0


def test_the_chance_of_another_seed_has_its_exact_interval(tmp_path):
    (found,) = judged(tmp_path, Claim("c", replace(AHEAD, by=0.101), "s"))["claims"]
    count = sum(value > 0.101 for _, value in found["by_seed"])
    oracle = binomtest(count, 5).proportion_ci(0.95, method="exact")
    assert 0 < count < 5
    assert (found["reached"]["low"], found["reached"]["high"]) == pytest.approx((oracle.low, oracle.high))
    assert f"with {count} of 5 seeds, P {count / 5:g} [" in strength(found)


@pytest.mark.parametrize(("seeds", "shown"), [(9, False), (12, True)])
def test_the_mean_of_the_middle_half_is_told_from_ten_seeds_on(tmp_path, seeds, shown):
    (found,) = judged(tmp_path, Claim("c", AHEAD, "s"), seeds=seeds)["claims"]
    values = [value for _, value in found["by_seed"]]
    assert ("mean of the middle half" in strength(found)) == shown
    assert found["middle"] == (pytest.approx(trim_mean(values, 0.25)) if shown else None)


def test_a_seed_that_lies_far_from_the_others_is_named_in_the_verdict(tmp_path):
    records = [
        write_run(tmp_path, name, seed, {"accuracy": value + SPREAD[seed]}, deterministic=False)
        for name, values in (("toy", [0.8, 0.8, 0.8, 0.02, 0.8]), ("plain", [0.5] * 5))
        for seed, value in enumerate(values)
    ]
    (card,) = judge("toy", replace(PAPER, claims=[Claim("c", AHEAD, "s")]), records)
    (found,) = card["claims"]
    assert [(one["method"], one["seed"]) for one in found["far"]] == [("toy", 3)]
    assert "seed 3 far from the others" in flags(found)
    for text in (to_markdown([card]), to_html([card])):
        assert "accuracy of toy with seed 3 lies far from its other seeds: 0.025, median 0.795" in text


@pytest.mark.parametrize(
    ("documents", "says"), [(5, "for these documents"), (50, "in 50 documents, design effect")]
)
def test_items_that_hang_together_are_told_by_their_groups(tmp_path, documents, says):
    """Five books say nothing of other books; fifty do, and what they cost is printed."""
    records = []
    for name, rate in (("toy", 0.8), ("plain", 0.5)):
        for seed in range(3):
            draw = np.random.default_rng([seed, len(name)])
            easy = draw.normal(scale=0.2, size=documents)
            of = np.arange(300) % documents
            column = rate + easy[of] + draw.normal(scale=0.05, size=300)
            groups = {"document": [f"d{one}" for one in of]}
            items = Items({"right": column.tolist()}, [f"q{i}" for i in range(300)], groups=groups)
            metrics = {"accuracy": float(np.mean(column))}
            records.append(write_run(tmp_path, name, seed, metrics, items={"accuracy": items}))
    (card,) = judge("toy", replace(PAPER, claims=[Claim("c", AHEAD, "s")]), records)
    (found,) = card["claims"]
    assert found["groups"] == {"document": documents}
    assert ("for these documents" in flags(found)) == (documents == 5)
    for text in (to_markdown([card]), to_html([card])):
        assert says in text


# Too small to be worth having


@pytest.mark.parametrize(
    ("gap", "margin", "word"),
    [(0.0, 0.05, "no difference"), (0.0, 0.01, "open"), (0.1, 0.2, "holds"), (-0.1, 0.05, "fails")],
)
def test_no_difference_worth_the_margin_is_an_answer_of_its_own(tmp_path, gap, margin, word):
    card = judged(tmp_path, Claim("c", AHEAD, "s", margin=margin), toy=gap)
    (found,) = card["claims"]
    low, high = found["equivalence"]["low"], found["equivalence"]["high"]
    assert found["low"] < low < high < found["high"]
    assert found["equivalence"]["within"] == (-margin < low and high < margin)
    assert found["verdict"] == word
    if word == "no difference":
        assert said(card, found) == "no difference worth 0.05 at small scale"
    if word == "holds":  # and is smaller than what is worth having: both are said
        assert "holds no difference worth 0.2" in why(found)


def test_a_claim_without_a_margin_never_says_no_difference(tmp_path):
    (found,) = judged(tmp_path, Claim("c", AHEAD, "s"), toy=0.0)["claims"]
    assert (found["verdict"], found["equivalence"]) == ("open", None)


@pytest.mark.parametrize("by", [0.9, 1.1])
def test_no_difference_lies_around_one_for_a_ratio_whatever_is_asked(tmp_path, by):
    claim = Claim("c", ratio("accuracy", "toy", than="plain", at_least=by), "s", margin=0.05)
    (found,) = judged(tmp_path, claim, toy=0.0)["claims"]
    assert found["equivalence"]["within"]


# Where a bound is from


def test_each_margin_says_where_it_is_from(tmp_path):
    margin = replace(AHEAD, by=0.05)
    bounds = [
        None,
        Bound(Origin.PAPER),
        Bound(Origin.INTEREST, "half a point"),
        Bound(Origin.PROTOTYPE, data="wikitext-2"),
    ]
    found = judged(tmp_path, *(Claim(str(b), margin, "s", bound=b) for b in bounds), Claim("0", AHEAD, "s"))
    assert "Its bound: half a point" in why(found["claims"][2])
    assert [asked(claim) for claim in found["claims"]] == [
        "> 0.05 (origin not stated)",
        "> 0.05 (from the paper)",
        "> 0.05 (the smallest difference worth having)",
        "> 0.05 (from a prototype of this experiment on wikitext-2)",
        "> 0",
    ]


@pytest.mark.parametrize(("data", "saw"), [("WikiText-2 validation", True), ("AG News", False)])
def test_a_bound_from_a_prototype_on_the_judged_data_is_no_independent_test(tmp_path, data, saw):
    claim = Claim("c", replace(AHEAD, by=0.05), "s", bound=Bound(Origin.PROTOTYPE, "", data))
    card = judged(tmp_path, claim, data={"corpus": "/sets/wikitext-2"})
    (found,) = card["claims"]
    assert ("not an independent test" in flags(found)) == saw
    for text in (to_markdown([card]), to_html([card]), whole([card])):
        assert ("not an independent test" in text) == saw


def test_judged_data_go_by_their_source_file_digest_and_what_was_drawn():
    names = sources(
        {"corpus": "builtin:python", "sts": "/a/sts.tsv"}, {"sts": "c0ffee0123"}, "run task.draw=31"
    )
    for data in ("Python's own docs", "sts", "builtin:python", "digest c0ffee01", "task.draw=31"):
        assert prototype_saw(Bound(Origin.PROTOTYPE, "", data), names), data
    for data in ("", "wikitext", "task.draw=3", "c0ffee99"):
        assert not prototype_saw(Bound(Origin.PROTOTYPE, "", data), names), data
    assert not prototype_saw(Bound(Origin.PAPER, "", "sts"), names)


@pytest.mark.parametrize(("untuned", "tested"), [(("toy",), False), (("toy", "plain"), True)])
def test_untuned_runs_judge_where_every_method_with_a_grid_is_untuned(tmp_path, untuned, tested):
    grid = {"slope": [0.0, 1.0]}
    methods = {name: replace(PAPER.methods[name], tune=grid) for name in ("toy", "plain")}
    claim = Claim("Toy is ahead", difference("accuracy", "toy", "plain"), "Table 1")
    paper = replace(PAPER, methods={**PAPER.methods, **methods}, claims=[claim], tuned_by="accuracy")
    records = [
        write_run(
            tmp_path,
            name,
            seed,
            {"accuracy": 0.5 + gap + SPREAD[seed]},
            changes={"tuned": False} if name in untuned else None,
        )
        for name, gap in (("toy", 0.1), ("plain", 0.0))
        for seed in range(3)
    ]
    (card,) = judge("toy", paper, records)
    (one,) = card["claims"]
    assert (one["verdict"] != "not tested", one["untuned"]) == (tested, tested)
    assert tested or "only runs with tuned=false" in one["reason"]


def test_a_control_of_another_method_is_read_from_its_untuned_runs_too(tmp_path):
    """The claim's own method and its control's were both run with tuned=false: that is alike."""
    grid = {"slope": [0.0, 1.0]}
    methods = {name: replace(PAPER.methods[name], tune=grid) for name in ("toy", "plain")}
    control = level("accuracy", "plain", at_least=0.3)
    claim = Claim("Toy is right", level("accuracy", "toy", at_least=0.4), "Table 1", control=control)
    paper = replace(PAPER, methods={**PAPER.methods, **methods}, claims=[claim], tuned_by="accuracy")
    changes = {"tuned": False}
    records = [
        write_run(tmp_path, name, seed, {"accuracy": 0.6 + SPREAD[seed]}, changes=changes)
        for name in ("toy", "plain")
        for seed in range(3)
    ]
    (card,) = judge("toy", paper, records)
    (one,) = card["claims"]
    assert (one["verdict"], one["untuned"], one["control"]["verdict"]) == ("holds", True, "holds")


def tuned(chosen: float, *scores: tuple[float, float | None]) -> dict:
    """What a run keeps of a grid of slopes."""
    points = [{"slope": slope, "validation": score} for slope, score in scores]
    return {"by": "accuracy", "chosen": {"slope": chosen}, "scores": points}


UP = ((0.5, 0.1), (1.0, 0.2), (2.0, 0.3))


@pytest.mark.parametrize(
    ("kept", "better", "ends", "beside"),
    [
        (tuned(2.0, *UP), "higher", {"slope": [0.5, 1.0, 2.0]}, ({"slope": 1.0}, 0.2)),
        (tuned(0.5, *UP), "lower", {"slope": [0.5, 1.0, 2.0]}, ({"slope": 1.0}, 0.2)),
        (tuned(1.0, (0.5, 0.1), (1.0, 0.4), (2.0, None)), "higher", {}, ({"slope": 0.5}, 0.1)),
        (tuned(2.0, (1.0, None), (2.0, 0.3)), "higher", {}, (None, None)),  # two values have nothing but ends
    ],
)
def test_a_choice_at_an_end_of_its_grid_is_told_with_the_next_best(kept, better, ends, beside):
    found = chosen(kept, better)
    assert found["ends"] == ends
    assert (found["next"], found["next_value"]) == beside
    assert found["value"] == next(
        p["validation"] for p in kept["scores"] if p["slope"] == found["setting"]["slope"]
    )


def test_names_have_no_ends_and_each_setting_of_a_grid_has_its_own():
    points = [
        {"kind": kind, "slope": slope, "validation": slope}
        for kind in ("flat", "mild", "steep")
        for slope in (1.0, 2.0, 3.0)
    ]
    kept = {"by": "loss", "chosen": {"kind": "steep", "slope": 1.0}, "scores": points}
    assert chosen(kept, "lower")["ends"] == {"slope": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    "kept", [{}, {"by": "loss"}, {"chosen": {"slope": 1.0}}, {"chosen": {}, "scores": [{}]}]
)
def test_runs_without_a_grid_or_with_half_of_one_have_chosen_nothing(kept):
    assert chosen(kept, "lower") is None


def test_a_strangers_grid_may_hold_anything(tmp_path):
    odd = (
        {"slope": [1], "validation": "much"},
        {},
        {"slope": {}, "validation": None},
        {"slope": 1.0, "validation": 2},
    )
    kept = {"by": "x", "chosen": {"slope": [1]}, "scores": list(odd)}
    records = [write_run(tmp_path, "toy", seed, {"accuracy": 0.5}, tuned=kept) for seed in range(3)]
    (card,) = judge("toy", PAPER, records)
    assert (card["methods"][0]["grid"]["value"], card["methods"][0]["grid"]["ends"]) == (None, {})
    for text in (to_markdown([card]), to_html([card]), printed([card])):
        assert "toy took slope" in " ".join(text.split())


@pytest.fixture
def at_ends(tmp_path):
    """The scorecard of a method whose grid chose its highest value, and of one whose grid chose an inner one."""
    grid = {"slope": [0.5, 1.0, 2.0]}
    methods = {name: replace(PAPER.methods[name], tune=grid) for name in ("toy", "plain")}
    claims = [
        Claim("Toy is ahead", difference("accuracy", "toy", "plain"), "Table 1"),
        Claim("Plain is right", level("accuracy", "plain", at_least=0.4), "Table 1"),
        Claim("Toy beats chance", difference("accuracy", "toy", "chance"), "Table 1"),  # which has no runs
    ]
    paper = replace(PAPER, methods={**PAPER.methods, **methods}, claims=claims, tuned_by="accuracy")
    inner = tuned(1.0, (0.5, 0.1), (1.0, 0.4), (2.0, 0.3))
    records = [
        write_run(tmp_path, name, seed, {"accuracy": 0.6 + gap + SPREAD[seed]}, tuned=kept)
        for name, gap, kept in (("toy", 0.1, tuned(2.0, *UP)), ("plain", 0.0, inner))
        for seed in range(3)
    ]
    (card,) = judge("toy", paper, records)
    return card


def test_a_claim_that_hangs_on_an_end_of_a_grid_says_so(at_ends):
    ahead, right, untested = at_ends["claims"]
    assert (ahead["edges"], right["edges"], untested["edges"]) == (["toy"], [], [])
    said = "Chosen at an end of the grid, beyond which nothing was tried: toy."
    assert said in why(ahead)
    assert "grid" not in why(right)


def printed(cards: list) -> str:
    """What the terminal shows with -v."""
    console = Console(file=io.StringIO(), width=80, color_system=None)
    to_terminal(cards, console, verbose=True)
    return console.file.getvalue()


@pytest.mark.parametrize("render", [to_markdown, to_html, whole, printed])
def test_a_report_says_what_each_grid_chose(at_ends, render):
    text = " ".join(render([at_ends]).split())
    assert (
        "toy took slope 2, at an end of 0.5, 1, 2: accuracy 0.3 on validation, next slope 1 with 0.2" in text
    )
    assert "plain took slope 1: accuracy 0.4 on validation, next slope 2 with 0.3" in text


def test_of_a_grid_that_was_widened_the_newest_run_tells(tmp_path):
    wide = tuned(2.0, *UP, (4.0, 0.25))
    records = [
        write_run(tmp_path, "toy", seed, {"accuracy": 0.5}, tuned=kept, around={"date": day})
        for seed, (kept, day) in enumerate(((tuned(2.0, *UP), "2026-01-02"), (wide, "2026-01-03")))
    ]
    for order in (records, records[::-1]):
        (card,) = judge("toy", PAPER, order)
        assert card["methods"][0]["grid"]["ends"] == {}


@pytest.fixture
def mixed(tmp_path):
    """The scorecard of a method whose third seed was made after its grid had changed, and chose another setting."""
    claims = [Claim("Toy is ahead", difference("accuracy", "toy", "plain"), "Table 1")]
    methods = {
        name: replace(PAPER.methods[name], tune={"slope": [0.5, 1.0, 2.0]}) for name in ("toy", "plain")
    }
    paper = replace(PAPER, methods={**PAPER.methods, **methods}, claims=claims, tuned_by="accuracy")
    inner, wider = (
        tuned(1.0, (0.5, 0.1), (1.0, 0.4), (2.0, 0.3)),
        tuned(2.0, (1.0, 0.1), (2.0, 0.4), (4.0, 0.3)),
    )
    kept = {"toy": (inner, inner, wider), "plain": (inner, inner, inner)}
    records = [
        write_run(
            tmp_path,
            name,
            seed,
            {"accuracy": 0.6 + SPREAD[seed]},
            tuned=kept[name][seed],
            around={"date": day},
        )
        for name in ("toy", "plain")
        for seed, day in enumerate(("2026-01-01", "2026-01-01", "2026-01-03"))
    ]
    (card,) = judge("toy", paper, records)
    return card


def test_seeds_that_other_grids_have_tuned_are_told_apart(mixed):
    (claim,) = mixed["claims"]
    assert claim["mixed"] == ["toy"]
    assert "Its seeds have different settings, of different grids (rerun=true): toy." in why(claim)
    toy, plain = (method["grid"] for method in mixed["methods"][:2])
    assert (toy["setting"], toy["others"]) == ({"slope": 2.0}, [{"setting": {"slope": 1.0}, "seeds": [0, 1]}])
    assert plain["others"] == []
    assert choices(mixed)[0] == "toy has slope 1 in seeds 0, 1, of another grid"
    for sentence in (*choices(mixed), *notes(claim)):
        assert re.search("[가-힣]", korean(sentence)), sentence


def test_what_a_grid_chose_is_said_in_korean(at_ends):
    for sentence in (
        *choices(at_ends),
        "Chosen at an end of the grid, beyond which nothing was tried: toy",
    ):
        assert re.search("[가-힣]", korean(sentence)), sentence
