"""The `harness` command from a warm process: a fork that has imported everything already, for tests that are
not about starting up. What a fork does is what a process of its own does: main() with words, folder, environment.

All its runs come from one fork server, started once, instead of one a command.
"""

import array
import json
import os
import select
import socket
import sys
import traceback
from pathlib import Path

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
)


def serve(address: str) -> None:
    """Answer commands that come over the socket at `address` until standard input closes."""
    import importlib

    from harness.runs.isolate import die_with_parent
    from harness.runs.served import begun

    die_with_parent()
    for name in WARM:
        importlib.import_module(name)
    server = begun()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            with listener.accept()[0] as asked:
                _answer(asked, server)


def _answer(asked: socket.socket, server: str) -> None:
    """Fork for one command; say its exit code."""
    message, ancillary, _, _ = asked.recvmsg(1 << 20, socket.CMSG_SPACE(8))
    files = array.array("i")
    files.frombytes(ancillary[0][2])
    while not message.endswith(b"\n"):
        message += asked.recv(1 << 20)
    child = os.fork()
    if child == 0:
        os._exit(_command(json.loads(message), list(files), server))
    for file in files:
        os.close(file)
    _, status = os.waitpid(child, 0)
    asked.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _command(request: dict, files: list[int], server: str) -> int:
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
    ask(server)
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


def command(address: Path, words: tuple[str, ...], folder: Path, environ: dict, files: list[int]) -> int:
    """Have the server at `address` run `harness <words>` with its output to `files`; return the exit code."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    core = cores[worker % len(cores)] if cores else None
    request = {"words": words, "folder": str(folder), "environ": environ, "core": core}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(str(address))
        message = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(server, [message], files)
        server.sendall(message[sent:])
        return int(server.recv(64) or b"-1")


if __name__ == "__main__":
    serve(sys.argv[1])
