"""What Hydra can choose from: the installed papers' methods and budgets, and the experiments that they ship.

A config source of our own, by Hydra's plugin interface, and not its ConfigStore: Hydra copies its sources,
and with them the whole store, for each group that --help lists and for each job. This one holds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from harness.papers.plugins import Plugin, load_all
from harness.runs.leases import cores
from harness.sweeps import inside
from harness.sweeps.config import Settings
from harness.sweeps.launchers.cores import CoresLauncher
from harness.sweeps.launchers.ray import RayLauncher
from harness.sweeps.trusted import CORES, RAY

CHOOSE = "choose"
HIDDEN = "overlay"  # of a budget on a method: chosen by budget=, no choice of a person's
_nodes: dict[str, Callable[[], Any]] = {}  # a config's path -> what makes it
_modules: list[str] = []  # of plugins, whose `conf` packages hold experiments


def offer(plugins: Sequence[Plugin]) -> None:
    """Let Hydra find the methods, budgets and experiments of the working ones of `plugins`, and no others."""
    _nodes.clear()
    _modules.clear()
    _nodes["schema"] = Settings
    _nodes[f"method/{CHOOSE}"] = _open
    for plugin in plugins:
        paper = plugin.paper
        if paper is None:
            continue
        _modules.append(plugin.module.__name__)
        for name, method in paper.methods.items():
            _nodes[f"method/{plugin.name}/{name}"] = partial(
                dict,
                paper=plugin.name,
                name=name,
                model=paper.model,
                method=method.config,
                task=paper.task,
                data=paper.data,
            )
            for budget, overlay in paper.budgets.items():
                _nodes[f"overlay/{plugin.name}/{name}/{budget}"] = partial(dict, overlay)
    for kind in (Choices, ChoicesPath):
        if kind not in Plugins.instance().discover():
            Plugins.instance().register(kind)
    for name, launcher in ((CORES, CoresLauncher), (RAY, RayLauncher)):
        inside.offer_launcher(name, launcher)
    if not OmegaConf.has_resolver("jobs"):
        OmegaConf.register_new_resolver("jobs", jobs)


class Choices(ConfigSource):  # type: ignore[misc]  # Hydra's own module is not typed
    """The configs behind `papers://`, each made when it is asked for."""

    @staticmethod
    def scheme() -> str:
        return "papers"

    def available(self) -> bool:
        return True

    def load_config(self, config_path: str) -> ConfigResult:
        make = _known().get(config_path.removesuffix(".yaml"))
        if make is None:
            raise ConfigLoadError(f"there is no config {config_path}")
        package = None if make is Settings else "_global_"
        return ConfigResult(
            config=OmegaConf.structured(make if make is Settings else make()),
            path=self.full_path(),
            provider=self.provider,
            header={"package": package},
        )

    def is_group(self, config_path: str) -> bool:
        return any(path.startswith(f"{config_path.rstrip('/')}/") for path in _known())

    def is_config(self, config_path: str) -> bool:
        return config_path.rstrip("/").removesuffix(".yaml") in _known()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        within = f"{config_path.strip('/')}/" if config_path.strip("/") else ""
        below = [path.removeprefix(within) for path in _known() if path.startswith(within)]
        groups = {path.partition("/")[0] for path in below if "/" in path} - (
            {HIDDEN} if not within else set()
        )
        configs = {path for path in below if "/" not in path}
        if results_filter is None:
            return sorted(groups | configs)
        return sorted(groups if results_filter == ObjectType.GROUP else configs)


class ChoicesPath(SearchPathPlugin):  # type: ignore[misc]
    """Put `papers://` and every paper's experiments, `pkg://<module>.conf`, on Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if _nodes:  # in a process that uses Hydra for something else, nothing
            search_path.append("harness", "papers://")
        for module in _modules:
            search_path.append("harness", f"pkg://{module}.conf")


def _known() -> dict[str, Callable[[], Any]]:
    """Return what is on offer; a worker that a launcher started offers what is installed, as its driver did."""
    if not _nodes:
        offer(load_all())
    return _nodes


def _open() -> DictConfig:
    """Return a placeholder that takes any task, method and data setting until a method is chosen.

    Hydra composes a sweep once without its methods, to learn how to launch it.
    """
    node = OmegaConf.create({"task": {}, "method": {}, "data": {}})
    for name in node:
        OmegaConf.set_struct(node[name], False)
    return node


def jobs() -> int:
    """Return how many runs go on at once by default: one per GPU, else one per core."""
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return gpus or len(cores())
