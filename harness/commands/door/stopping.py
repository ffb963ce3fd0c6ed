"""How a command ends that a signal asks to end: one sentence, exit code 128 and its number, nobody left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

from harness.errors import Stopped
from harness.runs.threads import halt_all

ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
GRACE = 3.5  # seconds that a command has to end in order
LOOK = 0.5  # seconds between two looks whether it does


@contextlib.contextmanager
def stopping(as_json: bool = False) -> Iterator[None]:
    """Turn the first signal that asks to end into `Stopped`; what then still goes on after a while is ended hard.

    A signal that is ignored (`nohup`, a shell's background jobs) stays so. Further ones change nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDS}
    ending = Ending(as_json)
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, ending.stop)
    try:
        yield
    except Exception as error:
        if not ending.number:
            raise
        # What a library made of the exception, or what broke because its processes were ended.
        raise Stopped(ending.number) from error
    finally:
        ending.seen = True
        for number, handler in before.items():
            if not ending.number:
                signal.signal(number, handler)


class Ending:
    """What becomes of a signal that asks to end: its `number`, 0 before it came, and whether the command was left."""

    def __init__(self, as_json: bool) -> None:
        self.as_json, self.number, self.seen = as_json, 0, False
        self.stopped: weakref.ref[Stopped] | None = None

    def stop(self, number: int, _: Any) -> None:
        """Raise `Stopped` where the first signal finds the command, and again where a library has swallowed it."""
        if self.number and not self.lost():
            return
        if not self.number:
            self.number = number
            halt_all()
            end_children()
            threading.Thread(target=self.watch, daemon=True).start()
        stopped = Stopped(self.number)
        self.stopped = weakref.ref(stopped)
        try:
            raise stopped
        finally:
            del stopped  # of its traceback's frames none may hold it

    def lost(self) -> bool:
        """Say whether nobody holds the exception any more (DuckDB's queries may drop it), and the command goes on."""
        return not self.seen and self.stopped is not None and self.stopped() is None

    def watch(self) -> None:
        """See that the exception gets through; end this process some seconds later, whatever it still waits for."""
        until = time.monotonic() + GRACE
        while time.monotonic() < until:
            time.sleep(LOOK)
            if self.lost():
                signal.pthread_kill(threading.main_thread().ident or 0, self.number)
        if not self.seen:
            tell((self.stopped and self.stopped()) or Stopped(self.number), self.as_json)
        end_children()
        os._exit(128 + self.number)


def tell(stop: Stopped, as_json: bool = False) -> None:
    """Say, once, what ended the command, what stands, and how to go on."""
    if not stop.args:
        return
    stop.args = ()
    name = signal.Signals(stop.number).name
    print(f"\nharness: ended by {name}: {stop.stands}; {stop.fix}", file=sys.stderr, flush=True)
    if as_json:
        from harness.commands.door.answers import complain

        complain(name, f"ended by {name}: {stop.stands}", stop.fix, 128 + stop.number)


def end_children() -> None:
    """End what this process has started, and what that has; runs are made to be killed."""
    import psutil

    for name in ("joblib.externals.loky.backend.resource_tracker", "multiprocessing.resource_tracker"):
        if name in sys.modules:  # it goes too, and would be started again to be told what it never knew
            sys.modules[name]._resource_tracker._send = lambda *_: None  # type: ignore[attr-defined]

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
