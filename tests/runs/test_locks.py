"""A run's folder has one owner at a time, and the start log tells who began it."""

import itertools
import json
import multiprocessing
import os
import signal
import socket
import time

import pytest

from harness.runs.locks import OWNER, STARTS, alone, held, note_start, owner


def _work(folder, log) -> None:
    with alone(folder):
        note_start(folder)
        begun = time.time()
        time.sleep(0.1)
        with log.open("a") as file:
            file.write(json.dumps([begun, time.time()]) + "\n")


def test_no_two_processes_have_a_folder_at_once(tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(folder, log)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    spans = sorted(json.loads(line) for line in log.read_text().splitlines())
    assert len(spans) == 4
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    starts = [json.loads(line) for line in (folder / STARTS).read_text().splitlines()]
    assert {line["pid"] for line in starts} == {worker.pid for worker in workers}


def test_the_owner_tells_host_pid_and_start_and_leaves_in_order(tmp_path):
    folder = tmp_path / "run"
    with alone(folder):
        told = owner(folder)
        assert told is not None
        assert (told["host"], told["pid"]) == (socket.gethostname(), os.getpid())
        assert time.time() - 5 < told["started"] <= time.time()
        assert held(folder)
    assert owner(folder) is None
    assert not held(folder)


@pytest.mark.parametrize("told", ['{"host": "another", "pid": 1, "started": 0}', "{}", "[]", "", "scribble"])
def test_a_folder_that_another_machine_works_in_is_waited_for_until_its_heart_stops(
    tmp_path, monkeypatch, told
):
    monkeypatch.setattr("harness.runs.locks.DEAD", 1.0)
    monkeypatch.setattr("harness.runs.locks.SETTLED", 0.01)
    folder = tmp_path / "run"
    folder.mkdir()
    now = time.time()
    (folder / OWNER).write_text(told)
    assert held(folder)
    with alone(folder):
        assert time.time() - now >= 0.9
        assert owner(folder)["pid"] == os.getpid()
    assert [path.name for path in folder.iterdir()] == []


def test_what_a_killed_process_of_this_machine_left_is_not_waited_for(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / OWNER).write_text(json.dumps({"host": socket.gethostname(), "pid": 1, "started": 0}))
    assert not held(folder)
    begun = time.time()
    with alone(folder):
        assert time.time() - begun < 1.0


def test_asking_who_has_a_folder_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    assert not held(folder)
    assert list(tmp_path.rglob("*")) == [folder]


# Between machines: a lock file a machine, and clocks that are apart


def _machine(name: str, ahead: float, folder, log, ready, hold: float, dies: bool = False) -> None:
    """Be a process on a machine of its own: what it locks here, no other machine sees."""
    import filelock

    from harness.runs import locks

    real, clock = filelock.FileLock, time.time
    filelock.FileLock = lambda path: real(f"{path}.{name}")
    socket.gethostname = lambda: name
    time.time = lambda: clock() + ahead
    locks.BEAT, locks.DEAD, locks.POLL, locks.SETTLED = 0.1, 1.0, 0.02, 0.2
    if dies:  # with the folder, before any other asks for it
        with locks.alone(folder):
            ready.wait()
            os.kill(os.getpid(), signal.SIGKILL)
    ready.wait()
    with locks.alone(folder):
        entered = time.monotonic()
        time.sleep(hold)
        left = time.monotonic()
        with log.open("a") as file:
            file.write(json.dumps([entered, left]) + "\n")


def _at_once(tmp_path, machines: int, ahead: float, hold: float, dies: bool = False) -> list[list[float]]:
    """Start a process on each machine at the same instant; return when each had the folder, in order."""
    folder, log = tmp_path / "run", tmp_path / "log"
    folder.mkdir(exist_ok=True)
    log.write_text("")
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(machines)
    started = [
        context.Process(
            target=_machine, args=(f"host-{i}", ahead * i, folder, log, ready, hold, dies and i == 0)
        )
        for i in range(machines)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started[:dies]] == [-signal.SIGKILL] * dies
    assert [process.exitcode for process in started[dies:]] == [0] * (machines - dies)
    assert [path.name for path in folder.iterdir()] == []
    spans = sorted(json.loads(line) for line in log.read_text().splitlines())
    assert len(spans) == machines - dies
    return spans


def _one_after_another(spans) -> bool:
    return all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


@pytest.mark.fault
@pytest.mark.parametrize("ahead", [0.0, 130.0, -130.0])
def test_two_machines_that_start_at_the_same_instant_have_a_folder_one_after_another(tmp_path, ahead):
    assert all(_one_after_another(_at_once(tmp_path, 2, ahead, 0.02)) for _ in range(40))


@pytest.mark.fault
def test_a_heart_that_beats_is_believed_however_far_its_clock_is_apart(tmp_path):
    assert _one_after_another(_at_once(tmp_path, 2, 130.0, 3.0))


@pytest.mark.fault
def test_of_many_machines_that_wait_for_a_dead_one_a_single_one_takes_its_place(tmp_path):
    for _ in range(10):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / OWNER).write_text(json.dumps({"host": "gone", "pid": 1, "started": 0}))
        os.utime(tmp_path / "run" / OWNER, (time.time() - 1000,) * 2)
        assert _one_after_another(_at_once(tmp_path, 8, 130.0, 0.02))


@pytest.mark.fault
def test_a_machine_that_dies_with_the_folder_is_followed_by_the_others(tmp_path):
    assert _one_after_another(_at_once(tmp_path, 4, 130.0, 0.05, dies=True))
