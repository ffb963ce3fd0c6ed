"""Each kind of figure from made-up scorecards: where the numbers land, what is said in words, what is refused."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import Any

import pytest

from harness.papers.statement import Figure
from harness.reports import figures
from harness.reports.plots import legend_columns
from harness.verdicts.scorecard import judge
from tests.records import PAPER, write_run

GRID = {f"found@{n}/{d}": (f"{n}", f"{d} %") for n in (512, 1024) for d in (0, 50, 100)}
NEEDLES = Figure("Needles found", "heat map", GRID, x="context", y="depth")


def card(**methods: dict[str, Any]) -> dict[str, Any]:
    """A scorecard with nothing but the means of each method's metrics."""
    rows = [
        {
            "method": name,
            "metrics": {
                metric: {"mean": value, "low": None, "high": None} for metric, value in known.items()
            },
        }
        for name, known in methods.items()
    ]
    return {"methods": rows}


def drawn(figure: Figure, scorecard: dict[str, Any]) -> figures.Drawing:
    return figures.drawing(figure, figures.lines(figure, scorecard), "t")


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_a_heat_map_has_a_panel_a_method_and_a_cell_a_metric():
    found = drawn(NEEDLES, card(toy=dict.fromkeys(GRID, 0.25), plain={"found@512/0": 0.75}))
    shown = texts(found.svg)
    assert [shown.count(words) for words in ("toy", "plain", "0.25", "0.75", "–")] == [1, 1, 6, 1, 5]
    assert found.alt.startswith(
        "Heat maps of the values by context and depth. toy: 512 and 0 %: 0.25, 512 and 50 %"
    )
    assert "plain: 512 and 0 %: 0.75." in found.alt


def test_heat_maps_of_all_methods_share_one_scale_of_colours():
    def colours(scorecard):
        return re.findall(r"fill: (#[0-9a-f]{6})[^>]*>?\s*", drawn(NEEDLES, scorecard).svg)

    low, high = dict.fromkeys(GRID, 0.0), dict.fromkeys(GRID, 1.0)
    both = colours(card(low=low, high=high))
    assert {"#00224e", "#fee838"} <= set(both)  # the ends of the scale: one method has each
    assert "#fee838" not in colours(card(low=low, half=dict.fromkeys(GRID, 0.0), other=low))


@pytest.mark.parametrize(
    ("kind", "point", "wants"),
    [
        ("heat map", "512", "(column, row)"),
        ("line", "512", "x as a number"),
        ("bar", ("a", "b"), "its label"),
    ],
)
def test_points_that_a_kind_cannot_place_are_refused(kind, point, wants):
    with pytest.raises(
        ValueError, match=re.escape(f"figure 'T': give m its {wants}".replace("its its", "its"))
    ):
        Figure("T", kind, {"m": point}, x="", y="")


def test_logarithmic_values_are_plain_numbers_in_every_kind():
    for kind, points in (("bar", {"a": "A"}), ("line", {"a": 1.0}), ("arrows", {"a": "1", "b": "2"})):
        figure = Figure("T", kind, points, x="x", y="y", log_y=True)
        shown = texts(drawn(figure, card(toy={"a": 6.0, "b": 40.0}, plain={"a": 40.0, "b": 6.0})).svg)
        assert {"10", "20"} & set(shown), kind
        assert not [words for words in shown if "math" in words or "^" in words], kind


TURNS = Figure("Turns", "arrows", {"turn1": "1", "turn2": "2"}, x="turn", y="accuracy")


def test_arrows_lead_from_each_point_to_the_next_and_say_both_ends():
    found = drawn(
        TURNS, card(up={"turn1": 0.5, "turn2": 0.75}, down={"turn1": 0.5, "turn2": 0.25}, half={"turn1": 0.5})
    )
    assert {"up", "down", "half", "turn 1", "turn 2", "accuracy"} <= set(texts(found.svg))
    assert (
        found.alt == "Arrows of accuracy by turn. up: 1: 0.5, 2: 0.75; down: 1: 0.5, 2: 0.25; half: 1: 0.5."
    )
    up, half = (found.svg.count(f'data-m="{place}"') for place in (0, 2))
    assert up == half + 1  # an arrow where both ends are known


def test_a_scatter_sets_one_metric_against_another():
    figure = Figure(
        "Cost", "scatter", {"accuracy": "y", "seconds": "x"}, x="seconds", y="accuracy", log_x=True
    )
    found = drawn(
        figure, card(toy={"accuracy": 0.5, "seconds": 10.0}, plain={"accuracy": 0.25, "seconds": 1000.0})
    )
    assert {"toy", "plain", "seconds", "accuracy"} <= set(texts(found.svg))
    assert (
        found.alt == "Dots of accuracy (y) against seconds (x). toy: y: 0.5, x: 10; plain: y: 0.25, x: 1,000."
    )


def test_a_scatter_needs_both_its_axes():
    with pytest.raises(ValueError, match="one metric for x and one for y"):
        Figure("T", "scatter", {"a": "x"}, x="", y="")


def test_a_scorecard_carries_its_figures_through_json(tmp_path):
    records = [write_run(tmp_path, "toy", seed, {"accuracy": 0.5 + seed / 10}) for seed in range(3)]
    (found,) = judge("toy", replace(PAPER, figures=[NEEDLES]), records)
    assert asdict(Figure(**found["figures"][0]))["points"]["found@512/0"] == ["512", "0 %"]


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        (["alibi", "sinusoidal", "rotary", "t5_bias", "none", "learned"], 3),
        (["rouge_1_syllable", "rouge_2_morpheme", "rouge_l_morpheme"], 2),  # sixteen letters three times
        (["a_method_with_settings (rate=0.1)", "another_method_with_them (rate=0.2)"], 1),
        ([], 3),
    ],
)
def test_a_legend_has_as_many_columns_as_fit(labels, columns):
    assert legend_columns(labels) == columns
