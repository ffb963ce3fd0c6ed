"""Twenty kills at random, and amid the writing of checkpoints and results: nothing lost, doubled or left behind."""

import json

import pytest

from benchmarks import torture

pytestmark = pytest.mark.fault


def test_twenty_random_kills_lose_double_and_leave_nothing_and_a_stopped_torture_goes_on(
    tmp_path, capsys, monkeypatch
):
    words = ("--real", "0", "--folder", str(tmp_path))
    monkeypatch.setitem(torture.SECONDS, "light", 6.0)
    torture.main(("--trials", "10", *words))
    before = (tmp_path / "trials.jsonl").read_bytes()
    (tmp_path / "trials.jsonl").write_bytes(before + b'{"trial": 10, "ki')  # torn by a kill
    code = torture.main(("--trials", "20", *words))
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert sorted(line["trial"] for line in lines if "trial" in line) == list(range(20))
    assert (tmp_path / "trials.jsonl").read_bytes().startswith(before)
    assert not any(torture.Log(tmp_path / "trials.jsonl").losses().values()), capsys.readouterr().out
    assert code == 0
    assert "| survived | 20 |" in capsys.readouterr().out
