"""Places in a ranking: what the verdict rule separates has a place of its own, what it cannot shares a range."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.numbers import ordinal
from harness.papers.reduction import reduce
from harness.papers.statement import Items, Metric, difference
from harness.reports.phrases import place
from harness.verdicts.places import places_of
from harness.verdicts.stats import Cell, estimate, verdict

UP = Metric("higher", "accuracy")


def cell(method: str, *values: float, items=(), fixed: bool = False) -> Cell:
    return Cell(method, "accuracy", dict(enumerate(values)), lambda: dict(enumerate(items)), fixed)


def answering(method: str, rate: float, seeds: int, taste: int, fixed: bool = False, n: int = 400) -> Cell:
    rng = np.random.default_rng(taste)
    runs = [
        Items({"right": (rng.random(n) < rate).astype(float)}, [f"q{i}" for i in range(n)])
        for _ in range(seeds)
    ]
    return cell(method, *(reduce(UP, run.columns) for run in runs), items=runs, fixed=fixed)


def test_what_is_separable_has_a_place_of_its_own():
    found = places_of(
        UP,
        {"a": cell("a", 0.9, 0.91, 0.92), "b": cell("b", 0.5, 0.52, 0.51), "c": cell("c", 0.1, 0.13, 0.1)},
    )
    assert found == {"a": (1, 1), "b": (2, 2), "c": (3, 3)}


def test_what_is_not_separable_shares_its_places():
    close = {
        "a": cell("a", 0.9, 0.91, 0.93),
        "b": cell("b", 0.91, 0.9, 0.92),
        "c": cell("c", 0.1, 0.11, 0.12),
    }
    assert places_of(UP, close) == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


def test_lower_is_better_turns_the_ranking_around():
    cells = {"a": cell("a", 9.0, 9.1, 9.2), "b": cell("b", 5.0, 5.3, 5.2)}
    assert places_of(Metric("lower", "perplexity"), cells) == {"b": (1, 1), "a": (2, 2)}


def test_too_few_seeds_take_no_place():
    assert places_of(UP, {"a": cell("a", 0.9, 0.91, 0.92), "b": cell("b", 0.1, 0.2)}) == {"a": (1, 1)}


def test_each_pair_is_judged_as_a_claim_would_be():
    """The draws are made once for all pairs; the verdicts are those of `estimate`, which makes them anew."""
    cells = {
        "a": answering("a", 0.80, 4, 1),
        "b": answering("b", 0.77, 4, 2),
        "c": answering("c", 0.70, 3, 3),
        "fixed": answering("fixed", 0.74, 1, 4, fixed=True),
        "other": answering("other", 0.50, 1, 5, fixed=True),
    }
    places = {method: [1, len(cells)] for method in cells}
    for one, other in itertools.combinations(cells, 2):
        contrast = difference("accuracy", one, other)
        said = verdict(estimate(contrast, {"accuracy": UP}, [cells[one], cells[other]]))
        if said != "open":
            ahead, behind = (one, other) if said == "holds" else (other, one)
            places[behind][0] += 1
            places[ahead][1] -= 1
    assert {method: list(place) for method, place in places_of(UP, cells).items()} == places
    assert len({tuple(place) for place in places.values()}) > 1


def test_methods_measured_on_other_items_are_not_ranked():
    other = answering("b", 0.2, 3, 1)
    moved = [Items(run.columns, [f"z{i}" for i in range(400)]) for run in other.items().values()]
    with pytest.raises(HarnessError, match="measured on other items"):
        places_of(UP, {"a": answering("a", 0.9, 3, 2), "b": cell("b", *other.values.values(), items=moved)})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 100), min_size=3, max_size=3), min_size=1, max_size=5))
def test_places_are_places(table):
    cells = {str(i): cell(str(i), *(v / 7 for v in row)) for i, row in enumerate(table)}
    found = places_of(UP, cells)
    assert all(1 <= first <= last <= len(cells) for first, last in found.values())
    assert min(first for first, _ in found.values()) == 1
    assert max(last for _, last in found.values()) == len(cells)


def test_places_read_as_words():
    card = {"places": {"accuracy": {"a": [1, 1], "b": [2, 4]}}}
    assert [place(card, "accuracy", m) for m in "abc"] == ["1st", "2nd–4th", ""]
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 102)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd"]
    )
