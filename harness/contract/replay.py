"""Run a drawn slice of a bundle again: the first steps of its runs, and 64 of their items.

Whoever verifies picks the seed of the draw: a maker who knew it could rebuild a bundle until it drew what is safe. A
run's first points are made again with a probability that keeps the expected steps to a `share` of its own: certainty
where its curve has points within that share. Items are asked for again where no training is needed for them: of methods
that train nothing, and of runs whose outcome the bundle holds. All of it is the installed plugin's code, on data that
were found by names which that plugin states, or which the verifier gives; never by a name of the bundle. It is done
confined (`harness.contract.confine`): without network, in an empty home, within limits of processor time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from harness.contract.cheats import Watched, _digest, unseen
from harness.contract.confine import confined
from harness.errors import HarnessError, said
from harness.exchange.bundles.checking import Finding, Plugins, method_of, recomputed
from harness.exchange.bundles.sealed import SIGNATURE, Opened, Refused, opened
from harness.numbers import number
from harness.papers.families import named
from harness.papers.statement import Items
from harness.runs.files import write_json
from harness.runs.results import Record, find_runs, read_curves
from harness.runs.run import Run, execute, measure, open_run, prepared
from harness.runs.spec import Spec
from harness.sweeps.config import checked

SHARE = 0.03  # of a run's steps that are made again
ITEMS = 64
FEW = 2  # of many places that part, so many are named
MINUTES = 30.0  # of processor time for one slice
CLOSE = {"cpu": 1e-4, "cuda": 2e-2, "mps": 2e-2}  # how far numbers of one device kind may part, relative
CLOSER = 1e-6  # absolute, beside that
TIMED = ("per_second", "seconds", "memory")  # parts of names whose values are of a moment


@dataclass(frozen=True)
class Slice:
    """What is run again of a run: up to which step (0: none), which items, or all of it."""

    record: Record
    steps: int = 0
    items: frozenset[str] | None = None
    whole: bool = False


class Enough(BaseException):
    """The slice has been made; passes what catches failures."""


@dataclass
class Again:
    """Where slices of a bundle are made: the installed plugins, data by name, and what it took."""

    bundle: Opened
    plugins: Plugins
    room: Path
    cache: Path
    data: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0  # of processor time, of all slices

    def findings(self, seed: int, share: float = SHARE, whole: bool = False) -> Iterator[Finding]:
        """Yield what data and slices show: digests of what can be had, curves, items, and rows met in training."""
        records = [r for r in find_runs(self.bundle.folder) if r.result.status == "finished"]
        found: dict[tuple[str, str], Any] = {}
        for record in records:
            yield from self._sources(record, found)
        drawn = draw(records, self.plugins, seed, share, whole)
        import harness.runs.warm  # noqa: F401  (so that each fork has it)

        for chosen in drawn:
            try:
                yield from self._slice(chosen, found)
            except Exception as error:  # settings of a stranger may be any
                told = f"it cannot be run again: {type(error).__name__}: {said(error)[:200]}"
                yield Finding("again", method_of(chosen.record), False, told)
        if not drawn:
            yield Finding("again", "a slice is run again", None, "no run's curve or items can be made again")

    def _sources(self, record: Record, found: dict[tuple[str, str], Any]) -> Iterator[Finding]:
        """Find each source of a run, once a name; yield whether it is the one that the run read."""
        config = record.result.config
        names = {name: str(value) for name, value in config["data"].items() if value}
        names |= {"model": str(config["model"])} if config["model"] else {}
        plugin = self.plugins(config["paper"])
        for field, name in names.items():
            told = str(record.result.data.get(field, {}).get("digest", ""))
            if (config["paper"], f"{field} {name} {told}") in found:
                continue
            found[config["paper"], f"{field} {name} {told}"] = None
            about = f"{config['paper']}: {field} {name} is what the runs read"
            given = self.data.get(field) or (name if name in stated(plugin.paper, field) else "")
            if not given:
                said_ = f"the installed plugin does not state it: give yours, --data {field}=..."
                yield Finding("data", about, None, said_)
                continue
            try:
                source = _resolved(plugin.paper, field, given, self.cache)
            except Exception as error:
                yield Finding("data", about, None, f"it cannot be had here: {said(error)}")
                continue
            before = str(record.result.data.get(field, {}).get("revision", ""))
            if source.digest != told and source.revision != before and field not in self.data:
                other = f"here is revision {source.revision[:40] or '(none)'}, they read {before[:40] or '(none)'}"
                yield Finding("data", about, None, other)
                continue
            same = source.digest == told
            found[config["paper"], f"{field} {name} {told}"] = source if same else None
            yield Finding(
                "data",
                about,
                same,
                "" if same else f"{given} has the digest {source.digest[:12]}, the runs' is {told[:12]}",
            )

    def _slice(self, chosen: Slice, found: Mapping[tuple[str, str], Any]) -> Iterator[Finding]:
        config = chosen.record.result.config
        about = f"{method_of(chosen.record)} seed {config['seed']}"
        sources = {
            field: found.get((config["paper"], f"{field} {name} {_told(chosen.record, field)}"))
            for field, name in {**config["data"], "model": config["model"]}.items()
            if name
        }
        lacking = [field for field, source in sources.items() if source is None]
        if lacking:
            yield Finding("again", about, None, f"{', '.join(lacking)} is not here, or not what it read")
            return
        if not _here(config["device"]):
            yield Finding("again", about, None, f"there is no {config['device']} here")
            return
        plugin = self.plugins(config["paper"])
        declared = type(plugin.paper.methods[config["name"]].config)
        for cls, values, what in (
            (plugin.paper.task, config["task"], "task"),
            (declared, config["method"], "method"),
        ):
            checked(cls, OmegaConf.create(values), f"{what} of {plugin.name}")
        spec = spec_of(chosen.record, sources, self.room / "results")
        file = self.room / "told" / f"{spec.run_key[:16]}.json"
        if chosen.items is not None and (chosen.record.folder / "output").is_dir():
            shutil.copytree(chosen.record.folder / "output", spec.folder / "output", dirs_exist_ok=True)
        room = self.room / "rooms" / f"{spec.run_key[:16]}"
        seen = confined(lambda: _made(chosen, spec, plugin, file), self.room / "results", room)
        self.seconds += seen.seconds
        if seen.error or seen.exit_code or not file.is_file():
            yield Finding(
                "again",
                about,
                False,
                f"it cannot be run again: {seen.error or f'exit code {seen.exit_code}'}",
            )
            return
        made = json.loads(file.read_text(encoding="utf-8"))
        yield from compared(chosen, made, about)


def stated(paper: Any, field: str) -> set[str]:
    """Return the names of a source that a paper itself states: its default and those of its budgets."""
    overlays = [str(overlay.get("data", {}).get(field, "")) for overlay in paper.budgets.values()]
    default = paper.model if field == "model" else getattr(paper.data(), field, "")
    return {name for name in (default, *overlays) if name}


def _resolved(paper: Any, field: str, name: str, cache: Path) -> Any:
    from harness.data.sources import resolve, resolve_model

    if field == "model":
        return resolve_model(name, cache=cache)
    columns = {f.name: f.metadata.get("columns", ("text",)) for f in dataclasses.fields(paper.data)}
    return resolve(name, cache=cache, columns=columns.get(field, ("text",)))


def _told(record: Record, field: str) -> str:
    return str(record.result.data.get(field, {}).get("digest", ""))


def _here(device: str) -> bool:
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # the usual one keeps CUDA from forks
    import torch

    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return here.get(device, False)


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


# The draw


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


# What a slice makes, in a process of its own


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


def _made(chosen: Slice, spec: Spec, plugin: Any, file: Path) -> None:
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
                "items": _plain(items),
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
    return {"metrics": metrics, "items": _plain(items), "met": met, "looked": bool(inputs)}


def _plain(items: Mapping[str, Items]) -> dict[str, dict[str, list[float]]]:
    """Return by metric each item's numbers, those of several draws as their mean."""
    from harness.papers.reduction import by_item as mean

    return {
        name: {
            str(key): list(map(float, row))
            for key, *row in zip(one.ids, *map(mean, one.columns.values()), strict=True)
        }
        for name, one in items.items()
    }


def _list(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


# What is compared


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
    told_ = {name: one for name, one in _plain(record.items).items() if name in record.result.items}
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


def verified(
    path: Path,
    plugins: Plugins,
    room: Path,
    cache: Path,
    *,
    seed: int,
    share: float = SHARE,
    whole: bool = False,
    data: Mapping[str, str] | None = None,
) -> Iterator[Finding]:
    """Yield all that a verification of the bundle at `path` finds, working in the empty folder `room`.

    Raises UsageError where there is no bundle.
    """
    about = "every file is the one that the manifest tells"
    unpacked = room / "bundle"
    unpacked.mkdir(parents=True)
    try:
        bundle = opened(path, unpacked)
    except Refused as error:
        yield Finding("files", about, False, str(error))
        return
    yield Finding("files", about, True, f"digest {bundle.manifest['digest']}")
    if bundle.signed:
        yield Finding("signature", SIGNATURE, None, "it is there; sigstore or cosign say whose it is")
    lacking = False
    for finding in recomputed(bundle, plugins):
        lacking |= finding.part in ("paper", "runs", "settings") and finding.ok is False
        yield finding
    if lacking:
        yield Finding("again", "a slice is run again", None, "not before the above is settled")
        return
    yield from Again(bundle, plugins, room / "again", cache, data or {}).findings(seed, share, whole)
