"""A slice of a run, made in a process of its own: its first points, and its items or some of them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.contract.cheats import Watched, _digest, unseen
from harness.contract.replay.drawing import Slice, by_item
from harness.errors import HarnessError
from harness.papers.families import named
from harness.papers.statement import Items
from harness.runs.files import write_json
from harness.runs.results import Record, read_curves
from harness.runs.run import Run, execute, measure, open_run, prepared
from harness.runs.spec import Spec

MINUTES = 30.0  # of processor time for one slice


class Enough(BaseException):
    """The slice has been made; passes what catches failures."""


def spec_of(record: Record, sources: Mapping[str, Any], results: Path) -> Spec:
    """Return what makes a run again, its results under `results`."""
    config = record.result.config
    read = dict(sources)
    model = read.pop("model", None)
    shared = {
        name: config[name] for name in ("paper", "name", "method", "task", "data", "model", "budget", "seed")
    }
    more = {name: config[name] for name in ("deterministic", "baseline", "device", "precision")}
    return Spec(
        **shared,
        **more,
        declared=config["method_declared"],
        changes=config["method_changes"],
        sources=read,
        model_source=model,
        processes=1,
        results=results,
    )


def _limit(device: str) -> None:
    """Let settings of a stranger take no more than some processor time and this machine's memory."""
    import resource

    import psutil

    seconds, memory = (
        int(MINUTES * 60),
        max(psutil.virtual_memory().total, 2**35),
    )  # torch maps much it never fills
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    if device == "cpu":
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def make(chosen: Slice, spec: Spec, plugin: Any, file: Path) -> None:
    """Make a slice and leave in `file` what came of it."""
    _limit(spec.device)
    if chosen.whole:
        result = execute(spec, plugin)
        if result.error:
            raise HarnessError(str(result.error["message"]))
        items = Record(spec.folder, result).items
        write_json(
            file,
            {
                "curves": read_curves(spec.folder),
                "metrics": result.metrics,
                "items": plain(items),
                "met": "",
            },
        )
        return
    run = open_run(spec, plugin)
    run.output_dir.mkdir(parents=True, exist_ok=True)
    run.data_dir = prepared(spec, plugin, run)
    rows: set[str] = set()
    curves = _first(run, plugin, chosen.steps, rows) if chosen.steps else []
    told = {"curves": curves, "metrics": {}, "items": {}, "met": ""}
    if chosen.items is not None:
        told |= _answered(chosen, spec, plugin, run, rows)
    write_json(file, told)


def _first(run: Run, plugin: Any, steps: int, rows: set[str]) -> list[dict[str, Any]]:
    """Train up to a step, and return the points of the curves; `rows` gets the digests of what was trained on."""
    curves: list[dict[str, Any]] = []

    def log(step: int, **values: float) -> None:
        if run.sharing:  # a stage's: only the run that made it has told of it
            return
        if step <= steps:
            curves.append({"step": step, **values})
        if step >= steps:
            raise Enough

    def told(batch: Mapping[str, Any]) -> None:
        tensors = [tensor.detach().cpu() for tensor in batch.values() if hasattr(tensor, "detach")]
        rows.update(_digest(tensor[row]) for tensor in tensors if tensor.dim() for row in range(len(tensor)))

    fit, output = run.fit, run.output_dir
    run.log = log  # type: ignore[method-assign]
    run.fit = lambda model, batches, *rest, **options: fit(  # type: ignore[method-assign]
        model, batches if run.sharing else Watched(batches, told), *rest, **options
    )
    run.output_dir = run.folder / "begun"
    run.output_dir.mkdir(exist_ok=True)
    with contextlib.suppress(Enough):
        plugin.hook("train")(run=run)
    run.output_dir = output
    return curves


def _answered(chosen: Slice, spec: Spec, plugin: Any, run: Run, rows: set[str]) -> dict[str, Any]:
    """Evaluate again: the drawn items where the plugin asks for them, else all, and the metrics too."""
    if not (chosen.record.folder / "output").is_dir():
        plugin.hook("train")(run=run)
    run.drawn = chosen.items if by_item(plugin) else None
    if run.drawn is None:
        metrics, items = measure(plugin, run, "test")
    else:
        returned = named(plugin.paper.metrics, plugin.hook("evaluate")(run=run, split="test"), run.task)
        metrics, items = {}, {name: value for name, value in returned if isinstance(value, Items)}
    file = spec.folder / "rows.json"
    write_json(file, sorted(rows))
    inputs = {
        name: dict(zip(map(str, one.ids), map(_list, one.inputs), strict=True))
        for name, one in items.items()
        if len(one.inputs)
    }
    met = next((found for one in inputs.values() if (found := unseen(run.data_dir, file, one))), "")
    return {"metrics": metrics, "items": plain(items), "met": met, "looked": bool(inputs)}


def _list(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def plain(items: Mapping[str, Items]) -> dict[str, dict[str, list[float]]]:
    """Return by metric each item's numbers, those of several draws as their mean."""
    from harness.papers.reduction import by_item as mean

    return {
        name: {
            str(key): list(map(float, row))
            for key, *row in zip(one.ids, *map(mean, one.columns.values()), strict=True)
        }
        for name, one in items.items()
    }
