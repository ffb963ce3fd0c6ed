"""A run's folder has one owner at a time, and the start log tells who began it."""

import itertools
import json
import multiprocessing
import os
import socket
import time

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


def test_the_owner_tells_host_pid_start_and_heartbeat_and_leaves_in_order(tmp_path):
    folder = tmp_path / "run"
    with alone(folder):
        told = owner(folder)
        assert told is not None
        assert (told["host"], told["pid"]) == (socket.gethostname(), os.getpid())
        assert told["started"] <= told["heartbeat"] <= time.time()
        assert held(folder)
    assert owner(folder) is None
    assert not held(folder)


def test_a_folder_that_another_machine_works_in_is_waited_for_until_its_heart_stops(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.runs.locks.DEAD", 1.0)
    folder = tmp_path / "run"
    folder.mkdir()
    now = time.time()
    other = {"host": "another", "pid": 1, "started": now, "heartbeat": now}
    (folder / OWNER).write_text(json.dumps(other))
    assert held(folder)
    with alone(folder):
        assert time.time() - now >= 1.0
