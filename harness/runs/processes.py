"""Several processes for one run: they train side by side, and process 0 writes and evaluates.

Each finds its place in the environment, as torch and accelerate expect it. Wherever one of them could
go another way than the others (is this stage made already?), process 0 decides for all.
"""

from __future__ import annotations

import os
import socket


def places(count: int) -> list[dict[str, str]]:
    """Return what the environment of each of a run's processes must hold, on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def join(device: str) -> None:
    """Join the run's other processes: over gloo on CPUs, NCCL on GPUs."""
    from accelerate.state import PartialState

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
