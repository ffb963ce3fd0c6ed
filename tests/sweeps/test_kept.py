"""What is there already: equal runs are one run whatever was asked, and a damaged file costs its own run alone."""

import json
from pathlib import Path

import pytest

from tests.papers.test_plugins import install

QUICK = (
    "isolate=false",
    "device=cpu",
    "tracking=off",
    "hydra.launcher.n_jobs=1",
    "seed=0,1,2",
    "budget=small",
)


@pytest.fixture
def coin(harness, monkeypatch):
    """The command in a folder with a paper whose grid chooses the default."""
    text = (Path(__file__).parent / "coin.py").read_text().replace("Shift(0.0, 3)", "Shift(3.0, 3)")
    install(harness.folder, "coin", text)
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    return harness


def claim(coin) -> dict:
    cards = json.loads(coin("report", "coin", "--json").stdout)
    return next(one for one in cards[0]["claims"] if one["text"] == "tuned is better")


def test_runs_made_untuned_are_judged_so_and_become_tuned_when_the_grid_chooses_them(coin):
    coin("run", "-m", "method=coin/plain,coin/tuned", *QUICK, "tuned=false")
    untuned = claim(coin)
    assert (untuned["untuned"], untuned["seeds"]) == (True, 3)
    done = coin("compare", "coin/tuned", "coin/plain", code=2)
    assert "say 'coin/tuned,tuned=false'" in done.stderr
    coin("compare", "coin/tuned,tuned=false", "coin/plain")
    done = coin("run", "-m", "method=coin/plain,coin/tuned", *QUICK)
    assert "0 finished; 6 already there" in done.stderr  # the grid chose what had been run
    tuned = claim(coin)
    assert (tuned["untuned"], tuned["seeds"]) == (False, 3)
    assert {key: tuned[key] for key in ("value", "low", "high")} == {
        key: untuned[key] for key in ("value", "low", "high")
    }
    coin("run", "-m", "method=coin/tuned", *QUICK, "tuned=false")
    assert claim(coin)["untuned"] is False  # asking for less takes nothing back


def test_a_file_from_the_future_a_torn_and_an_empty_one_cost_their_own_runs_alone(coin):
    coin("run", "-m", "method=coin/plain,coin/better", *QUICK)
    found = {
        json.loads(path.read_text())["config"]["seed"]: path
        for path in (coin.folder / "results" / "runs" / "coin" / "plain").glob("*/result.json")
    }
    found[0].write_text(json.dumps({**json.loads(found[0].read_text()), "schema": 99}))
    found[1].write_text(found[1].read_text()[:100])
    found[2].write_text("")
    told = coin("report", "coin", code=1)
    assert "made by a newer harness" in told.stderr
    assert [told.stderr.count(word) for word in ("is no JSON", "is empty")] == [1, 1]
    assert "newer" in coin("status", code=1).stdout
    done = coin("run", "-m", "method=coin/plain,coin/better", *QUICK, code=1)
    assert "2 finished; 3 already there; 1 failed" in done.stderr
    assert json.loads(found[0].read_text())["schema"] == 99
