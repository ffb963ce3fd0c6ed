"""Twenty kills at random, and amid the writing of checkpoints and results: nothing lost, doubled or left behind."""

import json

import pytest

from benchmarks import torture
from tests.faults.test_stores import QUICK
from tests.papers.test_plugins import install
from tests.warm import Started

pytestmark = pytest.mark.fault


def test_twenty_random_kills_lose_double_and_leave_nothing_and_a_stopped_torture_goes_on(
    tmp_path, capsys, monkeypatch, warm
):
    def start(place, kind):
        words, around = torture.command(place, kind)
        with (place / "said.txt").open("ab") as said:
            return Started(warm, words, place, around, said, said)

    monkeypatch.setattr(torture, "start", start)
    words = ("--real", "0", "--folder", str(tmp_path))
    monkeypatch.setitem(torture.SECONDS, "light", 5.0)
    monkeypatch.setitem(torture.STEPS, "light", 8)
    monkeypatch.setitem(torture.SEEDS, "light", 2)
    torture.main(("--trials", "10", *words))
    before = (tmp_path / "trials.jsonl").read_bytes()
    (tmp_path / "trials.jsonl").write_bytes(before + b'{"trial": 10, "ki')  # torn by a kill
    code = torture.main(("--trials", "20", *words))
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert sorted(line["trial"] for line in lines if "trial" in line) == list(range(20))
    killed = {line.get("victim") for line in lines}
    assert {"driver", "server", "run"} <= killed  # each was found when it was its turn
    assert (tmp_path / "trials.jsonl").read_bytes().startswith(before)
    assert not any(torture.Log(tmp_path / "trials.jsonl").losses().values()), capsys.readouterr().out
    assert code == 0
    assert "| survived | 20 |" in capsys.readouterr().out


def test_what_a_kill_left_half_written_goes_with_the_next_start(harness, monkeypatch):
    install(harness.folder, "toy_quick", QUICK)
    monkeypatch.setenv("PYTHONPATH", str(harness.folder))
    words = ("run", "method=toy_quick/quick", "budget=smoke", "device=cpu", "tracking=off")
    harness(*words)
    (result,) = (harness.folder / "results").rglob("result.json")
    result.rename(result.with_name(".result.json.abcd"))
    result.with_name(".metrics.jsonl.abcd").write_text("half")
    assert "1 finished" in harness(*words).stderr
    assert [path.name for path in result.parent.iterdir() if path.name.startswith(".")] == []
