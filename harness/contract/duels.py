"""Who wins between two runs, asked again, the other way round, and of a run against itself.

What a judge says must come from the outputs alone. So two finished smoke runs are compared once where they lie and
once as copies under names that tell nothing, then swapped, when each win must become a loss, and each with itself, when
all is a tie.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from harness.contract.bench import Bench
from harness.papers.reduction import by_item
from harness.runs.files import write_json
from harness.runs.run import open_run
from harness.verdicts.versus import TIE, asked

ROUNDING = 1e-9
Said = Mapping[str, Mapping[str, float]]  # metric -> id -> who wins


def fairly(bench: Bench, finished: Sequence[str]) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the name of each check on two methods of which a claim says that one wins, and the look that makes it."""
    contrasts = [c for claim in bench.plugin.paper.claims for c in (claim.contrast, claim.control) if c]
    for one, other in dict.fromkeys((c.method, c.than) for c in contrasts if c.kind == "wins"):
        if {one, other} <= set(finished):
            look = functools.partial(_unfair, bench, one, other)
            yield f"{one} over {other}: a win is a win from either side, and none against itself", look


def _unfair(bench: Bench, one: str, other: str) -> str:
    """Compare in a confined process what `versus` says of two runs; return what to change, or ""."""
    specs = [bench.spec(name, "first") for name in (one, other)]
    outputs = [spec.folder / "output" for spec in specs]
    room = bench.folder / "results" / "versus"
    shutil.rmtree(room, ignore_errors=True)
    copies = [shutil.copytree(folder, room / name) for folder, name in zip(outputs, "ab", strict=True)]
    orders = {
        "first": outputs,
        "again": copies,
        "swapped": outputs[::-1],
        "self": [outputs[0], copies[0]],
        "other self": [copies[1], outputs[1]],
    }

    def act() -> None:
        task = open_run(specs[0], bench.plugin).task
        found = {name: _wins(bench, task, *pair) for name, pair in orders.items()}
        write_json(room / "said.json", found)

    seen = bench.confined(act)
    if seen.error or seen.exit_code:
        return f"fix what ended versus ({seen.error or seen.exit_code})"
    return unfair(json.loads((room / "said.json").read_text(encoding="utf-8")))


def _wins(bench: Bench, task: object, one: Path, other: Path) -> Said:
    found = asked(bench.plugin, task, one, other)
    return {
        name: dict(zip(items.ids, by_item(items.columns["wins"]).tolist(), strict=True))
        for name, items in found.items()
    }


def unfair(said: Mapping[str, Said]) -> str:
    """Say which win is none: `said` has what was answered at "first", "again", "swapped" and of each run's "self"."""
    if said["again"] != said["first"]:
        return "the same two runs win otherwise as copies: let versus go by what outputs say, not by names or chance"
    for metric, wins in said["first"].items():
        back = said["swapped"][metric]
        if back.keys() != wins.keys():
            return f"{metric} has other items with the two runs swapped: compare the items that both have"
        for key, win in wins.items():
            if abs(win + back[key] - 1) > ROUNDING:
                return (
                    f"the item {key!r} of {metric} is {win:g} one way and {back[key]:g} with the two runs swapped: "
                    "judge both alike, so that the two add up to 1"
                )
        for own in (said["self"], said["other self"]):
            for key, win in own[metric].items():
                if abs(win - TIE) > ROUNDING:
                    return f"a run wins {win:g} of the item {key!r} of {metric} against itself: give a tie .5"
    return ""
