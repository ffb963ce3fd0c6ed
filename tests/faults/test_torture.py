"""Twenty kills at random, and amid the writing of checkpoints and results: nothing lost, doubled or left behind."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import torture
from tests.faults.test_stores import QUICK
from tests.papers.test_plugins import install

pytestmark = pytest.mark.fault


def test_twenty_random_kills_lose_double_and_leave_nothing_and_a_stopped_torture_goes_on(
    tmp_path, capsys, monkeypatch
):
    """Ten kills in each of two folders at a time: what a kill leaves is looked for in its own."""
    monkeypatch.setitem(torture.SECONDS, "light", 5.0)
    monkeypatch.setitem(torture.STEPS, "light", 8)

    def tortured(name: str, trials: int) -> int:
        seed = {"stopped": 0, "whole": 1}[name]
        words = ("--trials", trials, "--real", 0, "--seed", seed, "--folder", tmp_path / name)
        return torture.main(list(map(str, words)))

    def stopped() -> int:
        tortured("stopped", 5)
        before = (tmp_path / "stopped" / "trials.jsonl").read_bytes()
        (tmp_path / "stopped" / "trials.jsonl").write_bytes(before + b'{"trial": 5, "ki')  # torn by a kill
        code = tortured("stopped", 10)
        assert (tmp_path / "stopped" / "trials.jsonl").read_bytes().startswith(before)
        return code

    with ThreadPoolExecutor(2) as both:
        codes = [both.submit(stopped), both.submit(tortured, "whole", 10)]
    assert [code.result() for code in codes] == [0, 0], capsys.readouterr().out
    for name in ("stopped", "whole"):
        log = torture.Log(tmp_path / name / "trials.jsonl")
        assert sorted(log.trials) == list(range(10))
        assert not any(log.losses().values()), capsys.readouterr().out
        assert "| survived | 10 |" in torture.table(log)


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
