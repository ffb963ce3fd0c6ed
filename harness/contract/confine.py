"""Do something in a process of its own, and see what it reaches for: files elsewhere, sockets beyond this machine.

A fork gets an empty working folder, home and folder for temporary files, and an audit hook, which Python
calls before a file is opened for writing and before a socket is used. What leads beyond this machine is
refused. Files that native code writes, without Python's knowledge, are seen where they were left.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRITES = {"os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.rename", "os.link", "os.symlink"}
SOCKETS = {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Seen:
    """What a confined process did: files elsewhere, addresses beyond this machine, its error, how it ended."""

    files: tuple[str, ...]
    addresses: tuple[str, ...]
    error: str  # "" where it raised nothing
    exit_code: int  # minus the signal's number where one ended it
    seconds: float  # of processor time


def confined(act: Callable[[], object], own: Path, room: Path) -> Seen:
    """Call `act` in a fork that may write under `own`; `room` becomes its empty working folder, home and so on."""
    places = {name: room / name for name in ("working", "home", "temporary")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    (places["home"] / ".cache").mkdir(exist_ok=True)
    journal = room / "journal.jsonl"
    journal.touch()
    process = multiprocessing.get_context("fork").Process(target=_child, args=(act, own, room, places))
    process.start()
    process.join()
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    told: dict[str, list[str]] = {kind: [] for kind in ("file", "address", "error", "seconds")}
    for line in lines:
        told[line["kind"]].append(line["what"])
    left = [path.name for place in places.values() for path in place.iterdir() if path.name != ".cache"]
    return Seen(
        tuple(dict.fromkeys([*told["file"], *left])),
        tuple(dict.fromkeys(told["address"])),
        " ".join(told["error"]),
        process.exitcode or 0,
        float(told["seconds"][-1]) if told["seconds"] else 0.0,
    )


def _child(act: Callable[[], object], own: Path, room: Path, places: dict[str, Path]) -> None:
    from harness.runs.isolate import die_with_parent, quiet_libraries, quiet_threads

    die_with_parent()
    cache, standard = (
        own / "cache",
        Path.home() / ".cache",
    )  # what one run compiles the next one finds, as at home
    os.chdir(places["working"])
    os.environ.update(HOME=str(places["home"]), TMPDIR=str(places["temporary"]), HF_HUB_OFFLINE="1")
    os.environ.update(XDG_CACHE_HOME=str(cache), MPLCONFIGDIR=str(cache), TORCHINDUCTOR_CACHE_DIR=str(cache))
    tempfile.tempdir = None
    sys.dont_write_bytecode = True
    quiet_threads()
    quiet_libraries()
    log = (room / "log.txt").open("a", buffering=1, encoding="utf-8")
    sys.stdout = sys.stderr = log
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    journal = (room / "journal.jsonl").open("a", buffering=1, encoding="utf-8")

    def note(kind: str, what: object) -> None:
        journal.write(json.dumps({"kind": kind, "what": what}) + "\n")

    allowed = [os.path.realpath(path) for path in (own, room, standard, "/dev", "/proc")]
    sys.addaudithook(_watch(note, allowed))
    try:
        act()
    except BaseException as error:
        note("error", f"{type(error).__name__}: {' '.join(str(error).split())}")
    note("seconds", time.process_time())


def _watch(note: Callable[[str, object], None], allowed: list[str]) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that notes writes outside `allowed`, and notes and refuses far addresses."""
    near = {"", "localhost", "::1", socket.gethostname()}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in SOCKETS:
            address = _address(event, arguments)
            everywhere = event == "socket.bind" and address == ""
            if everywhere or (address is not None and address not in near and not address.startswith("127.")):
                note("address", address or "every interface")
                raise PermissionError(f"a smoke run may not reach {address or 'every interface'}")
        for path in _written(event, arguments):
            real = os.path.realpath(os.fsdecode(path))
            if not any(real == place or real.startswith(place + os.sep) for place in allowed):
                note("file", real)

    return hook


def _address(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Return the host that a socket's event is about; None for sockets that have none."""
    host: Any = arguments[0]
    if event in ("socket.connect", "socket.bind", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    return host if isinstance(host, str) else None


def _written(event: str, arguments: tuple[Any, ...]) -> list[Any]:
    """Return the paths that an event is about to create, change or remove."""
    if event == "open":
        path, mode, flags = arguments
        writes = any(c in mode for c in "wax+") if isinstance(mode, str) else bool((flags or 0) & CHANGES)
        paths = [path] if writes else []
    elif event in WRITES:
        if any(isinstance(value, int) and value >= 0 for value in arguments[1:] if event != "os.mkdir"):
            return []  # relative to an open folder, whose own opening was looked at
        paths = list(arguments[:2]) if event == "os.rename" else [arguments[0]]
        if event in ("os.link", "os.symlink"):
            paths = [arguments[1]]
    else:
        return []
    return [path for path in paths if isinstance(path, str | bytes | os.PathLike)]
