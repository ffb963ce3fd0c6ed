"""The hooks a plugin implements, and what each promises.

`paper` is light; `prepare` is the only one that may use the network; `train` leaves its outcome
in `run.output_dir`; `evaluate` reads it back. A hook may take fewer arguments than listed. A paper that trains
nothing has no `train`, one that needs no files no `prepare`.
Their version is `harness.papers.statement.API_VERSION`; it is raised when a plugin must change.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pluggy

from harness.papers.statement import Items, Paper, Plan

if TYPE_CHECKING:
    import typer

Run: TypeAlias = Any  # a `harness.Run`, whose type this room does not know

hookspec = pluggy.HookspecMarker("harness")
hookimpl = pluggy.HookimplMarker("harness")


@hookspec(firstresult=True)
def paper() -> Paper:  # type: ignore[empty-body]
    """Return what the paper is: task, methods, metrics, claims and budgets.

    Called whenever the paper is looked at, so it only states, the same each time. The module that holds it
    imports nothing heavy: torch and the like are imported inside the hooks that use them.
    """


@hookspec(firstresult=True)
def prepare(task: Any, data: Mapping[str, Any], model: Any, data_dir: Path) -> None:
    """Fill `data_dir` with what every method reads. May be left out.

    The only hook that may use the network. It sees neither method nor seed, so it cannot favour
    one. `data` maps each field of the paper's `Data` to its resolved `Source`; `model` is the
    resolved model source or None. Runs once per (paper, task, model, data); a killed one starts afresh.
    """


@hookspec(firstresult=True)
def fits(task: Any, data: Mapping[str, Any], model: Any, method: Any) -> None:
    """Raise UsageError where `task`, `data`, `model` and `method` cannot go together. Optional.

    Called with what `prepare` will get, once for each, when a command line is composed: so a sweep that cannot work
    is refused before its first run. A hook that takes `method` is called for each method too, with its settings. It
    writes nothing and takes seconds.
    """


@hookspec(firstresult=True)
def train(run: Run) -> None:
    """Apply the method `run.method` to the task `run.task`; leave the outcome in `run.output_dir`. May be left out.

    What `prepare` made is in `run.data_dir`. A killed run comes back here with what it had written:
    `run.fit` goes on from its checkpoint, and `run.stage` keeps what several runs share. Every random
    number comes from `run.seed`. To fail, raise; one sentence that says what to do is best. A method that only
    samples or scores has no `train`: its `evaluate` takes the model that `run.base` gives.
    """


@hookspec(firstresult=True)
def evaluate(run: Run, split: str) -> Mapping[str, float | Items]:  # type: ignore[empty-body]
    """Measure what `train` left, or the model itself, on `split` ("validation" or "test"); return metrics by name.

    Where there are test items, return `Items`: the core then reduces, resamples and pairs them. A metric that
    cannot exist for a method is left out, with its reason given to `run.absent`; what is timed (speed, memory)
    goes to `run.measure`. What takes long goes through `run.each`, which a kill does not set back. It may
    ask `run.places(ids)` which items to answer: a verification draws a few.
    """


@hookspec(firstresult=True)
def versus(task: Any, one: Path, other: Path) -> Mapping[str, Items]:  # type: ignore[empty-body]
    """Say of each item whether `one` beats `other`: 1, 0, or .5 for a tie; return `Items` by metric. Optional.

    For the metrics marked `versus`, which claims of `wins` are about. `one` and `other` are the `run.output_dir` of two
    finished runs of one `task` and seed, where `evaluate` has left what is compared; between 0 and 1 lies what a judge
    gives as a chance. Called when verdicts are asked for and its answer kept beside the results, so it writes nothing,
    leaves nothing to chance, and goes by what the files say, not by what they are called. Runs that do not share their
    items are refused: raise. Read plain files alone (JSON, safetensors): results may be somebody else's.
    """


@hookspec(firstresult=True)
def plan(run: Run) -> Plan:  # type: ignore[empty-body]
    """Price the `run` without running it: parameters from the meta device, the rest by formula. Optional.

    `harness plan` calls it. Nothing has been prepared or fetched then: `run.data_dir` is empty.
    """


@hookspec(firstresult=True)
def training_step(run: Run, device: str) -> None:
    """Do one whole training step of `run.method` on `device` ("meta" in the contract kit).

    Optional: random inputs of the task's (`run.task`) shapes, forward, loss, backward, optimiser. By it the
    kit sees that no tensor stays behind, where its pretend device cannot run the method.
    """


@hookspec(firstresult=True)
def scramble(task: Any, data_dir: Path, seed: int) -> None:
    """Cut in `data_dir` what ties inputs to answers: shuffle the labels, pair the texts anew. Optional.

    `data_dir` is what `prepare` filled for this `task`; every random number comes from `seed`. The contract kit
    trains and judges on data scrambled so at budget=smoke; each metric in the paper's
    `chance` must then lie between its bounds. One that stays good has seen answers it should not.
    """


@hookspec(firstresult=True)
def tools(app: typer.Typer) -> None:
    """Add the paper's own commands to `app`, which becomes `harness <paper>`. Optional.

    Only this paper is imported for it. A command imports what is heavy inside itself.
    """
