"""The server that runs are forked from: one a sweep, started by its driver and asked by all of its workers here.

It imports torch and transformers once (`warm`), which takes some seconds of a processor. What multiprocessing keeps
of its fork server is not public: checked with Python 3.11 to 3.13; under a newer one each worker starts its own.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from typing import Any

from harness.runs.processes import SERVED

PRELOAD = ["harness.runs.served.warm"]  # what the server imports before its first run


def context() -> ForkServerContext:
    """Return where this process's runs start, from its own server or the one that it was told to ask."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(PRELOAD)
    os.environ[SERVED] = str(os.getpid())
    return found


def begun() -> str:
    """Start this process's server; return the address at which others may `ask` it, or "" where none may."""
    context()
    server: Any = forkserver._forkserver
    server.ensure_running()
    return server._forkserver_address if sys.version_info < (3, 14) else ""


def ask(address: str) -> None:
    """Let this process's runs be forked by the server at `address`, as long as it answers; "" changes nothing."""
    if address:
        forkserver._forkserver = server = _Theirs(address)  # type: ignore[attr-defined]
        forkserver.connect_to_new_process = server.connect_to_new_process
        forkserver.set_forkserver_preload = server.set_forkserver_preload


class _Theirs(forkserver.ForkServer):
    """Another process's server; where that one is gone, one of this process's own."""

    _forkserver_address: str | None
    _forkserver_alive_fd: int | None

    def __init__(self, address: str) -> None:
        super().__init__()
        self.theirs = True
        self._forkserver_address = address
        # What keeps a server alive is its starter's: a run is handed an empty file in its place.
        self._forkserver_alive_fd = os.open(os.devnull, os.O_RDONLY)

    def ensure_running(self) -> None:
        if self.theirs:
            resource_tracker.ensure_running()
        else:
            super().ensure_running()

    def connect_to_new_process(self, fds: Sequence[int]) -> tuple[int, int]:
        try:
            return super().connect_to_new_process(fds)
        except (ConnectionRefusedError, FileNotFoundError):
            if not self.theirs:
                raise
            self.theirs = False
            return super().connect_to_new_process(fds)
