"""Where the contract's smoke runs are made: confined, a results folder a round, with some hooks replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.contract.confine import Seen, confined
from harness.runs.provenance import code
from harness.runs.results import Result, read_result
from harness.runs.run import execute
from harness.runs.spec import Spec


class Altered:
    """A plugin with some of its hooks replaced by functions of the same arguments."""

    def __init__(self, plugin: Any, **hooks: Callable[..., Any]) -> None:
        self.plugin, self.hooks = plugin, hooks

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plugin, name)

    def hook(self, name: str) -> Any:
        """Return the replaced hook, or the plugin's own."""
        return self.hooks.get(name) or self.plugin.hook(name)


class Bench:
    """Where the checks do their runs: a results folder a round, and what all of them were seen to do."""

    def __init__(self, plugin: Any, folder: Path) -> None:
        import harness.runs.served.warm  # noqa: F401  (every run is a fork: what all need is imported and read once)

        self.plugin, self.folder = plugin, folder
        self.seen: list[Seen] = []
        self.composed: dict[str, Spec] = {}
        with contextlib.suppress(Exception):  # what is wrong with its sources is told by the run
            code(plugin, plugin.paper.metrics)

    def confined(self, act: Callable[[], object]) -> Seen:
        """Do something of the plugin's in a confined process, and remember what it was seen to do."""
        room = self.folder / "rooms" / str(len(self.seen))
        self.seen.append(confined(act, self.folder / "results", room))
        return self.seen[-1]

    def spec(self, method: str, turn: str, seed: int = 0) -> Spec:
        """Return the spec of a smoke run whose results belong to the round `turn`; all share fetched sources."""
        results = self.folder / "results" / turn
        shared = self.folder / "results" / "sources"
        shared.mkdir(parents=True, exist_ok=True)
        if not (results / "stages").exists():
            (results / "stages").mkdir(parents=True)
            (results / "stages" / "sources").symlink_to(shared)
        if method not in self.composed:
            self.composed[method] = smoke_spec(self.plugin, method, results)
        spec = self.composed[method]
        return replace(spec, results=results, seed=0 if spec.deterministic else seed)

    def run(self, method: str, turn: str, seed: int = 0, plugin: Any = None) -> tuple[Result | None, Seen]:
        """Bring a smoke run to its end; return its result, None where its process died before."""
        spec = self.spec(method, turn, seed)
        seen = self.confined(lambda: execute(spec, plugin or self.plugin))
        return read_result(spec.folder), seen

    def prepared(self, spec: Spec) -> Path:
        """Return the one folder that `prepare` filled for the runs of a round."""
        (folder,) = (spec.results / "stages").glob(f"{spec.paper}-data-*[0-9a-f]")
        return folder

    def watched(self, method: str) -> Path:
        """Return the file that says what the first training of a method consumed."""
        return self.folder / "results" / "consumed" / f"{method}.json"


def smoke_spec(
    plugin: Any, method: str, results: Path, seed: int = 0, given: Mapping[str, str] | None = None
) -> Spec:
    """Return the spec of a smoke run of `method` on one CPU thread, with its results under `results`."""
    from harness.sweeps.compose import compose_one

    words = {"method": f"{plugin.name}/{method}", "budget": "smoke", "seed": str(seed), "device": "cpu"}
    words |= {"results": str(results), "tracking": "off", "fit.checkpoint_seconds": "0", **(given or {})}
    return compose_one([f"{key}={value}" for key, value in words.items()], [plugin])
