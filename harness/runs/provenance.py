"""Where numbers come from: the command, the day, the machine, the scale, and the code that made them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.papers.families import metric_called
from harness.papers.plugins import load
from harness.papers.reach import place_of, reached, source_of
from harness.papers.statement import Metric
from harness.runs.files import tell
from harness.runs.results import Record

HOOKS = ("prepare", "train", "evaluate")  # which together make a run
# What a hook is handed, whose methods it may call; and what makes a number of its items.
GIVEN = (
    ("harness.runs.run", "Run"),
    ("harness.data.sources", "Source"),
    ("harness.papers.reduction", "reduce"),
)
METRIC = "metric"  # where a metric's own entry stands among the definitions: metric:accuracy
TREE = Path(__file__).parents[2]
# What git is asked about: in the source tree `harness/conf` leads to the folder beside it.
OWN = ("harness", os.path.relpath((TREE / "harness" / "conf").resolve(), TREE), "plugins/*/harness_*")


def code(plugin: Any, metrics: Iterable[str] = ()) -> dict[str, Any]:
    """Say what code made a run: the digest of each definition that it used, and the commit.

    What its hooks do not reach (reports, tracking, claims, the command line) and what only carries a run may
    change without making it stale.
    """
    return {"definitions": definitions(plugin, HOOKS, metrics), **commit()}


def definitions(plugin: Any, hooks: Collection[str], metrics: Iterable[str] = ()) -> dict[str, str]:
    """Return the digest of each definition that these hooks and metrics of a paper use, by `module:name`."""
    paper, package = plugin.paper, plugin.module.__name__
    places = list(GIVEN)
    for hook in hooks:
        where = paper.hooks.get(hook)
        places.append((f"{package}.{where}", hook) if where else (package, _called(plugin.module, hook)))
    settings = [type(method.config) for method in paper.methods.values()] if "train" in hooks else []
    places += [(made.__module__, made.__qualname__.partition(".")[0]) for made in (paper.task, *settings)]
    found = {}
    for name in metrics:
        metric = metric_called(paper.metrics, name)
        if metric is not None:
            found[f"{METRIC}:{name}"], place = _reduction(metric)
            places.append(place)
    return {**reached(places, package), **found}


def _called(module: Any, hook: str) -> str:
    """Return what a plugin calls its implementation of a hook: by the hook's name unless marked otherwise."""
    for name, made in vars(module).items():
        if (getattr(made, "harness_impl", None) or {}).get("specname") == hook:
            return name
    return hook


def _reduction(metric: Metric) -> tuple[str, tuple[str, str]]:
    """Return the digest of how a metric is reduced, and where its code is to be found."""
    function: Any = metric.reduce
    given = ""
    while isinstance(function, functools.partial):
        function, given = function.func, f"{given}{function.args}{sorted(function.keywords.items())}"
    if isinstance(function, str):
        return _short(function), GIVEN[-1]
    return _short(f"{getattr(function, '__qualname__', '')}{given}"), place_of(function) or GIVEN[-1]


def stale(record: Record) -> bool:
    """Say whether a run's paper would use other definitions today than those that made it."""
    made = record.result.code
    if "definitions" not in made:
        return any(_changed(name, before) for name, before in made.get("modules", {}).items())
    metrics = tuple(key.partition(":")[2] for key in made["definitions"] if key.startswith(f"{METRIC}:"))
    return _content(made["definitions"]) != _today(record.result.config["paper"], metrics)


def _content(definitions: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Return definitions by their names alone: which file each lies in does not matter."""
    return frozenset((key.rpartition(":")[2], digest) for key, digest in definitions.items())


@functools.cache
def _today(paper: str, metrics: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    try:
        return _content(definitions(load(paper), HOOKS, metrics))
    except UsageError:  # the paper is gone, and with it the code
        return frozenset()


@functools.cache
def _changed(module: str, before: str) -> bool:
    """Say whether a whole module reads otherwise, or is gone: what runs of the first shape record."""
    if module.endswith(".claims"):
        return False
    found = source_of(module)
    return found is None or file_digest(found) != before


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the first 16 hex digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _git(*words: str) -> str:
    """Return what git says of the harness's own folders; "" where it does not track this very file.

    An installed package may lie within somebody's repository, which is none of our business. Neither are
    the repository and the index that a git hook names in the environment; what it may trust is.
    """
    surroundings = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith("GIT_CONFIG")
    }
    quiet = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false"]

    def ask(*words: str) -> str | None:
        done = subprocess.run(
            [*quiet, *words],
            cwd=TREE,
            env=surroundings,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
        )
        if "dubious ownership" in done.stderr:
            tell(
                f"git does not trust {TREE}, which is another user's, so no commit is recorded: "
                f"git config --global --add safe.directory {TREE}"
            )
        return done.stdout if done.returncode == 0 else None

    try:
        if ask("ls-files", "--error-unmatch", "--", __file__) is None:
            return ""
        return ask(*words) or ""
    except (OSError, subprocess.TimeoutExpired):
        return ""


def commit() -> dict[str, Any]:
    """Return the git commit of our source tree and whether it was changed since; empty for an installed one."""
    return {
        "git": _git("rev-parse", "HEAD").strip(),
        "dirty": bool(_git("status", "--porcelain", "-uno", "--", *OWN)),
    }


def diff() -> str:
    """Return how our source tree differs from its commit, as `git diff` says; "" for an installed package."""
    return _git("diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", "--", *OWN)


def packages() -> dict[str, str]:
    """Return every installed distribution with its version, in order of name."""
    found: dict[str, str] = {}
    for place in reversed(sys.path):  # what comes first counts; the folders' names tell, unread
        for folder in Path(place or ".").glob("*.dist-info"):
            name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
            found[name] = version
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _processor() -> str:
    """Return the processor's name as the system tells it, or ""."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor()


def environment(device: str, leased: Sequence[str] = ()) -> dict[str, Any]:
    """Say where a run ran: Python, packages, processor, cores, memory, threads, devices, and what its GPUs took."""
    import psutil
    import torch

    packages = ("torch", "transformers", "accelerate", "numpy", "scipy", "lm-eval", "paper-harness")
    versions = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "leased": list(leased),
        "packages": versions,
    }
    if device == "cuda":
        from harness.runs.nvml import used

        found["gpu"] = used()
    return found
