"""Items that hang together: whole groups count, few of them do not, and one text is cut into stretches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.papers.reduction import bootstrap, reduce
from harness.papers.statement import Items, Metric, difference, level
from harness.runs.results import read_items, write_items
from harness.verdicts.ceilings import clopper_pearson
from harness.verdicts.groups import clustered, stretches
from harness.verdicts.stats import Cell, Interval, estimate, verdict

SCORE = {"score": Metric("higher", "score")}
GAP = difference("score", "a", "b")
Grouping = Mapping[str, Sequence[object]]


def judged(
    a: np.ndarray,
    b: np.ndarray,
    groups: Grouping | None = None,
    metrics: Mapping[str, Metric] = SCORE,
    fixed: Sequence[str] = (),
    contiguous: bool = False,
) -> Interval:
    """Judge two methods by (seeds, items) scores; those with one row are deterministic."""
    ids = [f"q{i}" for i in range(a.shape[1])]

    def cell(name: str, scores: np.ndarray) -> Cell:
        items = {
            seed: Items({"score": row}, ids, groups or {}, fixed, contiguous)
            for seed, row in enumerate(scores)
        }
        return Cell(name, "score", dict(enumerate(scores.mean(axis=1))), lambda: items, len(scores) == 1)

    return estimate(GAP, metrics, [cell("a", a), cell("b", b)])


def documents(rng: np.random.Generator, documents: int, systems: int, share: float) -> np.ndarray:
    """Return (documents x systems) scores of which a share of the variance is a document's."""
    luck = rng.normal(0, share**0.5, (documents, 1))
    return (luck + rng.normal(0, (1 - share) ** 0.5, (documents, systems))).ravel()


# Which draws


def test_without_groups_the_draws_are_those_of_before():
    rng = np.random.default_rng(21)
    columns = {"x": rng.normal(size=700).round(3), "y": rng.normal(size=700).round(3)}
    before = {
        "mean": (
            "-0x1.226b08c9f1cadp-9",
            "0x1.536202ecfb9c3p-6",
            "0x1.82f17a0c91a17p-5",
            "0x1.1af0a2578f8f7p-5",
        ),
        "spearman": (
            "0x1.be78350013c62p-5",
            "0x1.0b6889a659ddbp-4",
            "0x1.5b3d045e62905p-4",
            "0x1.b8f941e682d76p-5",
        ),
        "kendall": (
            "0x1.33e3cdd3ecdc1p-5",
            "0x1.5ccec46dfd154p-5",
            "0x1.c37616a36029bp-5",
            "0x1.26150590daf31p-5",
        ),
    }
    for name, expected in before.items():
        drawn = bootstrap(Metric("higher", "", reduce=name), [columns], 400)[:, 0]
        for place, value in zip(
            (0, 213, 214, 399), expected, strict=True
        ):  # a block ends between the middle two
            assert drawn[place] == pytest.approx(float.fromhex(value), rel=1e-12, abs=1e-15), (name, place)


@pytest.mark.parametrize("name", ["mean", "exp_mean", "spearman", "pearson", "kendall"])
def test_groups_of_one_are_no_groups(name):
    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(size=300), "y": rng.normal(size=300)}
    metric = Metric("higher", "", reduce=name)
    alone = bootstrap(metric, [columns], 50, np.arange(300))
    assert np.array_equal(alone, bootstrap(metric, [columns], 50))


@pytest.mark.parametrize("name", ["mean", "exp_mean", "spearman", "pearson", "kendall", "function"])
def test_drawing_a_group_draws_all_its_items(name):
    rng = np.random.default_rng(1)
    columns = {"x": rng.normal(size=40).round(1), "y": rng.normal(size=40).round(1)}
    codes = rng.permutation(np.minimum(np.arange(40), 11))  # one large group, eleven of one item
    metric = Metric("higher", "", reduce=(lambda c: float(np.median(c["x"]))) if name == "function" else name)
    picks = np.random.default_rng([12, 0]).integers(12, size=(25, 12))
    one_by_one = []
    for pick in picks:
        items = np.concatenate([np.flatnonzero(codes == group) for group in pick])
        one_by_one.append(reduce(metric, {k: v[items] for k, v in columns.items()}))
    assert bootstrap(metric, [columns], 25, codes)[:, 0] == pytest.approx(one_by_one, abs=1e-12)


# Which interval


def test_a_mean_over_equal_groups_is_the_t_interval_of_their_means():
    rng = np.random.default_rng(2)
    a, b = documents(rng, 20, 15, 0.3), documents(rng, 20, 15, 0.3)
    found = judged(a[None], b[None], {"document": np.repeat(np.arange(20), 15)})
    oracle = scipy.stats.ttest_1samp((a - b).reshape(20, 15).mean(axis=1), 0)
    interval = oracle.confidence_interval()
    assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, oracle.pvalue))
    assert (found.rule, found.items, found.groups, found.freedom) == ("items", 300, {"document": 20}, 19)
    assert found.design == pytest.approx(
        (a - b).reshape(20, 15).mean(axis=1).var(ddof=1) / 20 / ((a - b).var(ddof=1) / 300)
    )


def test_crossed_factors_count_what_either_alone_would_miss():
    """By hand from the simulated formula: max(d, s, d + s - c) of squared half-widths."""
    rng = np.random.default_rng(3)
    gap = rng.normal(0, 0.45, (30, 1)) + rng.normal(0, 0.45, (1, 20)) + rng.normal(0, 1, (30, 20))
    row, column = (g.ravel() for g in np.indices(gap.shape))
    found = judged(gap.reshape(1, -1), np.zeros((1, gap.size)), {"document": row, "system": column})

    def squared(values: np.ndarray) -> float:
        n = values.size
        return scipy.stats.t.ppf(0.975, n - 1) ** 2 * values.var(ddof=1) / n

    d, s, c = squared(gap.mean(axis=1)), squared(gap.mean(axis=0)), squared(gap)
    half = max(d, s, d + s - c) ** 0.5
    assert (found.low, found.high) == pytest.approx((gap.mean() - half, gap.mean() + half))
    assert half**2 == d + s - c
    assert found.groups == {"document": 30, "system": 20}


def test_crossed_factors_are_never_narrower_than_one_of_them():
    """Where all systems are alike, `d + s - c` would take from the documents what nobody gave."""
    rng = np.random.default_rng(3)
    gap = rng.normal(0, 0.45, (30, 1)) + rng.normal(0, 1, (30, 20))
    gap -= gap.mean(axis=0) - 0.1  # no system differs from another
    row, column = (g.ravel() for g in np.indices(gap.shape))
    a, b = gap.reshape(1, -1), np.zeros((1, gap.size))
    both, one = judged(a, b, {"document": row, "system": column}), judged(a, b, {"document": row})
    assert (both.low, both.high) == pytest.approx((one.low, one.high))


def test_rare_answers_in_few_groups_count_a_group_once():
    """Four wrong answers in four of forty documents do not tell how alike a document's answers are."""
    scores = np.ones(400)
    scores[[5, 105, 205, 305]] = 0
    items = Items({"right": scores}, [str(i) for i in range(400)], {"document": np.repeat(np.arange(40), 10)})
    cell = Cell("a", "score", {0: scores.mean()}, lambda: {0: items}, True)
    found = estimate(level("score", "a", at_least=0.9), SCORE, [cell])
    assert (found.low, found.high) == pytest.approx(clopper_pearson(0.99 * 40, 40, 0.05))


def test_seeds_and_whole_groups_add_their_squared_half_widths():
    rng = np.random.default_rng(4)
    gap = np.repeat(rng.normal(0.2, 0.5, 25), 10) + rng.normal(0, 0.1, (4, 1)) + rng.normal(0, 0.5, (4, 250))
    found = judged(gap, np.zeros((4, 250)), {"document": np.repeat(np.arange(25), 10)})
    t = scipy.stats.t.ppf(0.975, [3, 24])
    groups = gap.mean(axis=0).reshape(25, 10).mean(axis=1)
    half = np.hypot(t[0] * gap.mean(axis=1).std(ddof=1) / 2, t[1] * groups.std(ddof=1) / 5)
    assert found.rule == "seeds+items"
    assert (found.low, found.high) == pytest.approx((gap.mean() - half, gap.mean() + half))


def test_the_p_value_says_where_the_interval_would_end():
    """With two parts and with crossed factors alike: at level 1 - p the interval ends at the bound."""
    rng = np.random.default_rng(5)
    gap = rng.normal(0.1, 0.4, (20, 1)) + rng.normal(0, 0.2, (1, 15)) + rng.normal(0, 1, (20, 15))
    row, column = (g.ravel() for g in np.indices(gap.shape))
    seeds = gap.ravel() + rng.normal(0, 0.05, (5, 1))
    ids = [str(i) for i in range(300)]
    groups = {"document": row, "system": column}
    cell = Cell(
        "a",
        "score",
        dict(enumerate(seeds.mean(axis=1))),
        lambda: {i: Items({"x": r}, ids, groups) for i, r in enumerate(seeds)},
    )
    claim = level("score", "a", at_least=0.0)
    p = estimate(claim, SCORE, [cell]).p
    edge = estimate(claim, SCORE, [cell], level=1 - p)
    assert min(abs(edge.low), abs(edge.high)) == pytest.approx(0, abs=1e-9)


def test_correlations_of_grouped_items_are_resampled_in_whole_groups():
    """Twenty documents whose items repeat one another are worth twenty items, not two hundred."""
    rng = np.random.default_rng(6)
    gold, seen = rng.normal(size=20), rng.normal(size=20)
    columns = {"p": np.repeat(gold + seen, 10), "g": np.repeat(gold, 10)}
    metric = {"score": Metric("higher", "", reduce="pearson")}
    items = Items(columns, [str(i) for i in range(200)], {"document": np.repeat(np.arange(20), 10)})
    cell = Cell("a", "score", {0: reduce(metric["score"], columns)}, lambda: {0: items}, True)
    found = estimate(level("score", "a", at_least=0), metric, [cell])
    few = bootstrap(metric["score"], [{"p": gold + seen, "g": gold}], 300)[:, 0]
    assert found.item_error == pytest.approx(few.std(ddof=1) * (20 / 19) ** 0.5, rel=1e-9)
    assert 5 < found.design < 20


def test_fixed_factors_are_not_generalised_over():
    rng = np.random.default_rng(7)
    gap = rng.normal(0, 1, (1, 4)) + rng.normal(0, 1, (60, 4))  # four kinds of edits of sixty articles
    article, kind = (g.ravel() for g in np.indices(gap.shape))
    a, b = gap.reshape(1, -1), np.zeros((1, 240))
    both = {"article": article, "kind": kind}
    found = judged(a, b, both, fixed=("kind",))
    assert found == judged(a, b, {"article": article})
    assert "4 kinds are too few" in judged(a, b, both).reason


# Few groups


def test_eight_books_are_judged_by_seeds_alone_and_it_says_so():
    rng = np.random.default_rng(8)
    scores = rng.normal(0.3, 0.01, (3, 1)) + rng.normal(0, 1, 400)
    found = judged(scores, np.zeros((3, 400)), {"book": np.repeat(np.arange(8), 50)})
    assert (found.rule, found.scope, found.items) == ("seeds", "for these books", 0)
    assert found.groups == {"book": 8}
    t = scipy.stats.ttest_1samp(scores.mean(axis=1), 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((t.low, t.high))


def test_eight_books_without_seeds_are_open_with_that_reason():
    scores = np.random.default_rng(9).normal(1, 0.1, (1, 400))
    found = judged(scores, np.zeros((1, 400)), {"book": np.repeat(np.arange(8), 50)})
    assert isnan(found.low)
    assert found.reason == "8 books are too few to speak of others: 10 are needed"


def test_ten_groups_are_enough():
    scores = np.random.default_rng(10).normal(1, 0.1, (1, 400))
    assert verdict(judged(scores, np.zeros((1, 400)), {"book": np.repeat(np.arange(10), 40)})) == "holds"


# One long text


def test_a_text_whose_neighbours_are_alike_is_cut_into_stretches():
    rng = np.random.default_rng(11)
    series = np.repeat(rng.normal(size=100), 6) + 0.1 * rng.normal(size=600)
    codes = stretches(series)
    lengths = np.bincount(codes)
    assert (np.diff(codes) >= 0).all()
    assert 12 <= lengths[0] <= 40
    assert (lengths[:-1] == lengths[0]).all()
    assert lengths[0] <= lengths[-1] < 2 * lengths[0]
    found = judged(series[None], np.zeros((1, 600)), contiguous=True)
    assert found.groups == {"stretch": codes[-1] + 1}
    assert found.design > 3


def test_a_text_whose_neighbours_are_not_alike_is_not_cut():
    series = np.random.default_rng(12).normal(size=600)
    assert len(set(stretches(series))) == 600
    assert judged(series[None], np.zeros((1, 600)), contiguous=True) == judged(
        series[None], np.zeros((1, 600))
    )


def test_a_constant_text_has_nothing_to_cut():
    assert len(set(stretches(np.ones(50)))) == 50


# Stored and refused


def test_groups_are_stored_and_read_back(tmp_path):
    ids = [str(i) for i in range(6)]
    written = {
        "summary": Items(
            {"x": np.arange(6.0)}, ids, {"dialogue": [1, 1, 2, 2, 3, 3], "kind": list("ababab")}, ("kind",)
        ),
        "loss": Items({"x": np.arange(4.0)}, ids[:4], contiguous=True),
        "plain": Items({"y": np.arange(3.0)}, ids[:3]),
    }
    write_items(tmp_path, written)
    found = read_items(tmp_path)
    assert found["summary"].groups == {"dialogue": ["1", "1", "2", "2", "3", "3"], "kind": list("ababab")}
    assert found["summary"].fixed == ("kind",)
    assert (found["loss"].contiguous, found["loss"].groups) == (True, {})
    assert (found["plain"].contiguous, found["plain"].groups, found["plain"].fixed) == (False, {}, ())
    assert found["summary"].columns["x"].tolist() == list(range(6))


def test_items_of_before_have_no_groups(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"metric": ["m", "m"], "id": ["a", "b"], "x": [1.0, 2.0]})
    pq.write_table(table.replace_schema_metadata({"columns": '{"m": ["x"]}'}), tmp_path / "items.parquet")
    found = read_items(tmp_path)["m"]
    assert (found.ids, found.groups, found.contiguous) == (["a", "b"], {}, False)


def test_a_run_of_before_is_judged_by_the_groups_of_the_others():
    rng = np.random.default_rng(13)
    ids, groups = [str(i) for i in range(240)], {"document": np.repeat(np.arange(24), 10)}
    a, b = documents(rng, 24, 10, 0.5), documents(rng, 24, 10, 0.5)

    def cells(of_a: Grouping, of_b: Grouping) -> list[Cell]:
        return [
            Cell(m, "score", {0: x.mean()}, lambda x=x, g=g: {0: Items({"x": x}, ids, g)}, True)
            for m, x, g in (("a", a, of_a), ("b", b, of_b))
        ]

    assert estimate(GAP, SCORE, cells({}, groups)) == estimate(GAP, SCORE, cells(groups, groups))
    other = {"document": np.repeat(np.arange(12), 20)}
    with pytest.raises(HarnessError, match="put the same items into different groups"):
        estimate(GAP, SCORE, cells(groups, other))


def test_groups_follow_their_items_into_another_order():
    rng = np.random.default_rng(14)
    ids, groups = [str(i) for i in range(240)], np.repeat(np.arange(24), 10)
    a, b = documents(rng, 24, 10, 0.5), documents(rng, 24, 10, 0.5)
    straight = Items({"x": b}, ids, {"document": groups})
    turned = Items({"x": b[::-1]}, ids[::-1], {"document": groups[::-1]})

    def found(of_b: Items) -> Interval:
        of_a = Items({"x": a}, ids, {"document": groups})
        cells = [Cell(m, "score", {0: 0.0}, lambda i=i: {0: i}, True) for m, i in (("a", of_a), ("b", of_b))]
        return estimate(GAP, SCORE, cells)

    assert found(turned) == found(straight)


BAD = {
    "another length": (Items({"x": [1, 2]}, ["a", "b"], {"g": [1]}), "has 1 entries for 2 items"),
    "a column's name": (Items({"x": [1, 2]}, ["a", "b"], {"x": [1, 2]}), "has the name of a column"),
    "NaN": (Items({"x": [1, 2]}, ["a", "b"], {"g": [1.0, float("nan")]}), "is NaN or None"),
    "None": (Items({"x": [1, 2]}, ["a", "b"], {"g": ["u", None]}), "is NaN or None"),
    "fixed, but no group": (
        Items({"x": [1, 2]}, ["a", "b"], {"kind": [1, 2]}, ("kinds",)),
        "did you mean 'kind'",
    ),
    "a text in groups": (
        Items({"x": [1, 2]}, ["a", "b"], {"g": [1, 2]}, (), True),
        "contiguous pieces of one",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_groups_that_cannot_be_used_are_refused_in_one_sentence(kind, tmp_path):
    items, says = BAD[kind]
    with pytest.raises(HarnessError, match=says):
        write_items(tmp_path, {"m": items})
    assert not list(tmp_path.iterdir())


def test_one_group_for_all_items_is_refused_where_it_is_judged():
    with pytest.raises(HarnessError, match="all items are in one group of 'book'"):
        judged(np.ones((1, 300)), np.zeros((1, 300)), {"book": ["it"] * 300})


def test_three_factors_are_too_many_to_cross():
    codes = np.arange(300) % 20
    groups = {"a": codes, "b": codes // 2, "c": codes // 4}
    with pytest.raises(HarnessError, match="two factors may cross"):
        judged(np.ones((1, 300)), np.zeros((1, 300)), groups)


# Properties


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_relabelling_groups_changes_nothing(seed, groups):
    rng = np.random.default_rng(seed)
    influence, codes = rng.normal(size=(2, 60)), np.arange(60) % groups
    names = rng.permutation(groups)
    assert clustered(influence, names[codes]) == pytest.approx(clustered(influence, codes))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_groups_of_one_have_the_items_variance(seed):
    x = np.random.default_rng(seed).normal(size=50)
    alone = clustered((x - x.mean())[None], np.arange(50))
    assert alone[0, 0] == pytest.approx(x.var(ddof=1) / 50)
