"""Who may use what on this machine: a run leases CPU slots or GPUs by file locks for as long as it goes on.

Whatever started it (this command, submitit, another sweep), no GPU takes more runs than it may and no
core more than one. The system drops a lock with its holder, so a killed run leaves nothing taken.
Who came first is served first, and keeps what it has got while it waits for more: so nobody waits forever.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from harness.errors import UsageError, masked
from harness.numbers import printable
from harness.runs.threads import go_on

PATIENCE = 10.0  # seconds until one that waits says for whom


@dataclass(frozen=True)
class Lease:
    """What a run may use, by name, and what its processes must find in their environment to keep to it."""

    names: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)


def places() -> Path:
    """Return the folder of this user's locks on this machine; HARNESS_LEASES names another, or is off."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(os.environ.get("HARNESS_LEASES") or f"{tempfile.gettempdir()}/harness-leases-{user}")


def cores(count: int | None = None) -> list[str]:
    """Return the names of the CPU slots: the cores this process may use, or `count` numbered slots."""
    if count is not None:
        return [f"slot-{i}" for i in range(count)]
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return [f"core-{i}" for i in sorted(allowed)]


def gpus() -> list[str]:
    """Return the UUIDs of the NVIDIA devices this process may use, MIG instances where there are any."""
    if shutil.which("nvidia-smi") is None:
        return []
    told = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60).stdout
    found: list[list[str]] = []  # one list a device: its own UUID, then its instances'
    for line in told.splitlines():
        uuid = re.search(r"UUID: ((?:GPU|MIG)-[\w/-]+)", line)
        if uuid and line.startswith("GPU"):
            found.append([uuid.group(1)])
        elif uuid and found:
            found[-1].append(uuid.group(1))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        asked = [word.strip() for word in visible.split(",") if word.strip()]
        known = [uuid for device in found for uuid in device]
        return [u for word in asked for u in _named(word, found, known)]
    return [uuid for device in found for uuid in (device[1:] or device)]


def _named(word: str, found: Sequence[Sequence[str]], known: Sequence[str]) -> list[str]:
    """Return the UUIDs that one word of CUDA_VISIBLE_DEVICES means: an index, or a UUID's beginning."""
    if word.isdigit():
        return list(found[int(word)][:1]) if int(word) < len(found) else []
    return [uuid for uuid in known if uuid.startswith(word)][:1]


@contextlib.contextmanager
def leased(
    device: str, count: int = 1, cpus: int | None = None, per_gpu: int = 1, who: str = "a run"
) -> Iterator[Lease]:
    """Hold `count` devices of a kind, waiting for free ones; a GPU is held by `per_gpu` at most.

    Raises UsageError where there are not as many. Where no GPU can be named, nothing is held; nor with
    HARNESS_LEASES=off, where a cluster gave out all that this process sees.
    """
    given = os.environ.get("HARNESS_LEASES") == "off"
    if given and device != "cuda":
        yield Lease()
        return
    if device == "cuda":
        devices = gpus()
        if not devices:
            yield Lease()
            return
        if len(devices) < count:
            raise UsageError(
                f"processes={count} needs {count} GPUs and {len(devices)} are here: ask for fewer"
            )
        if given:
            yield _lease("cuda", [f"{uuid}.0" for uuid in devices[:count]])
            return
        names = [f"{uuid}.{place}" for place in range(per_gpu) for uuid in devices]
    else:
        names = cores(cpus) if device == "cpu" else [device]
        count = min(count, len(names))  # more processes than cores take all of them
    with _held(device, names, count, who) as taken:
        yield _lease(device, taken)


def _lease(device: str, names: Sequence[str]) -> Lease:
    """Return what names of a kind of device mean to a run."""
    if device != "cuda":
        return Lease(tuple(names))
    devices = ",".join(name.rpartition(".")[0] for name in names)
    return Lease(tuple(names), {"CUDA_VISIBLE_DEVICES": devices, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})


@contextlib.contextmanager
def _held(kind: str, names: Sequence[str], count: int, who: str) -> Iterator[list[str]]:
    """Hold `count` of the locks called `names`, no two of one device; the first of those that wait takes them."""
    import filelock

    folder = places()
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + PATIENCE

    def wait() -> None:
        nonlocal until
        go_on()
        if time.monotonic() > until:
            until = inf
            print(f"harness: {who} waits for a free device: {_holders(folder, names)}", file=sys.stderr)
        time.sleep(0.1)

    with contextlib.ExitStack() as held:
        taken: dict[str, str] = {}  # device -> lock
        with _turn(folder / f"{kind}.tickets", wait):
            while True:
                for name in names:
                    device = name.rpartition(".")[0] or name
                    if device in taken or len(taken) == count:
                        continue
                    with contextlib.suppress(filelock.Timeout):
                        lock = filelock.FileLock(_file(folder, name, ".lock"), thread_local=False)
                        held.enter_context(lock.acquire(timeout=0))
                        taken[device] = name
                        _sign(_file(folder, name, ".holder"), who)
                if len(taken) == count:
                    break
                wait()
        yield list(taken.values())


@contextlib.contextmanager
def _turn(queue: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the first place of a queue: who came first is first, whatever sweep it is of; the dead lose their places."""
    import filelock

    guard = filelock.FileLock(f"{queue}.lock", thread_local=False)
    with guard:
        queue.mkdir(exist_ok=True)
        ticket = queue / f"{time.time_ns():020}-{os.getpid()}-{threading.get_ident()}"
        mine = filelock.FileLock(ticket, thread_local=False)
        mine.acquire()
    try:
        while True:
            with guard:
                first = next(path for path in sorted(queue.iterdir()) if path == ticket or _alive(path))
            if first == ticket:
                break
            wait()
        yield
    finally:
        with guard:
            ticket.unlink(missing_ok=True)
            mine.release()


def _alive(ticket: Path) -> bool:
    """Say whether the process behind a ticket is alive; remove it where it is not."""
    import filelock

    lock = filelock.FileLock(ticket)
    try:
        with lock.acquire(timeout=0):
            ticket.unlink(missing_ok=True)
        return False
    except filelock.Timeout:
        return True


def _file(folder: Path, name: str, suffix: str) -> Path:
    return folder / f"{name.replace('/', '_')}{suffix}"


def _sign(path: Path, who: str) -> None:
    """Write down who holds a device, for those that wait for it."""
    import getpass

    with contextlib.suppress(OSError, KeyError):  # a full disk, a user without a name
        told = {"pid": os.getpid(), "user": getpass.getuser(), "what": masked(who), "folder": os.getcwd()}
        path.write_text(json.dumps(told), encoding="utf-8")


def _holders(folder: Path, names: Sequence[str]) -> str:
    """Say who holds these devices, and how not to wait for them."""
    told = []
    for name in names:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            by = json.loads(_file(folder, name, ".holder").read_text(encoding="utf-8"))
            told.append(
                f"{name} is held by pid {by['pid']} of {by['user']} ({by['what']}, in {by['folder']})"
            )
    shown = "; ".join(told[:4]) + (f"; and {len(told) - 4} more" if len(told) > 4 else "")
    return (
        f"{printable(shown) or 'all are taken'}. To share the machine otherwise set leases.cpus or leases.per_gpu, "
        f"or HARNESS_LEASES to another folder than {folder}"
    )
