"""A sweep's jobs are made so many at a time, in threads, and what interrupts their sweep ends them all."""

import subprocess
import sys
import threading
import time

import pytest

from harness.errors import Stopped
from harness.runs import threads
from harness.runs.threads import at_once, go_on, halt_all, heard


def jobs(work, count):
    return [lambda number=number: work(number) for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_as_many_go_on_at_once_as_were_asked_for_and_what_they_return_is_in_order(count):
    going, most, lock = set(), [], threading.Lock()

    def work(number):
        with lock:
            going.add(number)
            most.append(len(going))
        time.sleep(0.02 * (5 - number))  # the last begun are the first to end
        with lock:
            going.remove(number)
        return number * number

    assert at_once(jobs(work, 5), count) == [0, 1, 4, 9, 16]
    assert max(most) == min(count, 5)


def test_of_those_that_fail_the_first_is_told_once_all_are_over():
    done = []

    def work(number):
        time.sleep(0.02 * (4 - number))
        if number % 2:
            raise ValueError(number)
        done.append(number)

    with pytest.raises(ValueError, match="1"):
        at_once(jobs(work, 4), 4)
    assert sorted(done) == [0, 2]


def test_no_thread_ends_before_the_last_job_has():
    """Linux ends a fork server with the thread that started it."""
    seen = []

    def work(number):
        if number:
            time.sleep(0.3)
            seen.append(sum(thread.name.endswith("(work)") for thread in threading.enumerate()))

    at_once(jobs(work, 2), 2)
    assert seen == [2]


def test_what_interrupts_a_sweep_ends_what_its_threads_wait_for_and_begins_no_other():
    begun, ended = [], []

    def work(number):
        begun.append(number)
        if number == 0:
            while len(begun) < 2:
                time.sleep(0.01)
            halt_all()  # as a signal's handler does, before it kills
        (ear,) = heard()
        assert ear.poll(5)  # hears that nobody speaks any more
        ended.append(number)
        go_on()

    with pytest.raises(Stopped):
        at_once(jobs(work, 6), 2)
    assert sorted(begun) == sorted(ended) == [0, 1]


def test_outside_a_sweep_nothing_halts():
    halt_all()
    assert heard() == []
    go_on()
    assert threads._mine.__dict__.get("halt") is None


MANY = """
import multiprocessing, os, sys, threading
from harness.runs import isolate
from harness.runs.threads import at_once

def made():
    process = context.Process(target=os._exit, args=(7,))
    with isolate.ONE_BY_ONE, isolate._plain_main():
        process.start()
    return isolate._joined([process], None)[0]

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    sys.setswitchinterval(1e-5)
    print(set(at_once([made] * 300, 16)))
"""


@pytest.mark.slow
def test_each_of_many_threads_is_told_how_its_own_process_ended(tmp_path):
    """Without its lock, one in seven is told 255: multiprocessing looks at all children when it starts another."""
    (tmp_path / "many.py").write_text(MANY)
    done = subprocess.run([sys.executable, "many.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "{7}\n", done.stderr
