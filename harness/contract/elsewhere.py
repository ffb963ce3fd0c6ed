"""Is a run on another device the run on the CPU? Asked of a device that is not there (`harness.contract.pretend`).

A smoke run is made once more, prepared, trained and evaluated on it, and its curves, items and metrics are held
against the CPU's. What a training step copies between host and device is counted as it goes. What the pretend device
cannot do is no fault of the plugin: then nothing is said, but that it was not tried.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract.bench import Altered, Bench
from harness.data.jsonl import read_json
from harness.runs.files import write_json
from harness.runs.results import Result, read_curves, read_items, read_result
from harness.runs.run import execute

CLOSE = 1e-5  # of the largest value of its kind, or of one; kernels that sum in another order differ by less
TURN = "elsewhere"


@dataclass(frozen=True)
class Found:
    """What a run on the pretend device showed; `untried` says why it could not be made there."""

    finished: bool = False
    untried: str = ""
    differs: str = ""
    copies: str = ""
    told: str = ""  # copies that may be right as they are


def on_another_device(bench: Bench, method: str, first: Result) -> Found:
    """Make the smoke run of `method` on the pretend device, and hold it against its `first`, on the CPU."""
    spec = dataclasses.replace(bench.spec(method, TURN), device="pretend")
    file = bench.folder / "results" / TURN / f"{method}.json"
    package = os.path.dirname(str(bench.plugin.module.__file__))

    def act() -> None:
        from harness.contract import pretend

        device = pretend.install(package)
        try:
            execute(spec, Altered(bench.plugin, train=_counting(bench.plugin, device)))
        finally:
            copies = [[*dataclasses.astuple(one), count] for one, count in device.copies.items()]
            write_json(file, {"copies": copies, "steps": device.steps, "refusal": device.refusal})

    seen = bench.confined(act)
    result = read_result(spec.folder)
    if result is None or seen.error:
        return Found(untried=seen.error or f"its process ended with exit code {seen.exit_code}")
    told = read_json(file)
    if result.status != "finished":
        error: dict[str, Any] = result.error or {}
        refusal = told["refusal"]
        return Found(differs=refusal) if refusal else Found(untried=f"{error['type']}: {error['message']}")
    here = dataclasses.replace(spec, device="cpu", results=bench.folder / "results" / "first")
    said = differing(here.folder, spec.folder, first, result)
    return Found(True, "", said, *waited(**told))


def _counting(plugin: Any, device: Any) -> Any:
    """Return the plugin's `train`, during whose steps copies between host and device are counted."""

    def train(run: Any) -> None:
        from harness.fit import loop

        accumulate = loop._accumulate

        def counted(*args: Any) -> Any:
            with device.step():
                return accumulate(*args)

        device.apart = loop.__file__
        vars(loop)["_accumulate"] = counted
        try:
            plugin.hook("train")(run=run)
        finally:
            vars(loop)["_accumulate"] = accumulate

    return train


def waited(copies: list[list[Any]], steps: int, **_: Any) -> tuple[str, str]:
    """Return what to change about the copies of training steps, and what may be right as it is.

    What was copied once in several steps, as a table that is kept, is in no step's way.
    """
    again = [one for one in copies if one[4] > 1 or steps == 1]
    own = [one for one in again if one[3] == "own"]
    others = [one for one in again if one[3] != "own"]

    def said(some: list[list[Any]], then: str) -> str:
        if not some:
            return ""
        at, line, what, whose, count = max(some, key=lambda one: one[4])
        by = f", in {whose}" if whose not in ("own", "sampling") else ""
        more = (
            f", and {len(some) - 1} more such lines"
            if len(some) > 2
            else ", and one more"
            if some[1:]
            else ""
        )
        return f"{at}{what} {count} times in training steps{by} (`{line}`){more}: {then}"

    return (
        said(own, "keep numbers on the device until the look (log_every), and make constants there"),
        said(others, "a GPU waits for each; right where a step samples or judges, or a library looks"),
    )


def differing(here: Path, there: Path, first: Result, other: Result) -> str:
    """Say what a run gave otherwise on another device: a point of its curves, an item, or a metric without items."""
    for what, one, two in _pairs(here, there, first, other):
        import numpy as np

        a, b = (np.asarray(side, dtype=float) for side in (one, two))
        if a.shape != b.shape:
            return f"{what}: {a.size} values on the CPU and {b.size} on another device"
        scale = float(np.abs(a[np.isfinite(a)]).max(initial=1.0))
        off = np.abs(a - b)
        off[~np.isfinite(a) & ~np.isfinite(b)] = 0.0
        if off.size and float(off.max()) > CLOSE * scale:
            at = int(off.argmax())
            return f"{what} is {b.flat[at]:.7g} on another device and {a.flat[at]:.7g} on the CPU"
    return ""


def _pairs(here: Path, there: Path, first: Result, other: Result) -> Iterator[tuple[str, Any, Any]]:
    points: list[dict[str, list[float]]] = [{}, {}]
    for found, folder in zip(points, (here, there), strict=True):
        for row in read_curves(folder):
            for name, value in row.items():
                found.setdefault(name, []).append(float("nan") if value is None else value)
    for name in sorted(points[0].keys() | points[1].keys()):
        yield f"the curve {name}", points[0].get(name, []), points[1].get(name, [])
    items = read_items(here), read_items(there)
    for metric in sorted(items[0].keys() | items[1].keys()):
        one, two = (found.get(metric) for found in items)
        columns = one or two
        assert columns is not None
        for name in columns.columns:
            sides = ((side.columns[name] if side else []) for side in (one, two))
            yield f"{name} of {metric}", *sides
    for metric in sorted(first.metrics.keys() | other.metrics.keys()):
        if metric not in items[0]:
            sides = (([found.metrics[metric]] if metric in found.metrics else []) for found in (first, other))
            yield metric, *sides
