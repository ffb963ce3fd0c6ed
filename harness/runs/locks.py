"""A run's folder belongs to one process at a time, on one machine or on many that share the folder.

A file lock decides on one machine, and the system drops it with its holder. Between machines, where file
locks may not reach, `owner.json` does: host, pid and start, made by one process alone (O_EXCL) and touched
as long as it lives. One that was not touched for two minutes is dead. Only the shared file system's clock
counts: two machines' clocks may be apart. `starts.jsonl` is only ever appended to: it shows who began the
run, and when.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OWNER, STARTS = "owner.json", "starts.jsonl"
BEAT, DEAD, POLL = 10.0, 120.0, 1.0  # seconds
SETTLED = 0.5  # seconds from taking a dead process's folder to being sure of it


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder, waiting for whoever has it; the heartbeat goes on until it is left."""
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        me = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()})
        with contextlib.suppress(OSError):  # a full disk: the run itself will say so
            _become_owner(folder, me)
        over = threading.Event()
        heart = threading.Thread(target=_beats, args=(folder, me, over), daemon=True)
        heart.start()
        try:
            yield
        finally:
            over.set()
            heart.join()
            if _read(folder / OWNER) == me:
                (folder / OWNER).unlink(missing_ok=True)


def owner(folder: Path) -> dict[str, Any] | None:
    """Return who last had a run's folder and did not leave it in order, or None; {} for a file that says nothing."""
    text = _read(folder / OWNER)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def elsewhere(folder: Path) -> bool:
    """Say whether a living process on another machine has this run's folder."""
    found = owner(folder)
    return found is not None and found.get("host") != socket.gethostname() and _silent(folder) < DEAD


def held(folder: Path) -> bool:
    """Say whether some process is at work in this run's folder right now, here or elsewhere."""
    import filelock

    path = Path(f"{folder}.lock")
    if not path.exists():
        return elsewhere(folder)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except OSError:  # it may only be read: then the heartbeat tells
        return owner(folder) is not None and _silent(folder) < DEAD
    lock.release()
    return elsewhere(folder)


def note_start(folder: Path) -> None:
    """Append to the run's start log who begins it, where and when."""
    line = {"time": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
    with (folder / STARTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _become_owner(folder: Path, me: str) -> None:
    """Make the owner's file mine, waiting while a living process on another machine has it."""
    took = False
    while True:
        if not _made(folder, me):
            before = _read(folder / OWNER)
            if before is not None and elsewhere(folder):
                time.sleep(POLL)
            elif before is not None:
                _take_away(folder, before)
                took = True
            continue
        if not took:
            return
        time.sleep(SETTLED)  # whoever took mine for the dead one's has put it back, or is the owner
        if _read(folder / OWNER) == me:
            return
        took = False


def _made(folder: Path, me: str) -> bool:
    """Make the owner's file and say whether it was not there: of many that try at once, one is told so."""
    try:
        with (folder / OWNER).open("x", encoding="utf-8") as file:
            file.write(me)
    except FileExistsError:
        return False
    except OSError:  # a full disk: what says nothing would only keep others waiting
        (folder / OWNER).unlink(missing_ok=True)
        raise
    return True


def _take_away(folder: Path, dead: str) -> None:
    """Remove the owner's file of a dead process; put back what is there in its stead by now."""
    away = folder / f".{OWNER}.{secrets.token_hex(4)}"
    try:
        os.rename(folder / OWNER, away)
    except FileNotFoundError:
        return
    if _read(away) != dead:
        with contextlib.suppress(
            OSError
        ):  # there is a newer one, or there are no links here: its heart puts it back
            os.link(away, folder / OWNER)
    away.unlink(missing_ok=True)


def _silent(folder: Path) -> float:
    """Return the seconds since the owner last touched its file, by the clock of the file system that holds it."""
    try:
        with (folder / OWNER).open("rb") as file:  # opening asks a network file system anew
            last = os.fstat(file.fileno()).st_mtime
    except OSError:
        return DEAD
    clock = folder / f".clock.{secrets.token_hex(4)}"
    try:
        clock.touch()
        now = clock.stat().st_mtime
        clock.unlink()
    except OSError:  # it may only be read
        now = time.time()
    return now - last


def _beats(folder: Path, me: str, over: threading.Event) -> None:
    while not over.wait(BEAT):
        with contextlib.suppress(OSError):
            found = _read(folder / OWNER)
            if found == me:
                os.utime(folder / OWNER)  # now, as the file system sees it
            elif found is None:
                _made(folder, me)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
