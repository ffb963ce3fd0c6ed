"""How a command ends that a signal asks to end: one sentence, exit code 128 and its number, nobody left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
GRACE = 3.5  # seconds that a command has to end in order


@contextlib.contextmanager
def stopping(as_json: bool = False) -> Iterator[None]:
    """Turn the first signal that asks to end into `Stopped`; what then still goes on after a while is ended hard.

    A signal that is ignored (`nohup`, a shell's background jobs) stays so. Further ones change nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDS}

    def stop(number: int, _: Any) -> None:
        from harness.errors import Stopped

        for other in ENDS:
            signal.signal(other, signal.SIG_IGN)
        end_children()
        stopped = Stopped(number)
        threading.Thread(target=_late, args=(stopped, as_json), daemon=True).start()
        raise stopped

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    stopped = False
    try:
        yield
    except BaseException as error:
        from harness.errors import Stopped

        stopped = isinstance(error, Stopped)
        raise
    finally:
        for number, handler in before.items():
            if not stopped:
                signal.signal(number, handler)


def tell(stop: Any, as_json: bool = False) -> None:
    """Say, once, what ended the command, what stands, and how to go on."""
    if not stop.args:
        return
    stop.args = ()
    name = signal.Signals(stop.number).name
    print(f"\nharness: ended by {name}: {stop.stands}; {stop.fix}", file=sys.stderr, flush=True)
    if as_json:
        from harness.commands.door.answers import complain

        complain(name, f"ended by {name}: {stop.stands}", stop.fix, 128 + stop.number)


def _late(stop: Any, as_json: bool) -> None:
    """End this process some seconds after a signal asked for it, whatever it still waits for."""
    time.sleep(GRACE)
    tell(stop, as_json)
    end_children()
    os._exit(128 + stop.number)


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
