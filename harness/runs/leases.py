"""Who may use what on this machine: a run leases CPU slots or GPUs by file locks for as long as it goes on.

Whatever started it (joblib, submitit, two sweeps at once), no GPU takes more runs than it may and no
core more than one. The system drops a lock with its holder, so a killed run leaves nothing taken.
One at a time waits, and keeps what it has got while it waits for more: so nobody waits forever.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UsageError


@dataclass(frozen=True)
class Lease:
    """What a run may use, by name, and what its processes must find in their environment to keep to it."""

    names: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)


def places() -> Path:
    """Return the folder of this user's locks on this machine; HARNESS_LEASES names another."""
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

    Raises UsageError where there are not as many. Where no GPU can be named, nothing is held.
    """
    if device == "cuda":
        devices = gpus()
        if not devices:
            yield Lease()
            return
        if len(devices) < count:
            raise UsageError(
                f"processes={count} needs {count} GPUs and {len(devices)} are here: ask for fewer"
            )
        names = [f"{uuid}.{place}" for place in range(per_gpu) for uuid in devices]
    else:
        names = cores(cpus) if device == "cpu" else [device]
        count = min(count, len(names))  # more processes than cores take all of them
    with _held(device, names, count, who) as taken:
        devices = [name.rpartition(".")[0] for name in taken]
        environ = {}
        if device == "cuda":
            environ = {"CUDA_VISIBLE_DEVICES": ",".join(devices), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        yield Lease(tuple(taken), environ)


@contextlib.contextmanager
def _held(kind: str, names: Sequence[str], count: int, who: str) -> Iterator[list[str]]:
    """Hold `count` of the locks called `names`, no two of one device; one process at a time waits."""
    import filelock

    folder = places()
    folder.mkdir(parents=True, exist_ok=True)
    began, told = time.monotonic(), False
    with contextlib.ExitStack() as held:
        taken: dict[str, str] = {}  # device -> lock
        with filelock.FileLock(folder / f"{kind}.queue"):
            while True:
                for name in names:
                    device = name.rpartition(".")[0] or name
                    if device in taken or len(taken) == count:
                        continue
                    with contextlib.suppress(filelock.Timeout):
                        lock = filelock.FileLock(
                            folder / f"{name.replace('/', '_')}.lock", thread_local=False
                        )
                        held.enter_context(lock.acquire(timeout=0))
                        taken[device] = name
                if len(taken) == count:
                    break
                if not told and time.monotonic() - began > 10:
                    print(f"harness: {who} waits for a free device ({folder})", file=sys.stderr)
                    told = True
                time.sleep(0.1)
        yield list(taken.values())
