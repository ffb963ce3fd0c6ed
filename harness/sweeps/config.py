"""From a command line to a run's spec.

Offers every installed method to Hydra as `method=<paper>/<method>`, and checks what comes back:
only merging into the plugin's own dataclasses refuses keys that were slipped in with `+`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.errors import UsageError, nearest
from harness.papers.plugins import Plugin, load
from harness.runs.spec import Spec, as_plain

CHOOSE = "choose"


@dataclass
class Fit:
    """What may differ without making another run: how a batch is cut, how often state is saved."""

    micro_batch: int | None = None
    checkpoint_seconds: float = 30.0


@dataclass
class Limits:
    """When a run is stopped: after `minutes`, or beyond `memory_gb` (CPU runs)."""

    minutes: float | None = None
    memory_gb: float | None = None


@dataclass
class Leases:
    """How much goes on at once on this machine: `cpus` slots (null: a core each), `per_gpu` runs a GPU."""

    cpus: int | None = None
    per_gpu: int = 1


@dataclass
class Tracking:
    """Where runs are mirrored: an MLflow tracking URI, "" for results/mlflow.db, "off" for nowhere."""

    uri: str = ""


@dataclass
class Settings:
    """What `harness run` takes beside a paper's own task, method and data."""

    paper: str = ""
    name: str = ""
    method: Any = None
    task: Any = None
    data: Any = None
    model: str = ""
    budget: str = "small"
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    processes: int = 1
    results: str = "results"
    rerun: bool = False
    isolate: bool = True
    keep: str = "weights"
    objective: str = ""
    tuned: bool = True
    on_failure: str = "continue"
    trust_remote_code: bool = False
    allow_pickle: bool = False
    sweep: str = ""
    fit: Fit = field(default_factory=Fit)
    limits: Limits = field(default_factory=Limits)
    leases: Leases = field(default_factory=Leases)
    tracking: Tracking = field(default_factory=Tracking)


CHOICES = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("auto", "float32", "bfloat16"),
    "keep": ("metrics", "weights", "all"),
    "on_failure": ("continue", "stop"),
}


def offer(plugins: list[Plugin]) -> None:
    """Put every method of every working plugin, with its budgets, where Hydra finds it."""
    store = ConfigStore.instance()
    # Hydra copies its sources, and with them this whole store, for each group that --help lists and for each
    # job: with eight papers a help page took a minute. What is loaded from the store is a copy in any case.
    ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]
    store.store(name="schema", node=Settings)
    store.store(group="method", name=CHOOSE, node=_open(), package="_global_")
    for plugin in plugins:
        paper = plugin.paper
        if paper is None:
            continue
        for name, method in paper.methods.items():
            node = {
                "paper": plugin.name,
                "name": name,
                "model": paper.model,
                "method": method.config,
                "task": paper.task,
                "data": paper.data,
            }
            store.store(group=f"method/{plugin.name}", name=name, node=node, package="_global_")
            for budget, overlay in paper.budgets.items():
                group = f"overlay/{plugin.name}/{name}"
                store.store(group=group, name=budget, node=dict(overlay), package="_global_")
    if not OmegaConf.has_resolver("jobs"):
        OmegaConf.register_new_resolver("jobs", jobs)


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
    import os

    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return gpus or cores or 1


def find_experiments(plugins: list[Plugin]) -> None:
    """Let `+experiment=` find the experiments that plugins ship in their `conf` package."""
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    modules = [plugin.module.__name__ for plugin in plugins if plugin.paper is not None]

    class PluginExperiments(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for module in modules:
                search_path.append("harness", f"pkg://{module}.conf")

    Plugins.instance().register(PluginExperiments)


def checked(cls: type, values: Any, what: str) -> Any:
    """Return an instance of the dataclass `cls` from a config node.

    Raises UsageError for a key the dataclass lacks (also one added with `+`) and for a wrong type.
    """
    given = OmegaConf.to_container(values, resolve=True) if values is not None else {}
    known = {f.name for f in dataclasses.fields(cls)}
    assert isinstance(given, dict)
    for key in given:
        if key not in known:
            raise UsageError(f"{what} has no setting {key!r}: {nearest(str(key), known)}")
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), given))
    except OmegaConfBaseException as error:
        raise UsageError(f"{what}: {_first_line(error)}") from error


def to_spec(cfg: DictConfig, plugin: Plugin | None = None, resolved: bool = True) -> tuple[Spec, Settings]:
    """Check one job's config whole and return its run spec, sources `resolved`, and the settings.

    Raises UsageError with one sentence for anything that cannot be run as typed.
    """
    from harness.data.sources import resolve, resolve_model

    settings = to_settings(cfg)
    plugin = plugin or load(settings.paper)
    paper = plugin.paper
    assert paper is not None
    declared = paper.methods[settings.name]
    task = checked(paper.task, cfg.task, f"task of {plugin.name}")
    data = checked(paper.data, cfg.data, f"data of {plugin.name}")
    method = checked(type(declared.config), cfg.method, f"method {plugin.name}/{settings.name}")
    base = rebudgeted(declared.config, paper.budgets[settings.budget].get("method", {}))
    changes = {key: value for key, value in as_plain(method).items() if value != as_plain(base)[key]}
    if declared.tune and not settings.tuned:
        changes["tuned"] = False
    results = Path(settings.results).expanduser().resolve()
    cache = results / "stages" / "sources"
    device, precision = where(settings.device, settings.precision)
    spec = Spec(
        paper=plugin.name,
        name=settings.name,
        method=as_plain(method),
        task=as_plain(task),
        data=as_plain(data),
        model=settings.model,
        budget=settings.budget,
        seed=0 if declared.deterministic else settings.seed,
        device=device,
        precision=precision,
        processes=settings.processes,
        sources={
            f.name: resolve(
                getattr(data, f.name),
                cache=cache,
                columns=f.metadata.get("columns", ("text",)),
            )
            for f in dataclasses.fields(data)
            if getattr(data, f.name) and resolved
        },
        model_source=resolve_model(settings.model, cache=cache, allow_pickle=settings.allow_pickle)
        if settings.model and resolved
        else None,
        declared=not changes,
        changes=changes,
        deterministic=declared.deterministic,
        baseline=declared.baseline,
        results=results,
        micro_batch=settings.fit.micro_batch,
        checkpoint_seconds=settings.fit.checkpoint_seconds,
        keep=settings.keep,
        trust_remote_code=settings.trust_remote_code,
        objective=settings.objective,
        sweep=settings.sweep,
    )
    if spec.objective and spec.objective not in paper.metrics:
        raise UsageError(
            f"objective={spec.objective} is no metric of {spec.paper}: {nearest(spec.objective, paper.metrics)}"
        )
    return spec, settings


def to_settings(cfg: DictConfig) -> Settings:
    """Check the settings every paper shares; the paper's own parts are left as nodes."""
    known = {f.name for f in dataclasses.fields(Settings)}
    own = ("method", "task", "data")
    for key in cfg:
        if key not in known and key != "hydra":
            raise UsageError(f"there is no setting {key!r}: {nearest(str(key), known)}")
    shared = OmegaConf.create({k: cfg[k] for k in known - set(own) if k in cfg})
    settings = checked(Settings, shared, "the configuration")
    if not settings.paper:
        raise UsageError(
            "no method was chosen: add method=<paper>/<method> (`harness papers -v` lists them) or +experiment=<name>"
        )
    for key, allowed in CHOICES.items():
        if getattr(settings, key) not in allowed:
            raise UsageError(f"{key}={getattr(settings, key)} is not one of {', '.join(allowed)}")
    return settings


def rebudgeted(config: Any, overlay: Mapping[str, Any]) -> Any:
    """Return a declared method config under a budget's overlay."""
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(config), dict(overlay)))


def where(device: str, precision: str) -> tuple[str, str]:
    """Return the device kind and precision that "auto" means here, without importing torch."""
    import platform

    if device == "auto":
        if Path("/proc/driver/nvidia/gpus").is_dir() or Path("/dev/nvidia0").exists():
            device = "cuda"
        elif platform.system() == "Darwin" and platform.machine() == "arm64":
            device = "mps"
        else:
            device = "cpu"
    if precision == "auto":
        precision = "bfloat16" if device == "cuda" else "float32"
    return device, precision


def worst(plugin: Plugin, objective: str) -> float:
    """Return the infinity that an optimiser must avoid: what a failed run scores."""
    assert plugin.paper is not None
    metric = plugin.paper.metrics.get(objective)
    return -math.inf if metric is not None and metric.better == "higher" else math.inf


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
