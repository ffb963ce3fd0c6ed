"""Several runs at once, each waited for by a thread of this process, and all of them ended together."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TypeVar

from harness.errors import Stopped

T = TypeVar("T")
GRACE = (
    1.0  # seconds that threads have to end in order; one that still waits for a folder goes with the process
)


class Halt:
    """Tells the threads of one sweep that nobody waits for them any more."""

    def __init__(self) -> None:
        self.said = False
        self.heard, self._mouth = Pipe(duplex=False)  # what waits for a process hears this as well
        _halts.add(self)

    def say(self) -> None:
        """Tell them."""
        self.said = True
        with contextlib.suppress(OSError):  # said already
            self._mouth.close()


class _Mine(threading.local):
    halt: Halt | None = None  # of this thread's sweep


_halts: weakref.WeakSet[Halt] = weakref.WeakSet()
_mine = _Mine()


def halt_all() -> None:
    """Tell the threads of every sweep of this process, before what they wait for is killed."""
    for halt in list(_halts):
        halt.say()


def heard() -> list[Connection]:
    """Return what becomes ready when this thread is to stop waiting: nothing, where it is not one of a sweep."""
    return [_mine.halt.heard] if _mine.halt else []


def go_on() -> None:
    """Raise Stopped where this thread is to stop waiting."""
    if _mine.halt and _mine.halt.said:
        raise Stopped(signal.SIGINT)


def at_once(jobs: Sequence[Callable[[], T]], count: int) -> list[T]:
    """Call each of `jobs`, `count` of them at a time; return what they return, in their order.

    Raises what the first of them raised, when all are over. Where this is interrupted, all are.
    No thread ends before the last job has: a fork server that one of them had to start again would go with it.
    """
    if count == 1:
        return [job() for job in jobs]
    halt, over = Halt(), threading.Event()
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[int, T | BaseException, bool]] = queue.SimpleQueue()
    for index in range(len(jobs)):
        left.put(index)

    def work() -> None:
        _mine.halt = halt
        with contextlib.suppress(queue.Empty):
            while True:
                index = left.get_nowait()
                try:
                    go_on()
                    ended.put((index, jobs[index](), True))
                except BaseException as error:
                    ended.put((index, error, False))
        over.wait()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(count, len(jobs)))]
    returned: dict[int, T] = {}
    raised: dict[int, BaseException] = {}
    try:
        for thread in threads:
            thread.start()
        for _ in jobs:
            index, value, well = ended.get()
            (returned if well else raised)[index] = value  # type: ignore[index, assignment]
    except BaseException:
        halt.say()
        raise
    finally:
        over.set()
        until = time.monotonic() + GRACE
        for thread in filter(threading.Thread.is_alive, threads):
            thread.join(max(until - time.monotonic(), 0.0))
    if raised:
        raise raised[min(raised)]
    return [returned[index] for index in range(len(jobs))]
