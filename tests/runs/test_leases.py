"""No device takes more runs than it may, whoever starts them; what a dead process held is free again."""

import contextlib
import fcntl
import getpass
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest

from harness.errors import UsageError
from harness.runs import leases
from harness.runs.leases import cores, gpus, leased, places

TWO = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa-1)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb-2)
"""
CUT = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa-1)
  MIG 3g.20gb     Device  0: (UUID: MIG-cccc-3)
  MIG 3g.20gb     Device  1: (UUID: MIG-dddd-4)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb-2)
"""


@pytest.fixture
def inventory(tmp_path, monkeypatch):
    """Have `nvidia-smi -L` tell of other devices than are here; locks in a folder of the test's own."""
    monkeypatch.setenv("HARNESS_LEASES", str(tmp_path / "leases"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def tell(text: str) -> None:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        (tmp_path / "told").write_text(text)
        program.write_text(f'#!/bin/sh\n[ "$1" = -L ] && cat {tmp_path / "told"}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return tell


def test_devices_are_known_by_uuid_and_instances_stand_for_a_device_that_is_cut(inventory):
    inventory(TWO)
    assert gpus() == ["GPU-aaaa-1", "GPU-bbbb-2"]
    inventory(CUT)
    assert gpus() == ["MIG-cccc-3", "MIG-dddd-4", "GPU-bbbb-2"]


@pytest.mark.parametrize(
    ("visible", "found"), [("1", ["GPU-bbbb-2"]), ("GPU-aa", ["GPU-aaaa-1"]), ("", []), ("7", [])]
)
def test_devices_that_are_hidden_are_not_leased(inventory, monkeypatch, visible, found):
    inventory(TWO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus() == found


def test_the_beginning_of_a_uuid_names_one_device(inventory, monkeypatch):
    inventory("GPU 0: X (UUID: GPU-aaaa-1)\nGPU 1: X (UUID: GPU-aabb-2)\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa")
    assert gpus() == ["GPU-aaaa-1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aab,GPU-aa")
    assert gpus() == ["GPU-aabb-2", "GPU-aaaa-1"]


def test_with_two_runs_and_two_gpus_each_has_its_own(inventory):
    inventory(TWO)
    with leased("cuda", per_gpu=2) as one, leased("cuda", per_gpu=2) as two:
        assert {lease.environ["CUDA_VISIBLE_DEVICES"] for lease in (one, two)} == set(gpus())


def test_a_run_finds_its_devices_in_the_order_in_which_they_are_named(inventory):
    inventory(TWO)
    with leased("cuda", 2) as lease:
        assert lease.environ == {
            "CUDA_VISIBLE_DEVICES": "GPU-aaaa-1,GPU-bbbb-2",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        }


def test_no_run_has_one_device_twice(inventory):
    inventory(TWO)
    with contextlib.ExitStack() as first:
        first.enter_context(leased("cuda", per_gpu=2))
        with leased("cuda", per_gpu=2) as second:
            assert second.names == ("GPU-bbbb-2.0",)
            first.close()
            with leased("cuda", 2, per_gpu=2) as both:  # free: both places on one, the second on the other
                assert both.names == ("GPU-aaaa-1.0", "GPU-bbbb-2.1")


def test_two_that_want_two_of_three_never_wait_for_each_other(inventory, monkeypatch):
    """Whoever waits first gets what becomes free, however seldom it looks; the other holds nothing meanwhile."""
    sleep = time.sleep
    patient = {"first": 0.5}
    monkeypatch.setattr(time, "sleep", lambda s: sleep(patient.get(threading.current_thread().name, 0.01)))
    got = {name: threading.Event() for name in ("first", "second")}

    def run() -> None:
        with leased("cpu", 2, cpus=3):
            got[threading.current_thread().name].set()

    threads = {name: threading.Thread(target=run, name=name) for name in got}
    folder = places()
    folder.mkdir(parents=True)
    taken = [filelock.FileLock(folder / f"slot-{i}.lock") for i in (0, 1)]
    for lock in taken:
        lock.acquire()
    threads["first"].start()
    while not _locked(folder / "slot-2.lock"):
        sleep(0.01)
    threads["second"].start()
    sleep(0.1)
    taken[0].release()
    assert got["first"].wait(5)  # though the third is still held
    taken[1].release()
    for thread in threads.values():
        thread.join(10)
    assert got["second"].is_set()


def _locked(path: Path) -> bool:
    """Say whether a lock is held, without ever holding it."""
    if not path.exists():
        return False
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


@pytest.mark.parametrize("per_gpu", [1, 2])
def test_a_gpu_takes_as_many_runs_as_it_may_and_all_are_used(inventory, per_gpu):
    inventory(TWO)
    going: dict[str, int] = {}
    most: dict[str, int] = {}
    guard = threading.Lock()

    def run() -> None:
        with leased("cuda", per_gpu=per_gpu) as lease:
            device = lease.environ["CUDA_VISIBLE_DEVICES"]
            with guard:
                going[device] = going.get(device, 0) + 1
                most[device] = max(most.get(device, 0), going[device])
            time.sleep(0.3)
            with guard:
                going[device] -= 1

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == {"GPU-aaaa-1": per_gpu, "GPU-bbbb-2": per_gpu}


def test_where_a_cluster_gave_out_the_devices_nothing_is_locked(inventory, monkeypatch, tmp_path):
    inventory(TWO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_LEASES", "off")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with leased("cuda") as one, leased("cuda") as two, leased("cpu") as cores_alone:
        assert one == two
        assert one.names == ("GPU-bbbb-2.0",)
        assert one.environ["CUDA_VISIBLE_DEVICES"] == "GPU-bbbb-2"
        assert cores_alone.names == ()
    with pytest.raises(UsageError, match="needs 2 GPUs and 1 are here"), leased("cuda", 2):
        pass
    assert not {"off", "leases"} & {path.name for path in tmp_path.iterdir()}


def test_several_processes_get_a_device_each(inventory):
    inventory(TWO)
    with leased("cuda", 2, per_gpu=2) as lease:
        assert sorted(lease.environ["CUDA_VISIBLE_DEVICES"].split(",")) == gpus()
        with leased("cuda", 1, per_gpu=2):  # there is a second place on each
            pass
    with pytest.raises(UsageError, match="processes=3 needs 3 GPUs and 2 are here"):
        with leased("cuda", 3):
            pass


def test_a_run_takes_a_core_and_no_more_than_there_are(inventory):
    here = cores()
    assert len(here) == len(os.sched_getaffinity(0))
    with leased("cpu", 99) as lease:
        assert list(lease.names) == here
    with leased("cpu", cpus=3) as one, leased("cpu", cpus=3) as two, leased("cpu", cpus=3) as three:
        assert {*one.names, *two.names, *three.names} == {"slot-0", "slot-1", "slot-2"}


def test_what_a_killed_process_held_is_free_again(inventory, tmp_path):
    code = """
import time
from harness.runs.leases import leased
with leased("cpu", cpus=1):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    got = multiprocessing.get_context("fork").Process(target=_take)
    got.start()
    got.join(1)
    assert got.is_alive()  # it waits
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    got.join(20)
    assert got.exitcode == 0


def _take() -> None:
    with leased("cpu", cpus=1):
        pass


def test_one_that_waits_says_for_whom_and_the_way_out(inventory, monkeypatch, capsys):
    monkeypatch.setattr(leases, "PATIENCE", 0.2)
    with leased("cpu", cpus=1, who="alibi/alibi seed 3"):
        waits = threading.Thread(target=_take_one)
        waits.start()
        until = time.monotonic() + 20
        said = ""
        while "waits for" not in said and time.monotonic() < until:
            time.sleep(0.05)
            said += capsys.readouterr().err
    waits.join(10)
    assert said.count("\n") == 1
    user = getpass.getuser()
    assert (
        f"a run waits for a free device: slot-0 is held by pid {os.getpid()} of {user} (alibi/alibi seed 3"
        in said
    )
    assert f"in {os.getcwd()}" in said
    assert "HARNESS_LEASES" in said
    assert "leases.cpus" in said


def _take_one() -> None:
    with leased("cpu", cpus=1):
        pass


def test_who_comes_first_is_served_first_so_that_a_large_sweep_starves_no_small_one(inventory):
    """Six threads that never stop asking, and one that asks once: no one of the six has two turns before it."""
    order: list[str] = []
    over = threading.Event()

    def greedy(name: str) -> None:
        while not over.is_set():
            with leased("cpu", cpus=1):
                order.append(name)
                time.sleep(0.02)

    large = [threading.Thread(target=greedy, args=(f"large {i}",)) for i in range(6)]
    for thread in large:
        thread.start()
    while len(order) < 3:
        time.sleep(0.01)
    before = len(order)
    with leased("cpu", cpus=1):
        turns = order[before:]
        over.set()
    for thread in large:
        thread.join(20)
    assert len(turns) <= 8  # each of the six once, and what went on meanwhile


def test_a_ticket_of_a_killed_process_holds_up_nobody(inventory):
    with leased("cpu", cpus=1):
        dead = multiprocessing.get_context("fork").Process(target=_take_one)
        dead.start()
        tickets = places() / "cpu.tickets"
        until = time.monotonic() + 20
        while not (tickets.exists() and list(tickets.iterdir())) and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(dead.pid, signal.SIGKILL)
        dead.join()
        assert list(tickets.iterdir())
    _take_one()
    assert not list(tickets.iterdir())
