"""The verdict rule on small numbers: metrics, intervals, contrasts, degenerate cases; oracles from scipy."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.papers.reduction import bootstrap, reduce
from harness.papers.statement import Contrast, Items, Metric, difference, level, ratio, share
from harness.verdicts.stats import Cell, cells_of, equivalent, estimate, holm, seeds_interval, verdict

UP, DOWN = Metric("higher", "accuracy"), Metric("lower", "perplexity", reduce="exp_mean")
METRICS = {"accuracy": UP, "perplexity": DOWN, "longer": DOWN}
MISSING = float("nan")


def cell(method: str, *values: float, metric: str = "accuracy", items=None, fixed: bool = False) -> Cell:
    """A cell whose seeds are 0, 1, 2 ..."""
    behind = dict(enumerate(items or []))
    return Cell(method, metric, dict(enumerate(values)), lambda: behind, fixed)


def hits(rate: float, n: int = 400, seed: int = 0) -> Items:
    """n items that are right with probability `rate`."""
    right = (np.random.default_rng(seed).random(n) < rate).astype(float)
    return Items({"right": right}, [f"q{i}" for i in range(n)])


def judged(contrast: Contrast, *cells: Cell):
    found = estimate(contrast, METRICS, cells)
    by = contrast.by
    return found, verdict(found, by, contrast.side)


# A metric is computed from its items


def test_named_reductions_agree_with_scipy_and_numpy():
    rng = np.random.default_rng(0)
    gold, prediction = rng.normal(size=50).round(1), rng.normal(size=50).round(1)  # rounded: ties
    columns = {"prediction": prediction, "gold": gold}
    oracle = {
        "mean": prediction.mean(),
        "exp_mean": np.exp(prediction.mean()),
        "spearman": scipy.stats.spearmanr(prediction, gold).statistic,
        "pearson": scipy.stats.pearsonr(prediction, gold).statistic,
        "kendall": scipy.stats.kendalltau(prediction, gold).statistic,
    }
    for name, expected in oracle.items():
        assert reduce(Metric("higher", "", reduce=name), columns) == pytest.approx(expected, abs=1e-12), name


def test_a_paper_may_reduce_its_columns_itself():
    recall = Metric("higher", "recall", reduce=lambda c: c["found"].sum() / c["there"].sum())
    assert reduce(recall, {"found": [1, 2], "there": [4, 4]}) == 3 / 8


@pytest.mark.parametrize("name", ["mean", "exp_mean", "spearman", "pearson", "kendall", "function"])
def test_weighted_resampling_equals_reducing_the_resampled_items(name):
    rng = np.random.default_rng(1)
    columns = {"x": rng.normal(size=40).round(1), "y": rng.normal(size=40).round(1)}
    metric = Metric("higher", "", reduce=(lambda c: float(np.median(c["x"]))) if name == "function" else name)
    picks = np.random.default_rng([40, 0]).integers(40, size=(25, 40))
    one_by_one = [reduce(metric, {k: v[pick] for k, v in columns.items()}) for pick in picks]
    assert bootstrap(metric, [columns], 25)[:, 0] == pytest.approx(one_by_one, abs=1e-12)


def test_correlation_with_a_constant_is_not_a_number():
    for name in ("spearman", "pearson", "kendall"):
        assert isnan(reduce(Metric("higher", "", reduce=name), {"x": [0.1] * 5, "y": range(5)}))


@pytest.mark.parametrize(
    ("how", "columns", "says"),
    [
        ("mean", {}, "none"),
        ("mean", {"x": []}, "at least one item"),
        ("spearman", {"x": [1, 2]}, "two item columns"),
        ("spearman", {"x": [1, 2], "y": [1]}, "one length"),
        ("spearmen", {"x": [1], "y": [1]}, "did you mean 'spearman'"),
    ],
)
def test_items_that_cannot_be_reduced_are_refused_with_the_reason(how, columns, says):
    with pytest.raises(HarnessError, match=says):
        reduce(Metric("higher", "", reduce=how), columns)


@pytest.mark.parametrize("constant", [0.1, 0.7, 1 / 3])
def test_a_constant_has_no_correlation_however_its_mean_rounds(constant):
    columns = {"x": np.full(7, constant), "y": np.arange(7.0)}
    assert np.isnan(bootstrap(Metric("higher", "", reduce="pearson"), [columns], 50)).all()


def test_tau_of_more_items_than_a_block_holds_is_scipys():
    rng = np.random.default_rng(5)
    x = rng.normal(size=700)
    columns = {"x": x, "y": x + rng.normal(size=700)}
    expected = scipy.stats.kendalltau(columns["x"], columns["y"]).statistic
    assert reduce(Metric("higher", "", reduce="kendall"), columns) == pytest.approx(expected, abs=1e-12)


def test_every_draw_is_another_one_also_beyond_a_block():
    """A block holds 108 draws of 1,379 items: the next block must not begin again."""
    x = np.random.default_rng(6).normal(size=1379)
    drawn = bootstrap(Metric("higher", ""), [{"x": x}], 2000)[:, 0]
    assert len(set(drawn)) == 2000
    assert drawn.std() == pytest.approx(x.std() / 1379**0.5, rel=0.06)


# Over seeds


def test_seeds_interval_is_the_paired_t_interval():
    a, b = np.array([0.71, 0.74, 0.69, 0.75]), np.array([0.66, 0.70, 0.68, 0.67])
    oracle = scipy.stats.ttest_rel(a, b)
    low, high = oracle.confidence_interval(0.95)
    found = seeds_interval(a - b)
    assert (found.low, found.high, found.p) == pytest.approx((low, high, oracle.pvalue))
    assert (found.rule, found.seeds) == ("seeds", 4)


def test_three_seeds_by_hand():
    # differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t(.975, 2 df) = 4.303
    found = seeds_interval([1.0, 2.0, 3.0])
    assert (found.low, found.high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)


def test_a_small_real_spread_decides():
    """A ten-thousandth of the value is no rounding."""
    found = seeds_interval([1.0001, 1.0002, 1.0003], by=1.0)
    assert found.low == pytest.approx(1.0002 - 4.303 * 1e-4 / 3**0.5, abs=1e-7)
    assert not found.reason


def test_fewer_than_three_seeds_is_open_and_says_so():
    found, says = judged(difference("accuracy", "a", "b"), cell("a", 0.9, 0.8), cell("b", 0.1, 0.2))
    assert says == "open"
    assert found.value == pytest.approx(0.7)
    assert found.reason == "3 paired seeds are needed and there are 2"


def test_seeds_pair_by_number_and_only_common_ones_count():
    a = Cell("a", "accuracy", {0: 0.5, 1: 0.6, 2: 0.7, 7: 0.0})
    b = Cell("b", "accuracy", {2: 0.3, 1: 0.1, 0: 0.2, 9: 1.0})
    found, _ = judged(difference("accuracy", "a", "b"), a, b)
    assert found.seeds == 3
    assert found.value == pytest.approx((0.3 + 0.5 + 0.4) / 3)


def test_no_common_seed_is_open():
    found, says = judged(
        difference("accuracy", "a", "b"), Cell("a", "accuracy", {0: 1.0}), Cell("b", "accuracy", {1: 1.0})
    )
    assert says == "open"
    assert "no seed in common (a: 0; b: 1)" in found.reason


def test_a_deterministic_run_pairs_with_every_seed():
    found, _ = judged(difference("accuracy", "a", "b"), cell("a", 0.5, 0.6, 0.7), cell("b", 0.4, fixed=True))
    assert found.seeds == 3
    assert (found.value, found.rule) == (pytest.approx(0.2), "seeds")


def test_equal_seeds_without_items_leave_a_claim_open():
    found, says = judged(difference("accuracy", "a", "b"), cell("a", 0.9, 0.9, 0.9), cell("b", 0.1, 0.1, 0.1))
    assert says == "open"
    assert "all 3 seeds gave the same value" in found.reason


EACH_KIND = [
    difference("accuracy", "a", "b"),
    ratio("accuracy", "a", than="b", at_least=1.0),
    ratio("accuracy", "a", than="b", at_most=1.0),
    level("accuracy", "a", at_least=0.0),
    level("accuracy", "a", at_most=9.0),
    share("accuracy", "a", of=("b", "full"), at_least=0.1),
]


@pytest.mark.parametrize("contrast", EACH_KIND, ids=lambda c: f"{c.kind} {c.side}")
@pytest.mark.parametrize(
    "seeds", [{}, {0: 0.9}, {0: 0.9, 1: 0.8}, {0: 0.9, 1: 0.9, 2: 0.9}, {0: 0.9, 1: None, 2: 0.8}], ids=str
)
def test_no_kind_of_contrast_decides_without_an_interval(contrast, seeds):
    """A ratio's interval is an exponential: one that does not exist must not become infinite."""
    others = {"b": cell("b", 0.5, 0.5, 0.5), "full": cell("full", 1.0, 1.0, 1.0)}
    cells = [others.get(method, Cell("a", "accuracy", seeds)) for method, _ in cells_of(contrast)]
    found, says = judged(contrast, *cells)
    assert says == "open"
    assert isnan(found.low)
    assert isnan(found.high)
    assert found.reason


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), None])
def test_a_run_that_is_not_finite_leaves_a_claim_open_and_is_named(broken):
    found, says = judged(
        difference("accuracy", "a", "b"), cell("a", 0.5, broken, 0.7), cell("b", 0.1, 0.2, 0.3)
    )
    assert says == "open"
    assert found.reason == "accuracy of a with seed 1 is not finite"


def test_an_absent_metric_leaves_a_claim_open_with_its_reason():
    gone = Cell("learned", "accuracy", {}, absent="no embedding beyond position 64")
    found, says = judged(difference("accuracy", "a", "learned"), cell("a", 1, 2, 3), gone)
    assert says == "open"
    assert found.reason == "learned has no accuracy: no embedding beyond position 64"


# Over items


def test_a_deterministic_pair_is_judged_over_items_as_scipy_does():
    a, b = hits(0.80, seed=1), hits(0.70, seed=2)
    found, says = judged(
        difference("accuracy", "a", "b"),
        cell("a", reduce(UP, a.columns), items=[a], fixed=True),
        cell("b", reduce(UP, b.columns), items=[b], fixed=True),
    )
    oracle = scipy.stats.bootstrap(
        (a.columns["right"] - b.columns["right"],), np.mean, method="percentile", n_resamples=4000, rng=0
    ).confidence_interval
    assert (found.rule, found.items) == ("items", 400)
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=0.006)
    assert says == "holds"


@pytest.mark.parametrize("n", [199, 200])
def test_two_hundred_items_of_a_deterministic_pair_are_enough_and_one_less_is_not(n):
    a, b = hits(1.0, n), hits(0.5, n)
    found, says = judged(
        difference("accuracy", "a", "b"),
        cell("a", 1.0, items=[a], fixed=True),
        cell("b", 0.5, items=[b], fixed=True),
    )
    if n == 200:
        assert (says, found.items, found.reason) == ("holds", 200, "")
    else:
        assert says == "open"
        assert found.reason == "200 paired items are needed and there are 199"


@pytest.mark.parametrize("n", [199, 200])
def test_two_hundred_items_of_seeded_methods_count_and_one_less_does_not(n):
    runs = [hits(0.5, n, seed=s) for s in range(3)]
    found, _ = judged(level("accuracy", "a", at_least=0.1), cell("a", 0.4, 0.5, 0.6, items=runs))
    assert (found.rule, found.items) == (("seeds", 0) if n < 200 else ("seeds+items", 200))


def test_the_p_value_over_items_is_never_zero():
    x = np.random.default_rng(0).normal(5, 1, 300)
    items = Items({"x": x}, [str(i) for i in range(300)])
    found, _ = judged(level("accuracy", "a", at_least=0.0), cell("a", x.mean(), items=[items], fixed=True))
    assert found.p == 2 / 2001


def test_a_metric_that_exists_on_few_resamples_is_open():
    """One item in 300 differs: a resample has it in 63 of 100."""
    columns = {"x": np.eye(300)[0], "y": np.arange(300.0)}
    metric = {"accuracy": Metric("higher", "", reduce="pearson")}
    items = Items(columns, [str(i) for i in range(300)])
    whole = reduce(metric["accuracy"], columns)
    fixed = estimate(
        level("accuracy", "a", at_least=0), metric, [cell("a", whole, items=[items], fixed=True)]
    )
    seeded = estimate(
        level("accuracy", "a", at_least=0), metric, [cell("a", 0.1, 0.2, 0.3, items=[items] * 3)]
    )
    for found in (fixed, seeded):
        assert verdict(found, 0) == "open"
        assert found.reason == "the metric does not exist on most resamples of its items"


def test_a_deterministic_method_without_items_is_open():
    found, says = judged(level("accuracy", "a", at_least=0.1), cell("a", 0.9, fixed=True))
    assert (says, found.reason) == ("open", "200 paired items are needed and there are none")


def test_seeds_and_items_add_their_squared_half_widths():
    a = [hits(0.80, seed=s) for s in range(5)]
    b = [hits(0.70, seed=10 + s) for s in range(5)]
    means_a, means_b = ([reduce(UP, i.columns) for i in items] for items in (a, b))
    found, says = judged(
        difference("accuracy", "a", "b"), cell("a", *means_a, items=a), cell("b", *means_b, items=b)
    )
    per_seed = np.array(means_a) - means_b
    per_item = np.mean([x.columns["right"] - y.columns["right"] for x, y in zip(a, b, strict=True)], axis=0)
    t_seeds, t_items = scipy.stats.t.ppf(0.975, [4, 399])
    half = np.sqrt(t_seeds**2 * per_seed.var(ddof=1) / 5 + t_items**2 * per_item.var() / 400)
    assert (found.rule, found.seeds, found.items) == ("seeds+items", 5, 400)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), rel=0.08)
    assert says == "holds"


def test_items_in_another_order_are_paired_by_id():
    a, b = hits(0.9, seed=1), hits(0.6, seed=2)
    shuffled = Items({"right": b.columns["right"][::-1]}, b.ids[::-1])
    contrast = difference("accuracy", "a", "b")
    fixed = cell("a", 0.9, items=[a], fixed=True)
    straight = estimate(contrast, METRICS, [fixed, cell("b", 0.6, items=[b], fixed=True)])
    assert estimate(contrast, METRICS, [fixed, cell("b", 0.6, items=[shuffled], fixed=True)]) == straight


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ([f"q{i}" for i in range(399)] + ["other"], r"400 against 400, the first that differs is 'q399'"),
        ([f"q{i}" for i in range(400)] + ["other"], r"401 against 400, the first that differs is 'other'"),
        ([f"q{i}" for i in range(300)], r"300 against 400, the first that differs is 'q300'"),
        ([f"q{i}" for i in range(400)] + ["q7"], r"401 against 400, some ids occur twice"),
    ],
)
def test_different_items_are_never_paired(ids, says):
    a = hits(0.9)
    b = Items({"right": np.ones(len(ids))}, ids)
    with pytest.raises(HarnessError, match=says):
        judged(
            difference("accuracy", "a", "b"),
            cell("a", 0.9, items=[a], fixed=True),
            cell("b", 1.0, items=[b], fixed=True),
        )


def test_rank_correlations_are_resampled_in_pairs():
    rng = np.random.default_rng(3)
    gold = rng.normal(size=300)
    ids = [str(i) for i in range(300)]
    close = Items({"p": gold + 0.5 * rng.normal(size=300), "g": gold}, ids)
    far = Items({"p": gold + 2.0 * rng.normal(size=300), "g": gold}, ids)
    metrics = {"rho": Metric("higher", "", reduce="spearman")}
    cells = [
        Cell(m, "rho", {0: reduce(metrics["rho"], i.columns)}, lambda i=i: {0: i}, True)
        for m, i in (("close", close), ("far", far))
    ]
    found = estimate(difference("rho", "close", "far"), metrics, cells)

    def rho_gap(p, q, g):
        return scipy.stats.spearmanr(p, g).statistic - scipy.stats.spearmanr(q, g).statistic

    oracle = scipy.stats.bootstrap(
        (close.columns["p"], far.columns["p"], gold),
        rho_gap,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=1000,
        rng=0,
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=0.03)


# Contrasts


def test_lower_is_better_turns_the_difference_around():
    ours, theirs = (
        cell("a", 20.0, 21.0, 22.0, metric="perplexity"),
        cell("b", 30.0, 32.0, 33.0, metric="perplexity"),
    )
    found, says = judged(difference("perplexity", "a", "b"), ours, theirs)
    assert found.value == pytest.approx(32 / 3)
    assert says == "holds"


def fieller_by_hand(a, b):
    """The roots of (mean(a) - r mean(b))^2 = t^2 var(a - r b) / S, a quadratic in r."""
    square = scipy.stats.t.ppf(0.975, len(a) - 1) ** 2 / len(a)
    (aa, ab), (_, bb) = np.cov(a, b)
    return sorted(
        np.roots(
            [
                np.mean(b) ** 2 - square * bb,
                -2 * (np.mean(a) * np.mean(b) - square * ab),
                np.mean(a) ** 2 - square * aa,
            ]
        )
    )


def test_a_ratio_of_means_has_fiellers_interval_and_the_t_test_of_its_linear_contrast():
    a, b = np.array([2.0, 4.0, 8.0, 5.0]), np.array([1.0, 1.1, 1.3, 0.9])
    found, says = judged(
        ratio("perplexity", "a", than="b", at_least=1.3),
        cell("a", *a, metric="perplexity"),
        cell("b", *b, metric="perplexity"),
    )
    assert found.value == pytest.approx(a.mean() / b.mean())
    assert (found.low, found.high) == pytest.approx(fieller_by_hand(a, b))
    assert found.p == pytest.approx(scipy.stats.ttest_1samp(a - 1.3 * b, 0).pvalue)
    assert says == "open"


def test_against_a_constant_a_ratio_is_the_t_interval():
    found, _ = judged(ratio("accuracy", "a", than="b", at_least=1), cell("a", 2, 4, 8), cell("b", 2, 2, 2))
    t = scipy.stats.ttest_1samp([1.0, 2.0, 4.0], 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((t.low, t.high))


def test_a_ratio_with_a_bound_of_zero_asks_for_the_numerators_sign():
    a = [1.0, 2.0, 1.5]
    found, says = judged(
        ratio("accuracy", "a", than="b", at_least=0), cell("a", *a), cell("b", 1.0, 1.1, 0.9)
    )
    assert found.p == pytest.approx(scipy.stats.ttest_1samp(a, 0).pvalue)
    assert found.p < 0.05
    assert says == "holds"


def test_a_ratio_over_another_metric_of_the_same_method():
    contrast = ratio("longer", "a", over="perplexity", at_most=1.01)
    assert cells_of(contrast) == [("a", "longer"), ("a", "perplexity")]
    found, says = judged(
        contrast,
        cell("a", 18.0, 19.0, 20.0, metric="longer"),
        cell("a", 20.0, 21.0, 22.5, metric="perplexity"),
    )
    assert found.value == pytest.approx(57 / 63.5)
    assert says == "holds"


def test_a_ratio_of_metrics_on_other_items_uses_the_seeds_alone():
    long, short = (Items({"nll": np.ones(300)}, [f"{k}{i}" for i in range(300)]) for k in "ls")
    found, _ = judged(
        ratio("longer", "a", over="perplexity", at_most=1.01),
        cell("a", 1.0, 1.1, 1.2, metric="longer", items=[long] * 3),
        cell("a", 2.0, 2.1, 2.2, metric="perplexity", items=[short] * 3),
    )
    assert found.rule == "seeds"


def test_a_ratio_by_what_is_not_above_zero_is_open():
    found, says = judged(
        ratio("accuracy", "a", than="b", at_least=1), cell("a", 1, 2, 3), cell("b", 1, -2.5, 1)
    )
    assert says == "open"
    assert found.reason == "b is not above zero on average: it cannot divide"
    assert 0 < found.p < 1


def test_a_share_is_the_part_of_the_way_from_start_to_full():
    cells = cell("lora", 0.78, 0.79, 0.82), cell("frozen", 0.5, 0.5, 0.5), cell("full", 0.8, 0.8, 0.9)
    found, says = judged(share("accuracy", "lora", of=("frozen", "full"), at_least=0.5), *cells)
    assert found.value == pytest.approx((28 + 29 + 32) / (30 + 30 + 40))
    gains, gaps = np.array([0.28, 0.29, 0.32]), np.array([0.3, 0.3, 0.4])
    assert (found.low, found.high) == pytest.approx(fieller_by_hand(gains, gaps))
    assert found.p == pytest.approx(scipy.stats.ttest_1samp(gains - 0.5 * gaps, 0).pvalue)
    assert says == "holds"


def test_a_share_of_a_perplexity_drop_needs_no_other_sign():
    cells = [
        cell(m, *v, metric="perplexity")
        for m, v in (("lora", (21, 22, 21)), ("frozen", (40, 40, 41)), ("full", (20, 20, 20)))
    ]
    found, _ = judged(share("perplexity", "lora", of=("frozen", "full"), at_least=0.5), *cells)
    assert found.value == pytest.approx((19 + 18 + 20) / (20 + 20 + 21))


def test_a_share_of_no_gain_is_open():
    cells = cell("lora", 0.6, 0.6, 0.7), cell("frozen", 0.5, 0.5, 0.6), cell("full", 0.5, 0.4, 0.5)
    found, says = judged(share("accuracy", "lora", of=("frozen", "full"), at_least=0.5), *cells)
    assert says == "open"
    assert found.reason == "full does not beat frozen on average: there is no gain to take a share of"


def test_a_gain_that_is_not_told_from_zero_leaves_a_share_without_ends():
    cells = cell("lora", 0.6, 0.6, 0.7), cell("frozen", 0.5, 0.5, 0.5), cell("full", 0.8, 0.4, 0.9)
    found, says = judged(share("accuracy", "lora", of=("frozen", "full"), at_least=0.5), *cells)
    assert says == "open"
    assert (found.low, found.high) == (float("-inf"), float("inf"))
    assert "full is not told to beat frozen" in found.reason


def test_one_bad_seed_does_not_void_nineteen():
    """Nineteen seeds of which the method gets a fifth, and one in which the full method gained nothing."""
    full, method = [10 + 0.1 * i for i in range(19)], [2 + 0.02 * (i % 3) for i in range(19)]
    contrast = share("accuracy", "a", of=("zero", "full"), at_least=0.93)
    cells = cell("a", *method, 0.1), cell("zero", *[0.0] * 20), cell("full", *full, -0.01)
    found, says = judged(contrast, *cells)
    assert says == "fails"
    assert found.high < 0.3


gaps = st.floats(-1e3, 1e3).map(lambda x: round(x, 3))


@settings(deadline=None)
@given(st.lists(st.tuples(gaps, gaps, gaps), min_size=3, max_size=8), st.tuples(gaps, gaps, gaps))
@pytest.mark.parametrize("kind", ["share", "ratio"])
def test_a_further_seed_never_takes_the_test_away(kind, seeds, further):
    contrast = (
        share("accuracy", "a", of=("b", "full"), at_least=0.5)
        if kind == "share"
        else ratio("accuracy", "a", than="b", at_least=0.5)
    )

    def p_of(rows):
        columns = list(zip(*rows, strict=True))
        cells = [cell(m, *column) for m, column in zip(("a", "b", "full"), columns, strict=True)]
        return estimate(contrast, METRICS, cells[: len(cells_of(contrast))]).p

    assume(not isnan(p_of(seeds)))
    assert 0 <= p_of([*seeds, further]) <= 1


@pytest.mark.parametrize(
    ("values", "bound", "says"),
    [
        ((0.90, 0.91, 0.92), {"at_least": 0.8}, "holds"),
        ((0.90, 0.91, 0.92), {"at_most": 0.8}, "fails"),
        ((0.90, 0.91, 0.92), {"at_least": 0.99}, "fails"),
        ((0.90, 0.91, 0.92), {"at_most": 0.99}, "holds"),
        ((0.90, 0.91, 0.92), {"at_least": 0.915}, "open"),
    ],
)
def test_a_level_holds_on_the_claimed_side_of_its_bound(values, bound, says):
    assert judged(level("accuracy", "a", **bound), cell("a", *values))[1] == says


def test_no_difference_worth_the_margin_is_two_one_sided_tests():
    a, b = np.array([0.90, 0.91, 0.92, 0.91]), np.array([0.905, 0.90, 0.92, 0.915])
    contrast = difference("accuracy", "a", "b")
    found = estimate(contrast, METRICS, [cell("a", *a), cell("b", *b)], level=0.9)
    above, below = (
        scipy.stats.ttest_1samp(a - b, edge, alternative=side).pvalue
        for edge, side in ((-0.01, "greater"), (0.01, "less"))
    )
    edge = max(found.high, -found.low)
    assert equivalent(found, 0.01) == (max(above, below) < 0.05)
    assert equivalent(found, edge * 1.001)
    assert not equivalent(found, edge * 0.999)
    assert not equivalent(seeds_interval([0.1, 0.1, 0.1], level=0.9), 1.0)  # no interval says nothing


def test_the_level_sets_how_often_the_interval_holds_the_truth():
    narrow, wide = (seeds_interval([1.0, 2.0, 3.0], level=p) for p in (0.9, 0.99))
    t = scipy.stats.t.ppf([0.95, 0.995], 2) / 3**0.5
    assert (narrow.high - 2, wide.high - 2) == pytest.approx(tuple(t))
    assert narrow.p == wide.p


def test_the_margin_must_be_cleared_by_the_whole_interval():
    cells = cell("a", 0.90, 0.91, 0.92), cell("b", 0.80, 0.80, 0.81)
    assert judged(difference("accuracy", "a", "b", by=0.02), *cells)[1] == "holds"
    assert judged(difference("accuracy", "a", "b", by=0.10), *cells)[1] == "open"
    assert judged(difference("accuracy", "a", "b", by=0.30), *cells)[1] == "fails"


# Many claims, many methods


def test_holm_by_hand():
    # .01 <= .05/4, .02 > .05/3: the rest stays unmarked, though .03 < .05
    assert holm([0.03, 0.01, 0.02, 0.04]) == [False, True, False, False]
    assert holm([0.01, 0.015, 0.02, 0.04]) == [True, True, True, True]
    assert holm([0.001, MISSING]) == [True, False]
    assert holm([0.04, MISSING, MISSING]) == [
        True,
        False,
        False,
    ]  # what was not tested is no part of the family
    assert holm([]) == []


# Properties

values = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=3, max_size=6)


@given(values, values)
def test_swapping_the_methods_mirrors_the_interval_and_the_verdict(a, b):
    n = min(len(a), len(b))
    there, back = (
        judged(difference("accuracy", "x", "y"), cell("x", *x[:n]), cell("y", *y[:n]))
        for x, y in ((a, b), (b, a))
    )
    assert there[1] == {"holds": "fails", "fails": "holds", "open": "open"}[back[1]]
    assert there[0].value == -back[0].value
    if not isnan(there[0].low):
        assert (there[0].low, there[0].high) == pytest.approx((-back[0].high, -back[0].low))


@given(values, st.floats(0.01, 100))
def test_scaling_a_metric_scales_its_interval(a, scale):
    assume(np.ptp(a) > 1e-6)
    once, scaled = seeds_interval(a), seeds_interval(np.array(a) * scale)
    assert (scaled.low, scaled.high) == pytest.approx((once.low * scale, once.high * scale))
    assert scaled.p == pytest.approx(once.p)


@given(values, st.floats(-50, 50))
def test_the_p_value_says_whether_the_bound_lies_in_the_interval(a, by):
    found = seeds_interval(a, by)
    assume(not isnan(found.low) and min(abs(found.low - by), abs(found.high - by)) > 1e-9)
    assert (found.p < 0.05) == (verdict(found, by) != "open")


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=5))
def test_a_ratio_and_its_inverse_are_inverse(a):
    assume(np.ptp(np.log(a)) > 1e-6)
    b = [1.0 + i for i in range(len(a))]
    there = estimate(ratio("accuracy", "a", than="b", at_least=1), METRICS, [cell("a", *a), cell("b", *b)])
    back = estimate(ratio("accuracy", "b", than="a", at_least=1), METRICS, [cell("b", *b), cell("a", *a)])
    assume(there.low > 0 and there.high < 1e6 and back.low > 0 and back.high < 1e6)
    assert (there.low, there.high) == pytest.approx((1 / back.high, 1 / back.low), rel=1e-6)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_marks_more_than_no_correction_nor_less_than_bonferroni(p_values):
    for p, mark in zip(p_values, holm(p_values), strict=True):
        assert mark <= (p <= 0.05)
        assert mark >= (p <= 0.05 / len(p_values))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_item_resampling_is_repeatable(seed):
    items = hits(0.5, 250, seed)
    cells = [cell("a", reduce(UP, items.columns), items=[items], fixed=True)]
    contrast = level("accuracy", "a", at_least=0.3)
    assert estimate(contrast, METRICS, cells) == estimate(contrast, METRICS, cells)


def test_a_count_that_no_seed_changes_is_judged_as_it_is():
    metrics = {"bytes": Metric("lower", "file", exact=True), "loss": Metric("lower", "loss")}
    contrast = ratio("bytes", "lora", than="full", at_most=0.1)
    cells = [Cell("lora", "bytes", {0: 9.0}), Cell("full", "bytes", {0: 100.0})]
    found = estimate(contrast, metrics, cells)
    assert (found.rule, found.low, found.high) == ("exact", pytest.approx(0.09), pytest.approx(0.09))
    assert verdict(found, 0.1, "below") == "holds"
    assert holm([found.p, 0.04]) == [True, True]  # a count leaves no doubt, and costs the others nothing
    moved = [
        Cell("lora", "bytes", {0: 9.0, 1: 8.0, 2: 9.5}),
        Cell("full", "bytes", dict.fromkeys(range(3), 100.0)),
    ]
    assert estimate(contrast, metrics, moved).rule == "seeds"
    same = [
        Cell("lora", "loss", dict.fromkeys(range(3), 1.0)),
        Cell("full", "loss", dict.fromkeys(range(3), 2.0)),
    ]
    assert "no spread" in estimate(difference("loss", "lora", "full"), metrics, same).reason
