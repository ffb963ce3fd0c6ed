"""From a job's config, as Hydra composed it, to a run's spec.

Everything is checked here: only merging into the plugin's own dataclasses refuses keys that were slipped in with `+`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.errors import UsageError, nearest
from harness.papers.plugins import Plugin, load
from harness.papers.statement import setting
from harness.runs.processes import here, machines
from harness.runs.run import open_run
from harness.runs.spec import Fit, Spec, as_plain, filled


@dataclass
class Limits:
    """When a run is stopped: after `minutes`, or beyond `memory_gb` (CPU runs)."""

    minutes: float | None = setting(None, "minutes until a run is stopped", least=0)
    memory_gb: float | None = setting(None, "GiB that a run on CPUs may take", least=0)


@dataclass
class Leases:
    """How much goes on at once on this machine: `cpus` slots (null: a core each), `per_gpu` runs a GPU."""

    cpus: int | None = setting(None, "slots for runs on CPUs", least=1)
    per_gpu: int = setting(1, "runs that share a GPU", least=1)


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
    seed: int = setting(0, "where random numbers begin", least=0, most=2**32 - 1)
    device: str = "auto"
    precision: str = "auto"
    processes: int = setting(1, "processes of a run", least=1)
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
        found = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), given))
    except OmegaConfBaseException as error:
        raise UsageError(f"{what}: {first_line(error)}: give a value of that kind") from error
    _in_range(found, what)
    return found


def _in_range(settings: Any, what: str) -> None:
    """Raise UsageError for a number beyond what its setting declares, also in settings within these."""
    for f in dataclasses.fields(settings):
        value, least, most = getattr(settings, f.name), f.metadata.get("least"), f.metadata.get("most")
        if dataclasses.is_dataclass(value):
            _in_range(value, f"{what}, {f.name}")
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, int | float) or isinstance(one, bool):
                continue
            fix = f"give {least:,} or more" if least is not None and not one >= least else ""
            fix = f"give {most:,} or less" if most is not None and not (fix or one <= most) else fix
            if fix:
                raise UsageError(f"{what}: {f.name}={one} is out of range ({f.metadata['help']}): {fix}")


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
    if settings.budget not in paper.budgets:
        raise UsageError(
            f"{plugin.name} has no budget {settings.budget}: {nearest(settings.budget, paper.budgets)}"
        )
    if settings.model and not declared.takes_model:
        raise UsageError(
            f"{plugin.name}/{settings.name} starts from no model, so model={settings.model} would not be read: "
            f"leave it out{_instead(paper)}"
        )
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
    sources: dict[str, Any] = {}
    model_source = None
    if resolved:
        for f in dataclasses.fields(data):
            if name := getattr(data, f.name):
                columns = f.metadata.get("columns", ("text",))
                sources[f.name] = resolve(name, cache=cache, columns=columns)
        if settings.model:
            model_source = resolve_model(settings.model, cache=cache, allow_pickle=settings.allow_pickle)
        _refuse_what_does_not_fit(plugin, task, sources, model_source, method)
    spec = filled(
        Spec,
        settings,
        declared,
        paper=plugin.name,
        method=as_plain(method),
        task=as_plain(task),
        data=as_plain(data),
        seed=0 if declared.deterministic else settings.seed,
        device=device,
        precision=precision,
        sources=sources,
        model_source=model_source,
        declared=not changes,
        changes=changes,
        tuned={},  # nothing chosen yet
        results=results,
    )
    if spec.objective and spec.objective not in paper.metrics:
        raise UsageError(
            f"objective={spec.objective} is no metric of {spec.paper}: {nearest(spec.objective, paper.metrics)}"
        )
    if resolved:
        _refuse_processes(spec, settings, plugin)
    return spec, settings


def _refuse_processes(spec: Spec, settings: Settings, plugin: Plugin) -> None:
    """Raise UsageError for several processes, on this machine or many, that this run could not use."""
    count = spec.processes
    here(count)  # refuses what torchrun's variables do not fit
    if count == 1:
        if spec.fit.shard:
            raise UsageError(
                "fit.shard=true shares a model out among processes, and this run has one: add processes=2"
            )
        if spec.fit.offload:
            raise UsageError(
                "fit.offload=true moves shards, and nothing is sharded: add fit.shard=true processes=2"
            )
        return
    if spec.fit.offload and not spec.fit.shard:
        raise UsageError("fit.offload=true moves shards, and nothing is sharded: add fit.shard=true")
    if not settings.isolate:
        raise UsageError(f"processes={count} need processes of their own: leave isolate=false out")
    if settings.rerun and machines()[1] > 1:
        raise UsageError("rerun=true is for one machine: remove the run's folder, or give other results=")
    rows = spec.task.get("batch_size")
    if isinstance(rows, int) and rows < count:
        raise UsageError(
            f"a batch of {rows} rows cannot be shared by {count} processes: give processes={rows} or fewer, "
            f"or task.batch_size={count} or more"
        )
    if not _trains(spec, plugin):
        raise UsageError(
            f"{spec.paper}/{spec.name} trains no model, so processes={count} would do nothing: leave it out"
        )


def _trains(spec: Spec, plugin: Plugin) -> bool:
    """Say whether a method trains a model, by its plan; where that cannot be told, that it does."""
    if not plugin.implements("plan"):
        return plugin.implements("train")
    # A plan that fails is no reason not to run.
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(plugin.hook("plan")(run=open_run(spec, plugin)).flops)
    return True


def _instead(paper: Any) -> str:
    """Name the methods of a paper that do take a model, where there are any."""
    takers = [name for name, method in paper.methods.items() if method.takes_model]
    return f", or choose one of {', '.join(takers)}" if takers else ""


def _refuse_what_does_not_fit(
    plugin: Plugin, task: Any, sources: dict[str, Any], model: Any, method: Any
) -> None:
    """Ask the paper's `fits` hook, where it has one, once for each task of a command, and each method if it asks."""
    if not plugin.implements("fits"):
        return
    read = {name: source.digest for name, source in sources.items()}, model and model.digest
    asked = repr((plugin.name, task, read, method if plugin.asks_for("fits", "method") else None))
    if asked not in _FITTING:
        plugin.hook("fits")(task=task, data=sources, model=model, method=method)
        _FITTING.add(asked)


_FITTING: set[str] = set()


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
            raise UsageError(f"{key}={getattr(settings, key)} is not known: give one of {', '.join(allowed)}")
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


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
