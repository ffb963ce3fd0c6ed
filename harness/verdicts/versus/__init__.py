"""Wins of one run over another, item by item: what a paper's hook `versus` says of what both runs left.

An evaluation sees its own run alone, so wins are found once both are there, when verdicts are asked for. Only the
installed plugin's code looks at the outputs. What it says is kept beside the results, by all that decides it: both runs
as they were made, and the hook's code. A file that is damaged is made again, and where none can be written the hook is
asked each time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError, said
from harness.papers.families import members, named
from harness.papers.reduction import by_item, check_groups
from harness.papers.statement import Items
from harness.runs.files import digest, tell, write_json
from harness.runs.results import Record
from harness.verdicts.stats import OVER, Cell

FOLDER = "versus"  # of a results folder
TIE = 0.5

Wins = Callable[[Record, Record], Mapping[str, Items]]


def alone(one: Record, other: Record) -> Mapping[str, Items]:
    """Give no wins: whoever judges without a plugin has nobody to ask."""
    raise HarnessError("nobody was asked which run wins: let the plugin implement versus")


@dataclass(frozen=True)
class Versus:
    """The wins of one run over another by metric, as `plugin` says and `results` keeps."""

    plugin: Any
    results: Path
    found: dict[str, dict[str, Items] | HarnessError] = field(default_factory=dict)

    def __call__(self, one: Record, other: Record) -> Mapping[str, Items]:
        """Return the wins of `one` over `other`. Raises HarnessError where there are none, with the reason."""
        key = digest([_made(one), _made(other), self.code])
        if key not in self.found:
            try:
                self.found[key] = self._kept(key, one, other)
            except HarnessError as error:
                self.found[key] = error
        wins = self.found[key]
        if isinstance(wins, HarnessError):
            raise wins
        return wins

    @cached_property
    def code(self) -> str:
        """The digest of the hook and of all that it uses."""
        from harness.runs.provenance import definitions

        return digest(definitions(self.plugin, ["versus"]))

    def _kept(self, key: str, one: Record, other: Record) -> dict[str, Items]:
        file = self.results / FOLDER / self.plugin.name / f"{key[:16]}.json"
        known = read(file, key)
        if known is not None:
            return known
        for run in (one, other):
            if not (run.folder / "output").is_dir():
                raise HarnessError(
                    f"{run.folder / 'output'} is not here: make the run again with rerun=true and keep=weights"
                )
        wins = asked(self.plugin, one.result.config["task"], one.folder / "output", other.folder / "output")
        with suppress(OSError):  # a full disk, results that may only be read: it is asked again next time
            write(file, key, wins)
        return wins


def _made(run: Record) -> list[Any]:
    """Return what tells a run, as it was made this time, from any other."""
    result = run.result
    return [result.run_key, result.code, result.environment.get("date"), result.timings]


def asked(plugin: Any, task: Any, one: Path, other: Path) -> dict[str, Items]:
    """Ask the hook who wins between two outputs of one `task`, given as it is or as plain values.

    Raises HarnessError for a hook that is missing, fails, or returns no wins.
    """
    from harness.runs.run import rebuild  # not light

    if not plugin.implements("versus"):
        raise HarnessError(f"{plugin.name} has metrics that compare two runs: implement the hook versus")
    task = rebuild(plugin.paper.task, task) if isinstance(task, Mapping) else task
    metrics = plugin.paper.metrics
    try:
        returned = plugin.hook("versus")(task=task, one=one, other=other)
        found = dict(named(metrics, returned, task))
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(f"versus raised {type(error).__name__}: {said(error)}") from error
    wanted = {name for name, metric in members(metrics, task).items() if metric.versus}
    if found.keys() != wanted:
        got = ", ".join(sorted(found)) or "nothing"
        raise HarnessError(f"versus returned {got}: return Items for {', '.join(sorted(wanted))}")
    return {name: _checked(name, items) for name, items in found.items()}


def _checked(name: str, items: Any) -> Items:
    """Return wins as plain values. Raises HarnessError for what are none."""
    if not isinstance(items, Items) or len(items.columns) != 1:
        raise HarnessError(f"versus returned no Items of one column for {name}: give the wins, item by item")
    (column,) = items.columns.values()
    check_groups(items)
    ids = [str(key) for key in items.ids]
    if not ids or len(by_item(column)) != len(ids) or len(set(ids)) < len(ids):
        raise HarnessError(
            f"versus returned {len(ids)} ids for the wins of {name}: give each item one of its own"
        )
    wins = np.asarray(column, dtype=float)
    if not ((wins >= 0) & (wins <= 1)).all():
        raise HarnessError(f"versus returned wins of {name} that are not between 0 and 1: 1, .5 for a tie, 0")
    groups = {factor: [str(group) for group in of] for factor, of in items.groups.items()}
    return Items({"wins": wins.tolist()}, ids, groups, list(items.fixed), bool(items.contiguous))


# Kept beside the results


def write(file: Path, key: str, wins: Mapping[str, Items]) -> None:
    """Keep wins under the `key` of what decides them."""
    plain = {name: asdict(items) for name, items in wins.items()}
    write_json(file, {"key": key, "digest": digest(plain), "wins": plain})


def read(file: Path, key: str) -> dict[str, Items] | None:
    """Return the wins kept under `key`; None where there are none, or not as they were written."""
    try:
        raw = json.loads(file.read_bytes())
        whole = raw["key"] == key and raw["digest"] == digest(raw["wins"])
        return {name: Items(**items) for name, items in raw["wins"].items()} if whole else None
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None


# Wins -> a cell


def cell_of(
    names: Sequence[str],
    metric: str,
    runs: Mapping[str, Mapping[int, Record]],
    single: Collection[str],
    versus: Wins,
) -> Cell:
    """Return the wins of the first of two methods over the second, by seed; a method over itself ties.

    `runs` are the finished ones of each method by seed, `single` the methods of which one run pairs with every seed.
    A seed whose runs cannot be compared is told and left out.
    """
    one, other = names[0], names[-1]
    label = OVER.join(names)
    if len(names) == 1:
        return Cell(one, metric, dict.fromkeys(runs[one], TIE), deterministic=one in single)
    seeded = [set(runs[name]) for name in names if name not in single]
    seeds = sorted(set.intersection(*seeded)) if seeded else [min(runs[one], default=0)]
    found: dict[int, Items] = {}
    absent = ""
    for seed in seeds if all(runs[name] for name in names) else ():
        pair = [next(iter(runs[n].values())) if n in single else runs[n][seed] for n in names]
        try:
            found[seed] = versus(*pair)[metric]
        except HarnessError as error:
            absent = absent or str(error)
            tell(f"{metric}: {label} with seed {seed}: {error}")
    values = {seed: float(by_item(items.columns["wins"]).mean()) for seed, items in found.items()}
    if not seeds:
        absent = f"{one} and {other} have no seed in common"
    return Cell(label, metric, values, lambda: found, not seeded, absent)
