"""Whose driver is killed anywhere and whose command is repeated: the same ledger, looks and verdicts."""

import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.faults.conftest import without_torch
from tests.faults.test_kills import wait_for, workers
from tests.papers.test_plugins import install

pytestmark = pytest.mark.fault

PROGRAM = """
import json, random, sys, time
time.sleep(0.05)
gain, seed = float(sys.argv[1]), int(sys.argv[2])
print(json.dumps({"acc": gain + random.Random(f"{gain} {seed}").gauss(0, 1)}))
"""
GAINS = ("6.0", "5.5")


def campaign(harness, kills: int = 0) -> list[dict]:
    """Play a campaign of proposals, killing each command so often as it gets on; return its ledger without dates."""
    (harness.folder / "train.py").write_text(PROGRAM)
    run = f"{shlex.quote(sys.executable)} -S train.py {{change}} {{seed}}"
    place, base = harness.folder / "results" / "gate" / "c", "0.1"

    def written() -> list[Path]:  # every line and every outcome is a step
        ledger = place / "ledger.jsonl"
        return [*place.rglob("runs/*/*.json"), *(ledger.read_text().splitlines() if ledger.exists() else ())]

    for gain in GAINS:
        words = ("gate", base, gain, "--run", run, "--better", "higher", "--campaign", "c")
        for _ in range(kills):
            driver, before = harness.start(*words), len(written())
            wait_for(lambda d=driver, n=before: d.poll() is not None or len(written()) > n)
            driver.kill()
            driver.wait()
            wait_for(lambda: not workers(harness), 30)
        done = harness(*words, code=None)
        assert done.returncode in (0, 3), done.stderr
        base = gain if done.returncode == 0 else base
    lines = (place / "ledger.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("date", "digest")} for line in lines]


def test_a_campaign_whose_driver_is_killed_again_and_again_has_the_same_ledger(tmp_path, monkeypatch, warm):
    from tests.conftest import Harness

    monkeypatch.setenv("HARNESS_LEASES", str(tmp_path / "leases"))
    (tmp_path / "calm").mkdir()
    (tmp_path / "killed").mkdir()
    calm = campaign(Harness(tmp_path / "calm", warm))
    assert [line["outcome"] for line in calm if line["kind"] == "decision"].count("kept") >= 1
    assert campaign(Harness(tmp_path / "killed", warm), kills=4) == calm


def verdicts(harness) -> dict[str, object]:
    """Return what a plan, its ledger and the claims say, without dates."""
    plans = harness.folder / "results" / "plans"
    looks = [json.loads(line) for path in plans.glob("*.jsonl") for line in path.read_text().splitlines()]
    told = harness("report", "coin", "--json").stdout
    return {
        "plan": [json.loads(path.read_text())["digest"] for path in plans.glob("*.json")],
        "looks": [{k: v for k, v in line.items() if k != "date"} for line in looks],
        "claims": [
            {k: claim[k] for k in ("text", "value", "low", "high", "verdict", "seeds", "looks", "holm")}
            for claim in json.loads(told)[0]["claims"]
        ],
    }


def ended(harness) -> int:
    return len(list((harness.folder / "results" / "runs").glob("*/*/*/result.json")))


def kill_once(harness, words: tuple[str, ...], after: int) -> None:
    """Kill a driver some time after so many runs have ended; wait until nothing of it is left."""
    driver = harness.start(*words)
    wait_for(lambda: ended(harness) >= after or driver.poll() is not None)
    time.sleep(0.3 * after)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    wait_for(lambda: not workers(harness), 60)


def test_a_decision_whose_driver_is_killed_again_and_again_is_the_same(tmp_path, monkeypatch, warm):
    from tests.conftest import Harness

    words = ("decide", "method=coin/plain,coin/better,coin/equal", "device=cpu", "tracking=off")
    words = (*words, "--most-seeds", "5", "--power", "0")
    code = (Path(__file__).parent.parent / "sweeps" / "coin.py").read_text()
    monkeypatch.setenv("HARNESS_LEASES", str(tmp_path / "leases"))
    found = []
    for name, kills in (("calm", ()), ("killed", (0, 1, 4, 8))):
        (tmp_path / name).mkdir()
        harness = Harness(tmp_path / name, warm)
        install(harness.folder, "coin", code)
        without_torch(harness.folder)
        monkeypatch.setenv("PYTHONPATH", str(harness.folder))
        for after in kills:
            kill_once(harness, words, after)
        harness(*words, code=4)
        found.append(verdicts(harness))
    assert found[0] == found[1]
