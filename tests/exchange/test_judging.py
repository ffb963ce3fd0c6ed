"""Others' results under the rule: counts by an independent way, seeds that are missing, fronts that stay open."""

import json
import os
from math import isfinite, isnan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from harness.cli import main
from harness.exchange.judging import judge
from harness.exchange.readers import read
from harness.reports.judged import sentences, to_html
from harness.verdicts.ceilings import newcombe, newcombe_p, wilson
from tests.exchange.made import ITEMS, evaluation, peft, table

DATA = Path(os.environ.get("HARNESS_DATA", "nowhere")) / "peft-method-comparison"
real = pytest.mark.skipif(not DATA.is_dir(), reason="HARNESS_DATA has no peft-method-comparison")


def by_scipy(rights: list[int], n: int) -> int:
    """Return how many are told from the best: Holm stepped through by scipy's Wilson intervals at each level."""

    def ends(right: int, level: float) -> tuple[float, float]:
        found = binomtest(right, n).proportion_ci(level, method="wilson")
        return found.low, found.high

    best, *others = sorted(rights, reverse=True)
    told = 0
    for other in sorted(others):
        level = 1 - 0.05 / (len(others) - told)
        (low, _), (_, over) = ends(best, level), ends(other, level)
        if (best - other) / n <= np.hypot(best / n - low, over - other / n):
            return told
        told += 1
    return told


def judged(paths: list[Path], reader: str, **asked) -> dict:
    return judge(read(paths, reader), **asked)


@given(st.integers(1, 400), st.data())
@settings(max_examples=60, deadline=None)
def test_wilson_is_scipys_and_newcombe_ends_where_its_p_says(n, data):
    one, other = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    known = binomtest(one, n).proportion_ci(0.95, method="wilson")
    assert wilson(one, n, 0.05) == pytest.approx((known.low, known.high), abs=1e-9)
    p = newcombe_p(one, other, n, n, 0.0)
    if 1e-90 < p < 1:
        low, high = newcombe(one, other, n, n, p)
        assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-6)
    low, high = newcombe(one, other, n, n, 0.05)
    assert newcombe(other, one, n, n, 0.05) == pytest.approx((-high, -low))


def test_newcombe_gives_the_example_of_its_paper():
    """56 of 70 against 48 of 80: table II of Newcombe (1998), method 10."""
    assert newcombe(56, 48, 70, 80, 0.05) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_methods_not_told_from_the_best_are_counted_as_scipy_counts_them(tmp_path):
    rights = np.random.default_rng(7).integers(450, 720, size=25).tolist()
    for place, right in enumerate(rights):
        peft(tmp_path, f"m{place}", right)
    (part,) = judged([tmp_path], "peft-method-comparison")["tasks"]
    assert part["separable"] == by_scipy(rights, ITEMS)
    assert part["not_separable"] == 24 - part["separable"]
    assert 0 < part["separable"] < 24


def test_one_seed_decides_nothing_and_five_are_priced(tmp_path):
    for place, right in enumerate((700, 690, 100)):
        peft(tmp_path, f"m{place}", right)
    (part,) = judged([tmp_path], "peft-method-comparison")["tasks"]
    assert part["seeds"] == [1]
    assert part["decided"] == 0
    assert {row["verdict"] for row in part["methods"]} == {"open"}
    assert part["more"]["runs"] == 4 * 2
    assert part["more"]["seconds"] == 8 * 3600.0
    assert any("Seeds are missing" in sentence for sentence in sentences(part))


def test_runs_that_crashed_or_left_nothing_are_told_and_not_dropped(tmp_path):
    peft(tmp_path, "good", 700)
    peft(tmp_path, "fair", 650)
    peft(tmp_path, "crashed", 600, status="failed", error="CUDA out of memory")
    peft(tmp_path, "empty", None)
    peft(tmp_path, "odd", 600.5)
    (tmp_path / "cut.json").write_text('{"run_info": {"exp', "utf-8")
    (tmp_path / "blank.json").write_text("", "utf-8")
    found = judged([tmp_path], "peft-method-comparison")
    (part,) = found["tasks"]
    assert [row["method"].partition("/")[0] for row in part["methods"]] == ["good", "fair"]
    told = {one["method"].partition("/")[0]: one["reason"] for one in part["troubles"]}
    assert "CUDA out of memory" in told["crashed"]
    assert "holds no test accuracy" in told["empty"]
    assert "not a share of 1,319" in told["odd"]
    assert {one["source"] for one in found["unread"]} == {"cut.json", "blank.json"}
    page = to_html({**found, "reader": "x", "named": "y"})
    assert all(word in page for word in ("CUDA out of memory", "cut.json", "blank.json"))


def test_no_method_leaves_the_front_unless_the_rule_says_so(tmp_path):
    """Cheap and best, dear and a little worse, dear and far worse, cheapest and far worse."""
    for name, right, memory in (("a", 700, 2e10), ("b", 690, 3e10), ("c", 300, 3e10), ("d", 300, 1e10)):
        peft(tmp_path, name, right, memory)
    (part,) = judged([tmp_path], "peft-method-comparison")["tasks"]
    found = {p["method"][0]: (p["place"], p["beaten_by"]) for p in part["front"]["points"]}
    best = part["best"]
    assert found == {"a": ("on", None), "b": ("open", None), "c": ("off", best), "d": ("on", None)}


def test_a_table_with_three_seeds_and_items_is_judged_as_our_own_runs(tmp_path):
    rng = np.random.default_rng(1)
    rows = [
        (method, seed, f"q{item}", int(rng.random() < share))
        for method, share in (("ours", 0.8), ("theirs", 0.5), ("close", 0.79))
        for seed in range(3)
        for item in range(300)
    ]
    (part,) = judged([table(tmp_path / "runs.csv", rows)], "csv")["tasks"]
    verdicts = {row["method"]: row for row in part["methods"]}
    assert verdicts["theirs"]["verdict"] == "holds"
    assert verdicts["theirs"]["separable"]
    assert verdicts["theirs"]["ahead"]["rule"] == "seeds+items"
    others = [row for row in part["methods"][1:] if row["method"] != "theirs"]
    assert [row["verdict"] for row in others] == ["open"]


def test_a_table_of_one_seed_pairs_its_items_and_leaves_the_verdict_open(tmp_path):
    rows = [(m, 0, i, int(i % 10 < k)) for m, k in (("a", 8), ("b", 4)) for i in range(400)]
    (part,) = judged([table(tmp_path / "runs.csv", rows)], "csv")["tasks"]
    (_, behind) = part["methods"]
    assert behind["verdict"] == "open"
    assert behind["separable"]
    assert behind["ahead"]["rule"] == "items alone"
    assert behind["ahead"]["value"] == pytest.approx(0.4)


def test_lower_is_better_turns_best_and_signs_round(tmp_path):
    rows = [(m, s, s / 100 + v, "lower") for m, v in (("low", 1.0), ("high", 2.0)) for s in range(4)]
    rows = [(m, s, v * (1 + s / 50), b) for m, s, v, b in rows]
    path = table(tmp_path / "loss.csv", rows, "method,seed,value,better")
    (part,) = judged([path], "csv")["tasks"]
    assert part["best"] == "low"
    assert part["methods"][1]["ahead"]["value"] > 0
    assert part["methods"][1]["verdict"] == "holds"


def test_without_items_counts_or_seeds_nothing_is_tested(tmp_path):
    path = table(tmp_path / "runs.csv", [("a", 1.0), ("b", 0.5)], "method,value")
    (part,) = judged([path], "csv")["tasks"]
    assert part["not_tested"] == 1
    assert part["separable"] == part["not_separable"] == 0
    assert "cannot be tested" in sentences(part)[0]


def test_a_margin_says_where_no_difference_is_worth_having(tmp_path):
    for name, right in (("a", 660), ("b", 659), ("c", 300)):
        peft(tmp_path, name, right)
    (part,) = judged([tmp_path], "peft-method-comparison", margin=0.05)["tasks"]
    assert [row["within"] for row in part["methods"]] == [None, True, False]


def test_every_eval_ever_gives_counts_where_scores_are_counts_and_else_its_errors(tmp_path):
    evaluation(tmp_path, "a", 0.9, num_samples=1000)
    evaluation(tmp_path, "b", 0.5, num_samples=1000)
    (part,) = judged([tmp_path], "every-eval-ever")["tasks"]
    assert part["task"] == "made-qa"
    assert part["methods"][1]["ahead"]["rule"] == "counts alone"
    evaluation(tmp_path, "c", 0.12345, standard_error={"value": 0.01, "method": "analytic"})
    evaluation(tmp_path, "a", 0.9, num_samples=1000, standard_error={"value": 0.0095})
    (part,) = judged([tmp_path], "every-eval-ever")["tasks"]
    told = {row["method"]: row["ahead"] for row in part["methods"] if row["ahead"]}
    assert told["made/c"]["rule"] == "errors alone"
    half = 1.959964 * np.hypot(0.01, 0.0095)
    assert told["made/c"]["high"] - told["made/c"]["value"] == pytest.approx(half, rel=1e-6)


def test_the_set_that_may_be_best_holds_the_true_best_where_all_are_equal():
    """Of 30 equal methods the set misses a given one in at most 5 % of repetitions; here 400 of them, by counts."""
    from scipy.special import ndtri

    rng, n, k = np.random.default_rng(3), 1319, 30
    shares = rng.binomial(n, 0.5, size=(400, k)) / n
    z = (shares.max(axis=1) - shares[:, 0]) / np.sqrt(2 * 0.25 / n)
    assert (z > -ndtri(0.05 / (k - 1))).mean() < 0.075


def test_the_command_prints_80_columns_and_writes_page_and_json(tmp_path, monkeypatch, capsys):
    for place, right in enumerate((700, 690, 100)):
        peft(tmp_path / "runs", f"<script>m{place}\x1b[31m", right)
    monkeypatch.setenv("COLUMNS", "80")
    results = tmp_path / "results"
    words = ["judge", str(tmp_path / "runs"), "--reader", "peft-method-comparison", "--results", str(results)]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert max(len(line) for line in said.splitlines() if not line.startswith("page:")) <= 80
    assert "\x1b" not in said
    assert "not separable" in said
    page = (results / "reports" / "judge.html").read_text("utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    kept = json.loads((results / "reports" / "judge.json").read_text("utf-8"))
    with pytest.raises(SystemExit):
        main([*words, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert set(told) - set(kept) == {"untrusted"}
    assert {**kept, "untrusted": told["untrusted"]} == told
    assert kept["tasks"][0]["not_separable"] == 1


@real
def test_pefts_comparison_is_counted_as_scipy_counts_it():
    found = judged([DATA], "peft-method-comparison")
    text, images = found["tasks"]
    rights = [
        round(1319 * json.loads(path.read_text("utf-8"))["train_info"]["metrics"][-1]["test accuracy"])
        for path in (DATA / "MetaMathQA").glob("*.json")
    ]
    assert found["files"] == 94
    assert len(rights) == 63
    assert text["separable"] == by_scipy(rights, 1319)
    assert (text["separable"], text["not_separable"]) == (43, 19)
    assert text["decided"] == 0
    assert text["seeds"] == [1]
    assert images["not_tested"] == 30
    assert all(isnan(row["low"]) for row in images["methods"])
    assert all(isfinite(row["low"]) for row in text["methods"])
    points = text["front"]["points"]
    assert len(points) == 63
    assert sum(p["place"] != "off" for p in points) >= text["front"]["on"]
    to_html({**found, "reader": "x", "named": "y"})
