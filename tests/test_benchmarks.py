"""Every benchmark runs at toy size and comes to an end; what it measures there is asserted nowhere."""

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from benchmarks.growth import exponent
from benchmarks.measuring import Measured, Pairs, Target, agree, interleaved, peak, spread
from benchmarks.rows import ROWS
from benchmarks.table import publish, tally, with_table

ROOT = Path(__file__).parent.parent
QUICK = ("bootstrap", "packing", "tables", "commands")


def test_two_sides_take_turns_and_a_warm_up_is_not_counted():
    turns = []
    pairs = interleaved(lambda: turns.append("a"), lambda: turns.append("b"), rounds=3, warm=1)  # type: ignore[func-returns-value]
    assert "".join(turns) == "abababab"
    assert len(pairs.ours) == len(pairs.theirs) == 3


def test_a_side_may_tell_its_own_seconds():
    pairs = interleaved(lambda: 3.0, lambda: 2.0, rounds=5)
    found = pairs.against("ours", "theirs", Target("at most", 1.4), why="it waits")
    assert (found.ratio, found.low, found.high) == (1.5, 1.5, 1.5)
    assert found.row()["met"] is False
    assert found.row()["cause"] == "it waits"
    faster = pairs.against("ours", "theirs", Target("at least", 0.6), why="it waits").row()
    assert faster["ratio"] == round(2 / 3, 4)
    assert faster["met"] is True
    assert faster["cause"] == ""


def test_work_is_counted_where_the_sides_did_unequal_amounts():
    found = Pairs([10.0], [2.0]).against("ours", "theirs", Target("at least", 20), ours=1000, theirs=10)
    assert found.ratio == pytest.approx(20.0)


def test_the_spread_holds_the_median_in_93_of_100_cases():
    assert spread([1, 2, 3, 4, 5]) == (1, 5)
    assert spread([1, 2]) == (1, 2)
    rng = np.random.default_rng(0)
    for n in (5, 7, 15):
        ends = np.array([spread(row) for row in rng.normal(size=(2000, n))])
        assert np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0)) > 0.92
    assert spread(list(range(15))) == (3, 11)


def test_a_target_is_a_bound_on_one_side():
    assert Target("at most", 1.15, "").met(1.1)
    assert not Target("at most", 1.15, "").met(1.2)
    assert Target("at least", 5).met(5.0)
    assert not Target("at least", 5).met(4.9)
    assert [str(Target("at most", 1.15, "")), str(Target("at least", 5))] == ["at most 1.15", "at least 5 x"]


def test_a_row_without_a_target_is_neither_met_nor_missed():
    assert Measured("a", "b", 9.0, 9.0, 9.0, Target("at most")).row()["met"] is None


def test_sides_that_do_not_come_to_the_same_are_refused():
    agree(1.0, 1.001, 0.01, "the loss")
    with pytest.raises(RuntimeError, match="disagree on the loss"):
        agree(1.0, 1.1, 0.01, "the loss")


def test_an_exponent_is_the_slope_in_logarithms():
    assert exponent([1, 4, 16], [3.0, 12.0, 48.0]) == pytest.approx(1.0)
    assert exponent([1, 4, 16], [1.0, 16.0, 256.0]) == pytest.approx(2.0)


def test_peak_memory_is_counted_in_bytes():
    assert 10**7 < peak() < 10**12


def test_every_row_of_the_table_is_there_once():
    assert sorted(row.number for row in ROWS if row.number) == list(range(1, 19))
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert sum(row.minutes for row in ROWS if not row.cuda) <= 60


def test_rows_are_merged_by_name_and_tables_made_between_the_marks(tmp_path):
    for page in ("README.md", "docs/performance.md"):
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text("before\n<!-- benchmarks -->\nold\n<!-- /benchmarks -->\nafter\n")
    (tmp_path / "results").mkdir()
    about = {
        "date": "2026-01-01",
        "machine": "one",
        "python": "3.11",
        "threads": "1",
        "versions": {"numpy": "2"},
    }

    def measured(name: str, ratio: float) -> dict:
        number = next(row.number for row in ROWS if row.name == name)
        one = Measured(f"{name} | work", "peer", ratio, 1.0, 3.0, Target("at least", 2), "slow").row()
        return {name: {"rows": [{"row": number, "name": name, "date": "2026-01-01", **one}]}}

    publish(tmp_path, measured("walk", 1.5), about)
    publish(tmp_path, measured("commands", 2.5), about)
    publish(tmp_path, measured("walk", 1.7), about)
    page = json.loads((tmp_path / "results" / "benchmarks.json").read_text())
    assert [row["name"] for row in page["rows"]] == ["commands", "walk"]
    assert [row["ratio"] for row in page["rows"]] == [2.5, 1.7]
    assert page["met"] == tally(page["rows"]) == "1 of 2"
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n<!-- benchmarks -->\n| what |")
    assert text.endswith("<!-- /benchmarks -->\nafter\n")
    assert "| walk \\| work | peer | 1.7 [1, 3] | at least 2 x | **no** | slow |" in text


def test_a_row_that_is_renewed_leaves_the_others_as_they_were_published(tmp_path, monkeypatch):
    """What an earlier call had kept of another row is no news: its target may have been changed since."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    from benchmarks import run

    (tmp_path / "docs").mkdir()
    (tmp_path / "results").mkdir()
    for page in ("README.md", "docs/performance.md"):
        (tmp_path / page).write_text("<!-- benchmarks -->\n<!-- /benchmarks -->\n")
    ratios = iter([1.0, 2.0, 3.0])

    def measured(row, toy):
        one = Measured(row.name, "peer", next(ratios), 1.0, 3.0, Target("at least", 2)).row()
        return {"error": "", "rows": [{"row": 0, "name": row.name, "date": "2026-01-01", **one}]}

    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "measured", measured)
    assert run.main(["--only", "walk"]) == 0
    page = tmp_path / "results" / "benchmarks.json"
    page.write_text(page.read_text().replace("at least 2", "at least 9"))
    assert run.main(["--only", "commands"]) == 0
    assert run.main(["--only", "commands"]) == 0
    rows = {row["name"]: row for row in json.loads(page.read_text())["rows"]}
    assert rows["walk"]["target"] == "at least 9 x"
    assert rows["commands"]["ratio"] == 3.0


def test_a_row_that_was_not_measured_is_told_in_full_and_in_short():
    row = {
        "row": 2,
        "name": "loop",
        "date": "2026-01-01",
        "what": "loop",
        "peer": "",
        "ratio": None,
        "low": None,
    }
    row |= {"high": None, "target": "", "met": False, "cause": "not measured: it failed", "detail": {}}
    page = {"met": "0 of 1", "machine": "one", "python": "3.11", "versions": {}, "rows": [row]}
    empty = "<!-- benchmarks in short -->\n<!-- /benchmarks in short -->\n<!-- benchmarks -->\n<!-- /benchmarks -->\n"
    made = with_table(empty, page)
    assert "Missed: loop (not measured)." in made
    assert "| loop |  | not measured | none | **no** | not measured: it failed |" in made


@pytest.mark.parametrize("page", ["README.md", "docs/performance.md"])
def test_the_table_on_a_page_is_the_one_in_the_file(page):
    found = ROOT / "results" / "benchmarks.json"
    if not found.exists():
        pytest.skip("results/benchmarks.json is not there: make bench writes it")
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.search(r"<!-- benchmarks( in short)? -->", text)
    assert with_table(text, json.loads(found.read_text(encoding="utf-8"))) == text


def toy(names: list[str]) -> None:
    words = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--toy", "--only", *names]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in names:
        found = json.loads((ROOT / "build" / "bench" / "rows-toy" / f"{name}.json").read_text())
        assert not found["error"]
        for row in found["rows"]:
            assert {"what", "peer", "ratio", "low", "high", "target", "met", "cause"} <= set(row)
            assert row["low"] <= row["ratio"] <= row["high"]
        assert found["rows"] or name == "gpu"


def test_a_quick_row_runs_in_small_through_the_runner():
    toy(["packing"])


@pytest.mark.parametrize("name", [name for name in QUICK if name != "packing"])
def test_a_quick_row_runs_in_small(name):
    (row,) = (row for row in ROWS if row.name == name)
    found = list(getattr(import_module(f"benchmarks.{row.module}"), row.function)(True))
    assert found
    for one in found:
        assert one.low <= one.ratio <= one.high


ALL = """
import sys
from importlib import import_module
from benchmarks.rows import ROWS
for row in ROWS:
    if row.name in sys.argv[1:]:
        print(row.name, flush=True)
        found = list(getattr(import_module(f"benchmarks.{row.module}"), row.function)(True))
        assert found or row.cuda, row.name
        assert all(one.low <= one.ratio <= one.high for one in found), row.name
"""


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("sweep",), marks=pytest.mark.oracle),
        pytest.param(("report",), marks=pytest.mark.oracle),
        pytest.param((), marks=pytest.mark.slow),
    ],
    ids=["sweep", "report", "the others"],
)
def test_a_row_runs_in_small(names):  # those that share their imports in one process
    apart = (*QUICK, "sweep", "report")
    names = names or [row.name for row in ROWS if row.name not in apart]
    done = subprocess.run([sys.executable, "-c", ALL, *names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


def test_what_a_gpu_row_counts_can_be_said_without_one():
    from benchmarks.gpu import flops, kernel

    assert flops(10, 2, 4, 8, 1) == 6 * 10 + 12 * 2 * 4 * 8
    assert (
        kernel(["aten::addmm", "aten::_efficient_attention_forward"]) == "aten::_efficient_attention_forward"
    )
    assert kernel(["aten::addmm"]) == ""


def test_a_row_that_fails_says_why_and_keeps_what_it_had(tmp_path, monkeypatch):
    from benchmarks import run

    (row,) = (row for row in ROWS if row.name == "packing")
    monkeypatch.setitem(run.ALONE, "PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['harness_longskywork'] = None\n")
    found = run.measured(row, toy=False)
    assert "harness_longskywork" in found["error"]
    (only,) = found["rows"]
    assert only["met"] is False
    assert only["cause"].startswith("not measured: ")
