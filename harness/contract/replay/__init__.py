"""Run a drawn slice of a bundle again: the first steps of its runs, and 64 of their items.

Whoever verifies picks the seed of the draw: a maker who knew it could rebuild a bundle until it drew what is safe. A
run's first points are made again with a probability that keeps the expected steps to a `share` of its own: certainty
where its curve has points within that share. Items are asked for again where no training is needed for them: of methods
that train nothing, and of runs whose outcome the bundle holds. All of it is the installed plugin's code, on data that
were found by names which that plugin states, or which the verifier gives; never by a name of the bundle. It is done
confined (`harness.contract.confine`): without network, in an empty home, within limits of processor time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from harness.contract.confine import confined
from harness.contract.replay.comparing import compared
from harness.contract.replay.drawing import ITEMS, SHARE, Slice, by_item, draw, first_points
from harness.contract.replay.making import make, spec_of
from harness.errors import said
from harness.exchange.bundles.checking import Finding, Plugins, method_of, recomputed
from harness.exchange.bundles.sealed import SIGNATURE, Opened, Refused, opened
from harness.runs.results import Record, find_runs
from harness.sweeps.config import checked

__all__ = ["ITEMS", "SHARE", "Slice", "by_item", "draw", "first_points", "verified"]


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
        import harness.runs.served.warm  # noqa: F401  (so that each fork has it)

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
        seen = confined(lambda: make(chosen, spec, plugin, file), self.room / "results", room)
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
