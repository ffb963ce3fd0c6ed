"""The hooks a plugin implements, and what each promises.

`paper` is light; `prepare` is the only one that may use the network; `train` leaves its outcome
in `run.output_dir`; `evaluate` reads it back. A hook may take fewer arguments than listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from harness.paper import Items, Paper, Plan

if TYPE_CHECKING:
    import typer

    from harness.run import Run

hookspec = pluggy.HookspecMarker("harness")
hookimpl = pluggy.HookimplMarker("harness")


@hookspec(firstresult=True)
def paper() -> Paper:  # type: ignore[empty-body]
    """Return what the paper is: task, methods, metrics, claims and budgets. Import nothing heavy."""


@hookspec(firstresult=True)
def prepare(task: Any, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Fill `data_dir` with what every method reads.

    The only hook that may use the network. It sees neither method nor seed, so it cannot favour
    one. `data` maps each field of the paper's `Data` to its resolved `Source`; `model` is the
    resolved model source or None. Runs once per (paper, task, model, data); a killed one starts afresh.
    """


@hookspec(firstresult=True)
def train(run: Run) -> None:
    """Apply the method `run.method` to the task `run.task`; leave the outcome in `run.output_dir`."""


@hookspec(firstresult=True)
def evaluate(run: Run, split: str) -> Mapping[str, float | Items]:  # type: ignore[empty-body]
    """Measure what `train` left, on `split` ("validation" or "test"); return metrics by declared name.

    A metric that cannot exist for a method is left out, with its reason given to `run.absent`.
    """


@hookspec(firstresult=True)
def plan(run: Run) -> Plan:  # type: ignore[empty-body]
    """Price the run without running it: parameters from the meta device, the rest by formula. Optional."""


@hookspec(firstresult=True)
def training_step(run: Run, device: str) -> None:
    """Do one whole training step of `run.method` on `device` ("meta" in the contract kit).

    Optional: random inputs of the task's shapes, forward, loss, backward, optimiser. Lets the kit
    prove that no tensor stays behind on another device.
    """


@hookspec(firstresult=True)
def scramble(task: Any, data_dir: Path, seed: int) -> None:
    """Cut in `data_dir` what ties inputs to answers: shuffle the labels, pair the texts anew. Optional.

    The contract kit trains and judges on data scrambled so at budget=smoke; each metric in the paper's
    `chance` must then lie between its bounds. One that stays good has seen answers it should not.
    """


@hookspec(firstresult=True)
def tools(app: typer.Typer) -> None:
    """Add the paper's own commands to `harness <paper>`. Optional."""
