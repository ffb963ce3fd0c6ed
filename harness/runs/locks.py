"""A run's folder belongs to one process at a time, on one machine or on many that share the folder.

A file lock decides on one machine, and the system drops it with its holder. Between machines, where
file locks may not reach, `owner.json` does: host, pid, start and a heartbeat; one without a heartbeat
for two minutes is dead. `starts.jsonl` is only ever appended to: it shows who began the run, and when.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.runs.files import write_json

OWNER, STARTS = "owner.json", "starts.jsonl"
BEAT, DEAD = 10.0, 120.0  # seconds


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder, waiting for whoever has it; the heartbeat goes on until it is left."""
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        while elsewhere(folder):
            time.sleep(1.0)
        over = threading.Event()
        me = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
        with contextlib.suppress(OSError):  # a full disk: the run itself will say so
            _beat(folder, me)
        heart = threading.Thread(target=_beats, args=(folder, me, over), daemon=True)
        heart.start()
        try:
            yield
        finally:
            over.set()
            heart.join()
            (folder / OWNER).unlink(missing_ok=True)


def owner(folder: Path) -> dict[str, Any] | None:
    """Return who last had a run's folder and did not leave it in order, or None."""
    try:
        found: dict[str, Any] = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        return found
    except (OSError, json.JSONDecodeError):
        return None


def elsewhere(folder: Path) -> bool:
    """Say whether a living process on another machine has this run's folder."""
    found = owner(folder)
    return bool(found and found["host"] != socket.gethostname() and time.time() - found["heartbeat"] < DEAD)


def held(folder: Path) -> bool:
    """Say whether some process is at work in this run's folder right now, here or elsewhere."""
    import filelock

    lock = filelock.FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return elsewhere(folder)


def note_start(folder: Path) -> None:
    """Append to the run's start log who begins it, where and when."""
    line = {"time": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
    with (folder / STARTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _beats(folder: Path, me: dict[str, Any], over: threading.Event) -> None:
    while not over.wait(BEAT):
        with contextlib.suppress(OSError):
            _beat(folder, me)


def _beat(folder: Path, me: dict[str, Any]) -> None:
    write_json(folder / OWNER, {**me, "heartbeat": time.time()})
