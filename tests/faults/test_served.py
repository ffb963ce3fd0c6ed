"""A sweep's runs are forked from one server, and a sweep outlives it."""

import re

import pytest

from tests.faults.test_kills import TRAINING, halfway, started_as, wait_for, workers

pytestmark = pytest.mark.fault


def servers(harness, driver) -> list:
    """Return the processes from which a driver's runs are forked, its children."""
    return [p for p in workers(harness) if p.info["ppid"] == driver.pid and "tracker" not in started_as(p)]


def test_a_sweeps_runs_are_forked_from_one_server_and_once_it_is_killed_from_another(harness, text):
    words = ("method=alibi/alibi", "-m", "hydra.launcher.n_jobs=2", "seed=0,1,2,3", *TRAINING)
    words = ("run", *words, f"data.corpus={text}", "tracking=off")
    driver = harness.start(*words)
    wait_for(lambda: halfway(harness))
    (server,) = servers(harness, driver)
    server.kill()
    wait_for(lambda: {p.pid for p in servers(harness, driver)} - {server.pid})
    told = driver.communicate(timeout=120)[1]
    assert driver.returncode == 1
    assert "before it was done" in told
    counted = re.search(r"(\d) finished; 0 already there; (\d) failed", told)
    assert counted, told
    finished, failed = map(int, counted.groups())
    assert finished + failed == 4
    assert failed in (1, 2)  # those that went on; the others came after it
    again = harness(*words).stderr
    assert f"{failed} finished; {finished} already there; 0 failed" in again
