"""Where a slice that was run again parts from what its bundle tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isclose
from typing import Any

from harness.contract.replay.drawing import Slice
from harness.contract.replay.making import plain
from harness.exchange.bundles.checking import Finding
from harness.numbers import number
from harness.runs.results import read_curves

FEW = 2  # of many places that part, so many are named
CLOSE = {"cpu": 1e-4, "cuda": 2e-2, "mps": 2e-2}  # how far numbers of one device kind may part, relative
CLOSER = 1e-6  # absolute, beside that
TIMED = ("per_second", "seconds", "memory")  # parts of names whose values are of a moment


def compared(chosen: Slice, made: Mapping[str, Any], about: str) -> Iterator[Finding]:
    """Yield where a slice parts from what the bundle tells of that run."""
    record = chosen.record
    close = CLOSE.get(str(record.result.config["device"]), max(CLOSE.values()))
    if chosen.steps or (chosen.whole and made["curves"]):
        last = max((row["step"] for row in made["curves"]), default=0)
        told = [row for row in read_curves(record.folder) if 0 < row["step"] <= last]
        wrong = _points_apart(told, made["curves"], close)
        yield Finding("steps", f"{about}: its curve up to step {last}", not wrong, "; ".join(wrong[:FEW]))
    if chosen.items is None and not chosen.whole:
        return
    asked = chosen.items if chosen.items is not None and not made["metrics"] else None
    told_ = {name: one for name, one in plain(record.items).items() if name in record.result.items}
    wrong = [
        f"{metric} has items in the bundle, and none here" for metric in told_.keys() - made["items"].keys()
    ]
    for metric, items in made["items"].items():
        before = told_.get(metric, {})
        expected = before.keys() if asked is None else before.keys() & asked
        for key in sorted(expected | items.keys()):
            one, other = before.get(key), items.get(key)
            if not _same(one, other, close):
                wrong.append(f"{metric} of item {key}: {_few(one)} in the bundle, {_few(other)} here")
    for metric, value in made["metrics"].items():
        stood = record.result.metrics.get(metric)
        if not _near(value, stood, close):
            wrong.append(f"{metric}: {number(stood)} in the bundle, {number(value)} here")
    size = f"{len(asked)} drawn items" if asked is not None else "all its items"
    more = f"; and {len(wrong) - FEW} more" if len(wrong) > FEW else ""
    yield Finding("items", f"{about}: {size}", not wrong, "; ".join(wrong[:FEW]) + more)
    if made.get("looked"):
        yield Finding(
            "overlap", f"{about}: training has not met its test items", not made["met"], made["met"]
        )


def _points_apart(
    told: Sequence[Mapping[str, Any]], made: Sequence[Mapping[str, Any]], close: float
) -> list[str]:
    """Return where two curves part: points that one alone has, and values beyond `close`.

    Curves of stages and of later fits are in the bundle alone.
    """
    before, now = (_points(rows) for rows in (told, made))
    names = {name for _, name in now}
    wrong = [] if now else ["no point of a curve was made here"]
    for step, name in sorted(key for key in before.keys() | now.keys() if key[1] in names):
        one, other = before.get((step, name)), now.get((step, name))
        if one is None or other is None or not _near(one, other, close):
            wrong.append(f"{name} at step {step}: {number(one)} in the bundle, {number(other)} here")
    return wrong


def _points(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], float | None]:
    return {
        (int(row["step"]), name): value
        for row in rows
        for name, value in row.items()
        if name != "step" and not any(part in name for part in TIMED)
    }


def _same(one: Sequence[float] | None, other: Sequence[float] | None, close: float) -> bool:
    if one is None or other is None or len(one) != len(other):
        return False
    return all(_near(a, b, close) for a, b in zip(one, other, strict=True))


def _near(one: float | None, other: float | None, close: float) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or isclose(one, other, rel_tol=close, abs_tol=CLOSER)


def _few(values: Sequence[float] | None) -> str:
    return "none" if values is None else ", ".join(map(number, values))
