"""Several processes for one run: they train side by side, and process 0 writes and evaluates.

Each finds its place in the environment, as torch and accelerate expect it. On several machines torchrun starts one
command a machine, and says by the same names which of them this is; each command starts its share of the processes.
Wherever one of them could go another way than the others (is this stage made already?), process 0 decides for all.
And no process of a run outlives the one it works for.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys

from harness.errors import UsageError

SERVED = "HARNESS_SERVED"  # names the process that a fork server works for
PR_SET_PDEATHSIG = 1
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # opened here: not after a fork


def end_with(parent: int) -> None:
    """Ask Linux to kill this process when the thread that started it is gone; if it is, and `parent` with it, now."""
    if _PRCTL is not None:
        _PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def machines() -> tuple[int, int]:
    """Return which of the commands of one run this is, and how many there are: (0, 1) without torchrun's RANK."""
    count = int(os.environ.get("WORLD_SIZE", 1))
    return (int(os.environ.get("RANK", 0)), count) if count > 1 else (0, 1)


def here(count: int) -> int:
    """Return how many of a run's `count` processes this command starts. Raises UsageError where that is no number."""
    commands = machines()[1]
    if int(os.environ.get("LOCAL_RANK", 0)) or int(os.environ.get("LOCAL_WORLD_SIZE", 1)) > 1:
        raise UsageError(
            "torchrun started several commands on this machine: start one (--nproc-per-node=1), it starts its "
            "processes itself"
        )
    if count % commands:
        raise UsageError(
            f"{commands} commands start this run's processes, and processes={count} is no multiple of that: "
            f"give processes={commands} or {2 * commands}, or start without torchrun (unset WORLD_SIZE)"
        )
    return count // commands


def places(count: int, run: str = "") -> list[dict[str, str]]:
    """Return what the environment of each process that this command starts for `run` must hold."""
    (command, commands), share = machines(), here(count)
    around = os.environ if commands > 1 else {}
    shared = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(share),
        "MASTER_ADDR": around.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": around.get("MASTER_PORT") or str(_free_port()),
    }
    restarts = around.get("TORCHELASTIC_RESTART_COUNT")
    if restarts is not None:  # torchrun's store serves many runs: each meets under its own name
        shared["TORCHELASTIC_RESTART_COUNT"] = f"{restarts}-{run}"
    return [{**shared, "RANK": str(command * share + i), "LOCAL_RANK": str(i)} for i in range(share)]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def join(device: str) -> None:
    """Join the run's other processes: over gloo on CPUs, NCCL on GPUs."""
    from accelerate.state import PartialState

    if device == "cuda":  # shards that wait in the processor's memory are reduced there
        import torch

        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl")
    PartialState(cpu=device == "cpu")


def part() -> None:
    """Wait until every process has trained, and go on alone: transformers saves in process 0 only.

    What follows, evaluation, is then the same in a run of one process and of many.
    """
    import torch
    from accelerate.state import PartialState

    from harness.fit.loop import forget_processes

    PartialState().wait_for_everyone()
    torch.distributed.destroy_process_group()
    forget_processes()
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)
