"""Scorecards written in older words are read in today's, and judged anew as far as they tell."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from benchmarks import anew
from harness.papers.statement import difference
from harness.reports.phrases import SIGNS, flags, theirs
from harness.reports.publish import with_table
from harness.reports.stored import read_cards, upgraded
from harness.verdicts.intervals import quantile
from harness.verdicts.scorecard import judge
from tests.records import PAPER, write_sweep

TRACKED = Path(__file__).parent.parent.parent / "results" / "scorecard"


def older(card):
    """A scorecard as it was written before it had a schema."""
    kept = (
        "text",
        "source",
        "counter",
        "kind",
        "metric",
        "method",
        "than",
        "over",
        "by",
        "side",
        "of",
        "low",
    )
    kept += ("high", "seeds", "items", "rule", "verdict", "holm", "reason")
    claims = [
        {
            **{key: claim[key] for key in kept},
            "difference": claim["value"],
            "reported": {"value": 12.96, "setting": "BLEU", "source": "Table 3", "seen": "paper"},
            "effect": {"size": -2.0, "spread": "seeds", "ahead": 1},
            "power": {"target_is": "reported"},
        }
        for claim in card["claims"]
    ]
    rest = {k: v for k, v in card.items() if k not in ("schema", "places", "claims")}
    return {**rest, "ranks": card["places"], "claims": claims}


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    (found,) = judge("toy", PAPER, write_sweep(tmp_path_factory.mktemp("runs")))
    return json.loads(json.dumps(found))


def test_a_card_in_todays_words_is_read_as_it_is(card):
    assert upgraded(card) == card


def test_an_older_card_has_todays_words_and_the_values_of_its_seeds(card):
    found = upgraded(older(card))
    assert set(found) == set(card)
    for one, now in zip(found["claims"], card["claims"], strict=True):
        assert set(one) == set(now)
        assert (one["value"], one["low"]) == (now["value"], now["low"])
        for key in ("by_seed", "reached", "far"):
            assert one[key] == now[key]
    assert found["places"] == card["places"]


def test_nobody_said_that_an_older_cards_number_is_of_the_same_quantity(card):
    found = upgraded(older(card))
    assert "12.96" not in json.dumps(found)
    assert theirs(found["claims"][0]) == "not compared (Table 3)"
    assert found["claims"][0]["power"] is None


def test_an_older_effect_size_is_turned_to_the_claims_side(card):
    below, above = upgraded(older(card))["claims"][:2]
    assert (below["side"], below["effect"]["size"], below["effect"]["ahead"]) == ("below", 2.0, 4)
    assert (above["side"], above["effect"]["size"], above["effect"]["ahead"]) == ("above", -2.0, 1)


def test_what_had_no_run_was_not_tested(card):
    old = older(card)
    claim = {**old["claims"][0], "verdict": "open", "reason": "toy has no accuracy: it has no finished run"}
    (found,) = upgraded({**old, "claims": [claim]})["claims"]
    assert found["verdict"] == "not tested"
    wide = {**claim, "reason": "the interval includes 0: more seeds or items would decide"}
    (found,) = upgraded({**old, "claims": [wide]})["claims"]
    assert (found["verdict"], found["reason"]) == ("open", "the interval includes 0")


def test_the_published_cards_are_read_and_shown():
    cards = read_cards(TRACKED)
    text = with_table("<!-- scorecard -->\n<!-- /scorecard -->", cards)
    for card in cards:
        for claim in card["claims"]:
            assert claim["verdict"] in SIGNS
            assert all(flag in text for flag in flags(claim))
    assert "more seeds or items" not in text


@pytest.mark.parametrize(("seed_error", "item_error"), [(0.02, 0.05), (0.05, 0.02)])
def test_judging_anew_finds_the_items_part_of_a_published_interval(seed_error, item_error):
    """The published half-width was t(S - 1) on the sum of the variances; today's adds squared half-widths."""
    seeds, items = 5, 400
    values = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    values = 0.3 + values / values.std(ddof=1) * seed_error * sqrt(seeds)
    half = quantile(0.05, seeds - 1) * sqrt(seed_error**2 + item_error**2)
    claim = {
        "low": 0.3 - half,
        "high": 0.3 + half,
        "value": 0.3,
        "rule": "seeds+items",
        "items": items,
        "seeds": seeds,
        "verdict": "holds",
    }

    def summary(known):
        return {"values": list(known)}

    card = {
        "methods": [
            {"method": "a", "seeds": range(5), "deterministic": False, "metrics": {"m": summary(values)}},
            {"method": "b", "seeds": range(5), "deterministic": False, "metrics": {"m": summary([0.0] * 5)}},
        ],
        "metrics": {"m": {"better": "higher", "text": "", "unit": ""}},
    }
    found = anew.interval(claim, difference("m", "a", "b"), anew.metrics_of(card), anew.cells_in(card))
    added = (quantile(0.05, seeds - 1) * seed_error) ** 2 + (quantile(0.05, items - 1) * item_error) ** 2
    assert found.high - found.value == pytest.approx(sqrt(added))
    assert found.high - found.value < half
