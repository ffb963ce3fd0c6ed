"""Each run in a process of its own, from a warm fork server: what a run does, it does alone.

The server imports torch and transformers once (five seconds); a run is then a fork of it, some tens of
milliseconds. Exception, sys.exit, out of memory, signal and time-out are told apart, written into
the run's folder as a typed failure, and the next run goes on.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.runs import served, threads
from harness.runs.leases import Lease
from harness.runs.locks import held
from harness.runs.processes import SERVED, end_with, join, machines, places
from harness.runs.results import LOG, PROGRESS, RESULT, Result, read_result, write_result
from harness.runs.spec import Spec

ASKED = (-signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP)  # exit codes of what was asked to end
ONE_BY_ONE = threading.Lock()  # starting a process, multiprocessing also looks at what other threads wait for


def isolated(
    spec: Spec,
    minutes: float | None = None,
    memory_gb: float | None = None,
    lease: Lease | None = None,
) -> Result:
    """Bring the run to its end in its own process or processes; return its result, whatever happened to it.

    What its `lease` asks for is added to what the run finds in its environment.
    """
    lease = lease or Lease()
    context = served.context()
    around = {**surroundings(), **lease.environ}
    ranks = [{}] if spec.processes == 1 else places(spec.processes, spec.run_key)
    leads, before = machines()[0] == 0, _written(spec.folder)
    told, tell = context.Pipe(duplex=False)
    processes = [
        context.Process(
            target=_child, args=(spec, {**around, **rank}, memory_gb, lease.names, tell), name=spec.title
        )
        for rank in ranks
    ]
    try:
        threads.go_on()
        with ONE_BY_ONE, _plain_main():
            for process in processes:
                try:
                    process.start()
                except (EOFError, ConnectionError) as error:
                    raise HarnessError(
                        f"the server that runs are forked from ended at its start ({type(error).__name__}): repeat the "
                        f"command; where it ends again, see that you may run {sys.executable}"
                    ) from error
        code, timed_out = _joined(processes, minutes)
        if code in ASKED:  # of a whole group, this process is asked too: then it is no failure of the run
            time.sleep(0.3)
        threads.go_on()
    except BaseException:  # Ctrl-C: the run goes with its caller, and on from its checkpoint next time
        _end(processes)
        threads.go_on()  # what broke because its processes were ended is no failure
        raise
    if not leads and code == 0:
        return _of_the_first_machine(spec, before)
    result = read_result(spec.folder)
    if code == 0 and result is not None and result.run_key == spec.run_key:
        return result
    if result is not None and result.status == "finished":
        return result  # it ended well and died afterwards
    last = told.recv() if told.poll() else None  # of one that could not write it down
    result = Result(spec.run_key, "failed", spec.config(), error=last or death(code, timed_out, minutes))
    result.error = {**(result.error or {}), "log": last_lines(spec.folder)}
    if not leads or held(spec.folder):
        return result  # another process goes on with it: what became of this one is not the run's end
    with contextlib.suppress(OSError):  # a full disk: the caller still learns what happened
        spec.folder.mkdir(parents=True, exist_ok=True)
        write_result(spec.folder, result)
        (spec.folder / PROGRESS).unlink(missing_ok=True)
    return result


def _written(folder: Path) -> int:
    """Return when a run's result was last written; 0 where there is none."""
    try:
        return (folder / RESULT).stat().st_mtime_ns
    except OSError:
        return 0


def _of_the_first_machine(spec: Spec, before: int) -> Result:
    """Return the result that the run's first machine writes, which evaluates while this one waits."""
    while True:
        going = held(spec.folder)  # asked first: it writes before it lets go
        if _written(spec.folder) not in (0, before) and (result := read_result(spec.folder)) is not None:
            return result
        if not going:
            error = {"type": "peer_lost", "message": "the run's first machine ended before it wrote a result"}
            return Result(spec.run_key, "failed", spec.config(), error=error)
        time.sleep(0.2)


def _joined(processes: Sequence[Any], minutes: float | None) -> tuple[int, bool]:
    """Wait for a run's processes; return the exit code that tells of the run, and whether time ran out.

    When one fails, the others end with it; when the first is done, they get a while to follow.
    """
    until = None if minutes is None else time.monotonic() + minutes * 60
    going = list(processes)
    while going:
        left = None if until is None else max(until - time.monotonic(), 0.0)
        ended = wait([*(process.sentinel for process in going), *threads.heard()], left)
        threads.go_on()
        done = [process for process in going if process.sentinel in ended]
        going = [process for process in going if process.sentinel not in ended]
        for process in done:
            _reap(process)
        first = processes[0]
        failed = next((process.exitcode for process in done if process.exitcode), 0)
        if first in done:
            wait_all = time.monotonic() + 30
            for process in going:
                _reap(process, max(wait_all - time.monotonic(), 0.0))
        if first in done or failed or not done:
            _end(going)
            return (first.exitcode or 0) if first in done else failed, not done
    return 0, False


def _end(processes: Sequence[Any]) -> None:
    for process in processes:
        if process.pid is not None:
            process.kill()
            _reap(process)


def _reap(process: Any, seconds: float | None = None) -> None:
    """Wait for a process's end, at most so long, and take down its exit code."""
    if wait([process.sentinel], seconds):
        with ONE_BY_ONE:
            process.join()


def death(code: int | None, timed_out: bool, minutes: float | None) -> dict[str, Any]:
    """Name what ended a process: time-out, signal or exit code, with the fix where there is one."""
    if timed_out:
        return {"type": "timeout", "message": f"stopped after {minutes:g} minutes: raise limits.minutes"}
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        share = _memory_share()
        hint = f"; memory in use on this machine: {share:.0%}" if name == "SIGKILL" else ""
        kind = "oom" if name == "SIGKILL" and share > 0.95 else "signal"
        return {"type": kind, "message": f"the run's process was ended by {name}{hint}"}
    return {"type": "exit", "message": f"the run's process left with exit code {code} before it was done"}


def last_lines(folder: Path, count: int = 20) -> str:
    """Return the end of a run's log, or "" where there is none."""
    try:
        return "\n".join((folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def surroundings() -> dict[str, str]:
    """Return the environment as data: what is set after the server started would not reach a run."""
    return {name: value for name, value in os.environ.items() if name != SERVED}


def start_runs_from_a_fork_server() -> None:
    """Make this process's own start method the fork server's: a run inherits it, and joblib's would fail there."""
    multiprocessing.set_start_method("forkserver", force=True)


def die_with(gone: Callable[[], bool]) -> None:
    """Kill this process as soon as `gone()` says that the one it works for is no more."""

    def watch() -> None:
        while not gone():
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def die_with_parent() -> None:
    """Kill this process when its parent process ends, however that ends."""
    parent = os.getppid()
    die_with(lambda: os.getppid() != parent)


def die_with_driver(driver: int, began: float) -> None:
    """Kill this process when the driver that began then is no more; at once where it is gone already."""
    die_with(lambda: began_at(driver) != began)


def work_for(driver: int, began: float, server: str) -> None:
    """Make this process a worker of a driver: what asks it to end asks the driver, and it ends with that one.

    Its runs are forked by the driver's server.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_driver(driver, began)
    served.ask(server)


def began_at(process: int) -> float:
    """Return when a process of this machine began, in seconds since 1970; 0 where there is none (any more)."""
    import psutil

    try:
        return float(psutil.Process(process).create_time())
    except psutil.Error:
        return 0.0


def quiet_threads() -> None:
    """Give a CPU run one thread, whatever launched it: two busy pools on two cores run 15 times slower."""
    import torch

    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    with contextlib.suppress(AttributeError, OSError):  # OpenMP was already up when the server forked
        ctypes.CDLL("libgomp.so.1").omp_set_num_threads(1)


def quiet_libraries() -> None:
    """Keep libraries' own progress bars out of logs: the harness draws its own."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _child(
    spec: Spec, environ: dict[str, str], memory_gb: float | None, leased: Sequence[str], tell: Connection
) -> None:
    """Run in the forked process: set the surroundings first, then execute; what no file can hold is told by pipe."""
    try:
        _run(spec, environ, memory_gb, leased)
    except OSError as error:
        from harness.runs.run import describe

        tell.send(describe(error))
        tell.close()
        os._exit(1)  # the log is on that disk too


def _run(spec: Spec, environ: dict[str, str], memory_gb: float | None, leased: Sequence[str]) -> None:
    from multiprocessing import parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the caller, who decides
    os.environ.clear()
    os.environ.update(environ)
    parent = parent_process()
    assert parent is not None
    end_with(os.getppid())  # the server goes with its caller, and this run with it
    die_with(lambda: not parent.is_alive())
    spec.folder.mkdir(parents=True, exist_ok=True)
    log = (spec.folder / LOG).open("a", buffering=1, encoding="utf-8")
    sys.stdout = sys.stderr = log
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    quiet_libraries()
    if spec.device == "cpu":
        quiet_threads()
        if memory_gb is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_AS, (int(memory_gb * 2**30),) * 2)
    from harness.papers.plugins import load
    from harness.runs.run import assist, execute

    rank = int(os.environ["RANK"]) if spec.processes > 1 else 0
    if spec.processes > 1:
        join(spec.device)
    if rank:
        assist(spec, load(spec.paper), rank)
        return
    result = execute(spec, load(spec.paper), leased)
    if result.error is not None:
        log.flush()
        result.error["log"] = last_lines(spec.folder)
        write_result(spec.folder, result)


@contextlib.contextmanager
def _plain_main() -> Any:
    """Keep a child from importing the program's main module anew: runs need none of it."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    main.__spec__ = None
    if file is not None:
        del main.__file__
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


def _memory_share() -> float:
    import psutil

    return psutil.virtual_memory().percent / 100
