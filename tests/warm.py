"""The `harness` command from a warm process: a fork that has imported everything already, for tests that are
not about starting up. What a fork does is what a process of its own does: main() with words, folder, environment.

All that `command` waits for run their runs from one fork server, started once, instead of one a command. What is
`Started`, to be signalled or killed, is in a session of its own and has its own server, as from a terminal; the server
is a fork of it, so that it has imported everything as well.
"""

import array
import contextlib
import functools
import gc
import importlib
import json
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing import forkserver, util
from pathlib import Path
from typing import IO

WARM = (
    *("hydra", "joblib", "hydra_plugins.hydra_joblib_launcher", "matplotlib.figure"),
    *(
        "harness.sweeps.sweep",
        "harness.reports.publish",
        "harness.commands.listing",
        "harness.reports.figures",
        "harness.runs.mirror",
    ),
    *("mlflow", "mlflow.store.tracking.sqlalchemy_store"),
    *("harness.runs.served.warm", "harness.nn", "harness.fit"),
)


def serve(address: str, text: str) -> None:
    """Answer commands that come over the socket at `address` until standard input closes.

    `text` is the built-in text, made before.
    """
    from harness.runs.isolate import die_with_parent

    die_with_parent()
    for name in WARM:
        importlib.import_module(name)
    _read_sources()
    _make_once(text)
    shared = _server()
    gc.collect()
    gc.freeze()  # or each fork would copy all of it
    going: dict[int, tuple[int, socket.socket]] = {}  # of each child by its pidfd: its pid, and who asked
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            ready, _, _ = select.select([listener, sys.stdin, *going], [], [])
            if sys.stdin in ready:
                return
            for ended in going.keys() & set(ready):
                child, asked = going.pop(ended)
                os.close(ended)
                _say(asked, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                asked.close()
            if listener in ready:
                asked = listener.accept()[0]
                child = _begun(asked, shared)
                going[os.pidfd_open(child)] = child, asked
                _say(asked, child)


def _read_sources() -> None:
    """Import the papers, and read the sources that say whether a run is stale."""
    from harness.papers.plugins import load_all
    from harness.runs.provenance import code

    for plugin in load_all():
        if plugin.paper:
            code(plugin, plugin.paper.metrics)


def _make_once(text: str) -> None:
    """Let a new local store and a folder's built-in text be copies: forty migrations, and two seconds of parsing."""
    from harness.data import python_text
    from harness.runs import mirror

    with tempfile.TemporaryDirectory(prefix="store-") as folder:
        made = Path(folder) / "mlflow.db"
        logging.disable(logging.INFO)
        mirror._make(made)
        logging.disable(logging.NOTSET)
        empty = made.read_bytes()
    mirror._make = lambda path: path.write_bytes(empty)
    python_text.write = functools.partial(shutil.copyfile, text)


def _server() -> str:
    """Start the fork server that commands share, from a child: here nothing is known of it. Return its address."""
    from harness.runs.isolate import die_with_parent
    from harness.runs.served import begun

    here, there = os.pipe()
    if os.fork() == 0:
        die_with_parent()
        os.write(there, begun().encode())
        os.close(there)
        signal.pause()
    os.close(there)
    with open(here) as said:
        return said.read()


def _say(asked: socket.socket, number: int) -> None:
    """Send a number to who asked; it may have gone."""
    with contextlib.suppress(BrokenPipeError):
        asked.sendall(number.to_bytes(4, signed=True))


def _begun(asked: socket.socket, shared: str) -> int:
    """Fork for one command; return its pid."""
    message, ancillary, _, _ = asked.recvmsg(1 << 20, socket.CMSG_SPACE(8))
    files = array.array("i")
    files.frombytes(ancillary[0][2])
    while not message.endswith(b"\n"):
        message += asked.recv(1 << 20)
    child = os.fork()
    if child == 0:
        os._exit(_command(json.loads(message), list(files), shared))
    for file in files:
        os.close(file)
    return child


def _command(request: dict, files: list[int], shared: str) -> int:
    """Become `python -m harness` with the request's words, folder and environment; return the exit code."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.path[:0] = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    if request["core"] is not None:  # a sweep fills the cores it may use: here, one
        os.sched_setaffinity(0, {request["core"]})
    for file, place in zip(files, (1, 2), strict=True):
        os.dup2(file, place)
    from harness.cli import main
    from harness.runs.isolate import die_with_parent
    from harness.runs.served import ask

    die_with_parent()
    if request["alone"]:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started this process ignores
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        util.spawnv_passfds = functools.partial(_forked, util.spawnv_passfds)
    else:
        ask(shared)
    sys.argv = ["harness", *request["words"]]
    code: object = 1
    try:
        code = main(request["words"])
    except SystemExit as leave:
        code = leave.code or 0
    except BaseException:
        traceback.print_exc()
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code)  # type: ignore[call-overload]


def _forked(spawned: Callable[..., int], path: bytes, words: list[str], files: list[int]) -> int:
    """Fork where multiprocessing would start its fork server from nothing, with all that `served/warm.py` imports."""
    if "multiprocessing.forkserver" not in words[-1]:
        return spawned(path, words, files)
    child = os.fork()
    if child:
        return child
    from harness.runs.processes import SERVED, end_with

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(int(os.environ[SERVED]))
    with contextlib.suppress(OSError):
        for file in map(int, os.listdir("/proc/self/fd")):  # what is locked is not this one's to hold
            if file > 2 and file not in files:
                os.close(file)
    forkserver._forkserver.__init__()  # knows of no server yet
    try:
        exec(words[-1])  # multiprocessing's own words: main() with where to listen
    finally:
        os._exit(1)


class Warm:
    """A warm process that answers at `address` until it is ended, or this process is gone."""

    def __init__(self, text: Path) -> None:
        self.address = Path(tempfile.mkdtemp(prefix="warm-")) / "socket"  # short: such an address has a limit
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(self.address), str(text)],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def end(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.address.parent)


class Started:
    """`harness <words>` that goes on, with its output to `out` and `err`: what a test needs of subprocess.Popen.

    `alone` is a session of its own, with a fork server of its own and every core.
    """

    def __init__(
        self,
        address: Path,
        words: tuple[str, ...],
        folder: Path,
        environ: dict,
        out: IO,
        err: IO,
        alone: bool = True,
    ) -> None:
        request = {"words": words, "folder": str(folder), "environ": environ, "alone": alone}
        request["core"] = None if alone else _core()
        self.err, self.returncode = err, None
        self.server = _reached(address)
        message = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(self.server, [message], [out.fileno(), err.fileno()])
        self.server.sendall(message[sent:])
        self.pid = self._number()

    def _number(self) -> int:
        found = self.server.recv(4, socket.MSG_WAITALL)
        return int.from_bytes(found, signed=True) if found else -1

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once there is one. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self.server], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("harness", timeout or 0)
            self.returncode = self._number()
            self.server.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit code if there is one."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kill it outright, if it goes on."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[None, str]:
        """Return what it said on standard error, once it has ended."""
        self.wait(timeout)
        self.err.seek(0)
        return None, self.err.read()


def _reached(address: Path, seconds: float = 120.0) -> socket.socket:
    """Return a connection to the warm process, once it listens: its imports take some seconds."""
    until = time.monotonic() + seconds
    while True:
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(address))
        except (FileNotFoundError, ConnectionRefusedError):
            server.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return server


def _core() -> int | None:
    """Return the core of this process of the tests."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return cores[worker % len(cores)] if cores else None


def command(address: Path, words: tuple[str, ...], folder: Path, environ: dict, out: IO, err: IO) -> int:
    """Have the server at `address` run `harness <words>`; return the exit code."""
    return Started(address, words, folder, environ, out, err, alone=False).wait()


if __name__ == "__main__":
    serve(*sys.argv[1:])
