"""What of a bundle is run again: drawn by a seed that the verifier picks, run by run."""

from __future__ import annotations

import importlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.exchange.bundles.checking import Plugins
from harness.runs.results import Record, read_curves

SHARE = 0.03  # of a run's steps that are made again
ITEMS = 64


@dataclass(frozen=True)
class Slice:
    """What is run again of a run: up to which step (0: none), which items, or all of it."""

    record: Record
    steps: int = 0
    items: frozenset[str] | None = None
    whole: bool = False


def draw(
    records: Sequence[Record], plugins: Plugins, seed: int, share: float, whole: bool = False
) -> list[Slice]:
    """Return what is run again, run by run; the same for the same seed, bundle and share. At least one slice.

    With `whole` one run, trained or not, is made again from its start to its end.
    """
    ordered = sorted(records, key=lambda record: record.result.run_key)
    slices = []
    for record in ordered:
        chance = random.Random(f"{seed}/{record.result.run_key}")
        step, likely = first_points(record, share)
        steps = step if chance.random() < likely else 0
        again = itemised(record) and chance.random() < (
            1 if by_item(plugins(record.result.config["paper"])) else share
        )
        items = drawn_items(record, chance) if again else None
        if steps or items is not None:
            slices.append(Slice(record, steps, items))
    chance = random.Random(f"{seed}")
    able = [record for record in ordered if first_points(record, share)[0] or itemised(record)]
    if not slices and able:
        record = chance.choice(able)
        step, _ = first_points(record, share)
        slices.append(Slice(record, step, None if step else drawn_items(record, chance)))
    if whole and ordered:
        one = chance.choice(ordered)
        slices = [chosen for chosen in slices if chosen.record is not one] + [Slice(one, whole=True)]
    return slices


def first_points(record: Record, share: float) -> tuple[int, float]:
    """Return up to which step a run's first points are made again, and with which probability; (0, 0) without a curve.

    That is the last point within `share` of the steps, else the first one, as seldom as makes up for it.
    """
    steps = sorted({int(row["step"]) for row in read_curves(record.folder) if row["step"] > 0})
    if not steps:
        return 0, 0.0
    within = [step for step in steps if step <= share * steps[-1]]
    return (within[-1], 1.0) if within else (steps[0], min(1.0, share * steps[-1] / steps[0]))


def itemised(record: Record) -> bool:
    """Say whether items can be asked for again: they are there, and so is what was trained, if anything was."""
    trained = bool(record.result.consumed) or bool(read_curves(record.folder))
    return bool(record.result.items) and (not trained or (record.folder / "output").is_dir())


def by_item(plugin: Any) -> bool:
    """Say whether a plugin's `evaluate` asks itself which items to answer (`run.places`)."""
    where = plugin.paper.hooks.get("evaluate")
    module = importlib.import_module(f"{plugin.module.__name__}.{where}") if where else plugin.module
    return "places" in getattr(getattr(module, "evaluate", None), "__code__", by_item.__code__).co_names


def drawn_items(record: Record, chance: random.Random) -> frozenset[str]:
    """Return the ids of 64 test items, all where there are no more."""
    ids = sorted({str(key) for items in record.items.values() for key in items.ids})
    return frozenset(chance.sample(ids, min(ITEMS, len(ids))))
