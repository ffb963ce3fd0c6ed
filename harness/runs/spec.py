"""All that decides a run, as plain values: its key, its folder and its name; it travels to the run's own process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from harness.engines.address import decides
from harness.papers.statement import setting
from harness.runs.files import digest
from harness.runs.shapes import Config

KEY_VERSION = 1
AGAIN = "again"  # where within its folder a finished run is made again
T = TypeVar("T")


@dataclass
class Fit:
    """What may differ without making another run: how a batch is cut, what is kept where, how often state is saved."""

    micro_batch: int | None = setting(None, "rows of a batch that go through the model at once", least=1)
    checkpoint_seconds: float = setting(30.0, "seconds between two checkpoints", least=0)
    checkpoint_activations: bool = setting(False, "compute activations again in the backward pass")
    shard: bool = setting(False, "share weights, gradients and optimiser out among the processes (FSDP2)")
    offload: bool = setting(False, "let shards wait in the processor's memory")


@dataclass(frozen=True)
class Spec:
    """Everything that decides a run, as plain values, and the few that do not (from `results` on)."""

    paper: str
    name: str
    method: dict[str, Any]
    declared: bool  # the method config equals the paper's declared instance
    changes: dict[str, Any]  # fields in which it does not
    task: dict[str, Any]
    data: dict[str, str]
    sources: dict[str, Any]  # field of Data -> resolved Source
    model: str
    model_source: Any  # resolved Source or None
    budget: str
    seed: int
    deterministic: bool
    baseline: bool
    device: str
    precision: str
    processes: int
    results: Path
    fit: Fit = field(default_factory=Fit)
    keep: str = "weights"
    trust_remote_code: bool = False
    objective: str = ""
    tuning: bool = False  # a point of a grid: judged on validation alone, kept apart from the runs
    tuned: dict[str, Any] = field(default_factory=dict)  # what was chosen, and every score
    sweep: str = ""
    again: bool = False  # a finished run's result stays until this one is there

    @property
    def task_digest(self) -> str:
        """What all methods of one comparison share; runs of different digests are never compared."""
        return digest(
            {
                "task": {name: decides(value) for name, value in self.task.items()},
                "model": self.model_source.digest if self.model_source else "",
                "data": {name: source.digest for name, source in sorted(self.sources.items())},
            }
        )

    @property
    def run_key(self) -> str:
        """Who this run is: 64 hex digits over all that decides it. No paths, indices or URIs.

        Any number of processes makes the same run; 1 stands for all of them, as in the keys of before.
        """
        return digest(
            {
                "version": KEY_VERSION,
                "paper": self.paper,
                "method": self.method,
                "task": self.task_digest,
                "budget": self.budget,
                "seed": self.seed,
                "precision": self.precision,
                "device": self.device,
                "processes": 1,
            }
        )

    @property
    def folder(self) -> Path:
        """Where the run lives: results/runs/<paper>/<method>/<first 16 digits of the key>."""
        kind = "tuning" if self.tuning else "runs"
        own = self.results / kind / self.paper / self.name / self.run_key[:16]
        return own / AGAIN if self.again else own

    @property
    def title(self) -> str:
        """How the run is called in tables and progress bars."""
        changes = ", ".join(f"{key}={value}" for key, value in self.changes.items())
        return f"{self.paper}/{self.name}{f' ({changes})' if changes else ''} seed {self.seed}"

    def config(self) -> dict[str, Any]:
        """Return what `result.json` says of the run's settings."""
        return {name: getattr(self, CALLED.get(name, name)) for name in Config.__annotations__}


CALLED = {"method_declared": "declared", "method_changes": "changes"}  # by other names in a result


def filled(cls: type[T], *froms: Any, **own: Any) -> T:
    """Return a dataclass instance of its `own` values, and of those that one of `froms` has by the same name."""
    given = {
        f.name: getattr(source, f.name)
        for source in reversed(froms)
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
        if f.init and hasattr(source, f.name)
    }
    return cls(**{**given, **own})


def as_plain(value: Any) -> dict[str, Any]:
    """Return a dataclass instance as plain JSON values; enum members become their names."""

    def plain(item: Any) -> Any:
        if hasattr(item, "name") and hasattr(item, "value"):
            return item.name
        if isinstance(item, Mapping):
            return {k: plain(v) for k, v in item.items()}
        if isinstance(item, list | tuple):
            return [plain(v) for v in item]
        return item

    return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
