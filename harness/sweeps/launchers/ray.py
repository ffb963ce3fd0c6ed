"""Hydra's launcher for a Ray cluster: each job is a task, which Ray places on a node that has what it asks for.

Ray does what is a cluster's: it gives out cores and GPUs, and begins a task again on another node when its own goes.
The run then goes on from its checkpoint, as all nodes share the results folder. Whether each of them does is asked
of it before the first job.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from harness.errors import HarnessError, UsageError, masked, said
from harness.papers.statement import setting
from harness.sweeps import inside
from harness.sweeps.config import checked, first_line
from harness.sweeps.launchers import OurLauncher

PATIENCE = 120.0  # seconds for a node's first answer: its Python and Ray have to start
REACH = 5.0  # seconds until nobody listens at an address


class Lost(BrokenExecutor):
    """What a launcher hands runs to lost some: a node went, or a job was cancelled; its message says which."""


@dataclass
class Asked:
    """What a sweep asks of a cluster: where it is, what a run gets of a node, how often a lost one is begun again."""

    address: str = ""
    num_cpus: float = setting(1.0, "cores of a run", least=0)
    num_gpus: float = setting(0.0, "GPUs of a run", least=0)
    retries: int = setting(3, "times that a run is begun again whose node went", least=0)


@dataclass(frozen=True)
class Shared:
    """What a node must see as the driver does: the sweep's lock, in the results folder as it was typed."""

    folder: str  # where the command was typed
    results: str
    sweep: str

    def refuse_strangers(self) -> None:
        """Raise HarnessError on a node that does not share the results folder."""
        with contextlib.suppress(OSError):  # then an address that is whole still leads there
            os.chdir(self.folder)
        results = Path(self.results).expanduser().resolve()
        with contextlib.suppress(OSError):
            os.listdir(results / "sweeps")  # asks a network file system anew
        if not (results / "sweeps" / f"{self.sweep}.lock").exists():
            raise HarnessError(
                f"the node {socket.gethostname()} does not share the results folder {results}: mount it there too, "
                "or give results= a folder that all nodes share"
            )


class RayLauncher(OurLauncher):
    """Launches the jobs of a sweep as tasks of a Ray cluster."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        """Return what each job returned, when all are over.

        Raises HarnessError where the cluster cannot be used, Lost where runs went with their nodes.
        """
        from hydra.core.singleton import Singleton

        asked = checked(Asked, OmegaConf.create(self.asked), "hydra.launcher")
        shared = Shared(os.getcwd(), self.config.results, self.config.sweep)
        with joined(asked.address) as ray:
            _look_around(ray, asked, shared)
            task = ray.remote(num_cpus=asked.num_cpus, num_gpus=asked.num_gpus, max_retries=asked.retries)(
                job
            )
            state = Singleton.get_state()
            going = [
                task.remote(shared, number, list(words), self.context, self.config, self.task, state)
                for number, words in enumerate(job_overrides, initial_job_idx)
            ]
            returned, lost = [], []
            for one in going:
                try:
                    returned.append(ray.get(one))
                except ray.exceptions.RayError as error:
                    lost.append(_why(error))
        if lost:
            raise Lost("; ".join(dict.fromkeys(lost)))
        return returned


def job(shared: Shared, *parts: Any) -> Any:
    """Make one job's run on the node that Ray chose: what Ray gave out is this run's, so nothing is leased."""
    shared.refuse_strangers()
    os.environ["HARNESS_LEASES"] = "off"
    return inside.execute_job(*parts)


@contextlib.contextmanager
def joined(address: str) -> Iterator[Any]:
    """Give `ray`, joined to the cluster at an address, or at RAY_ADDRESS.

    Raises HarnessError, in one sentence, where this cannot be.
    """
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            f"hydra/launcher=ray needs Ray ({error}): pip install 'paper-harness[ray]'"
        ) from error
    address = address or os.environ.get("RAY_ADDRESS", "")
    if not address:
        raise UsageError(
            "hydra/launcher=ray was given no cluster: add hydra.launcher.address=host:port, or auto on one of its nodes"
        )
    if address != "auto":
        _refuse_silence(address)
    main = threading.current_thread() is threading.main_thread()
    asked_to_end = signal.getsignal(signal.SIGTERM)
    try:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:
            versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", str(error))
            if len(versions) == 2:
                theirs, ours = (f"Ray {one} on Python {two}" for one, two in versions)
                raise HarnessError(
                    f"the cluster at {masked(address)} runs {theirs}, this machine {ours}: install the same version"
                ) from error
            raise HarnessError(
                f"no Ray cluster can be joined at {masked(address)} ({said(error)[:300]}): run `ray start --head` "
                "there and, here, the `ray start --address=...` that it prints"
            ) from error
        finally:
            if main:  # Ray puts its own in this place
                signal.signal(signal.SIGTERM, asked_to_end)
        yield ray
    finally:
        ray.shutdown()


def _refuse_silence(address: str) -> None:
    """Raise HarnessError where nobody listens at `host:port`: Ray would try for a minute, and end this process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        raise UsageError(f"hydra.launcher.address={masked(address)} is no address: give host:port, or auto")
    try:
        socket.create_connection((host, int(port)), REACH).close()
    except OSError as error:
        raise HarnessError(
            f"no Ray cluster answers at {masked(address)} ({error.strerror or error}): start it there "
            "(`ray start --head`), or give hydra.launcher.address= the address of one"
        ) from error


def _look_around(ray: Any, asked: Asked, shared: Shared) -> None:
    """Ask each node that can take a run whether it shares the results folder; one that dies meanwhile takes none.

    Says so where none can: a cluster that grows may have one later. Raises HarnessError.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def has(node: dict[str, Any], name: str) -> float:
        return float(node["Resources"].get(name, 0))

    nodes = [node for node in ray.nodes() if node["Alive"]]
    able = [n for n in nodes if has(n, "CPU") >= asked.num_cpus and has(n, "GPU") >= asked.num_gpus]
    if not able:
        most = max(nodes, key=lambda node: (has(node, "GPU"), has(node, "CPU")))
        print(
            f"harness: no node has what a run asks for ({asked.num_cpus:g} cores and {asked.num_gpus:g} GPUs; the "
            f"largest has {has(most, 'CPU'):g} and {has(most, 'GPU'):g}), so the runs wait for one: add a node, or ask "
            "for less with hydra.launcher.num_cpus= and hydra.launcher.num_gpus=",
            file=sys.stderr,
        )
    look = ray.remote(num_cpus=0, max_retries=0)(Shared.refuse_strangers)
    answers = [
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            shared
        )
        for node in able
    ]
    for node, answer in zip(able, answers, strict=True):
        try:
            ray.get(answer, timeout=PATIENCE)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, HarnessError):
                raise cause from error
            if not any(other["Alive"] and other["NodeID"] == node["NodeID"] for other in ray.nodes()):
                continue
            raise HarnessError(
                f"the node {node['NodeManagerHostname']} cannot make runs ({_why(error)}): install the harness and the "
                "same papers there"
            ) from error


def _why(error: Exception) -> str:
    """Return in one line what Ray says: what a task raised, or else Ray's own first words."""
    cause = getattr(error, "cause", None) or error
    return (
        said(cause)
        if isinstance(cause, HarnessError)
        else f"{type(cause).__name__}: {first_line(cause)[:300]}"
    )
