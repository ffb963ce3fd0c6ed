"""Where numbers come from: the command, the day, the machine, the scale, and the code that made them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.paper import Paper
from harness.results import RESULT, Record, digest


def command(paper_name: str, paper: Paper, config: Mapping[str, Any]) -> str:
    """Return the command that makes runs of this setting: the experiment, and what differs from it."""
    overlay = paper.budgets.get(config["budget"], {})
    words = ["harness", "run", "-m", f"+experiment={paper_name}", f"budget={config['budget']}"]
    for group, cls in (("data", paper.data), ("task", paper.task)):
        stated = {f.name: getattr(cls(), f.name) for f in dataclasses.fields(cls)} | dict(
            overlay.get(group, {})
        )
        for name, value in config[group].items():
            if name in stated and not _same(value, stated[name]):
                words.append(f"{group}.{name}={_plain(value)}")
    if config["model"] and config["model"] != paper.model:
        words.append(f"model={config['model']}")
    return shlex.join(words)


def _same(recorded: Any, stated: Any) -> bool:
    return _plain(recorded) == _plain(getattr(stated, "name", stated))


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_plain, value))}]"
    return "null" if value is None else str(value)


def note(budget: str) -> str:
    """Return the sentence that keeps a verdict at one scale from being read as another's."""
    if budget == "smoke":
        return "Smoke runs: tiny models that show that the code works. They are no evidence for or against a claim."
    if budget == "full":
        return "Measured at full scale, with the settings that the plugin takes from the paper."
    return (
        f"Measured at {budget} scale: the verdicts are about the direction of each claim at this scale. "
        "This is not a reproduction of the paper's numbers."
    )


def date(record: Record) -> str:
    """Return the day a run ended: as it says itself, else as its file does."""
    known = record.result.environment.get("date")
    if known:
        return str(known)[:10]
    return time.strftime("%Y-%m-%d", time.gmtime((record.folder / RESULT).stat().st_mtime))


def machine(record: Record) -> str:
    """Return the machine in a few words: processor or device, cores, Python and torch."""
    environment = record.result.environment
    packages = environment.get("packages", {})
    parts = [
        str(environment.get("processor") or environment.get("device") or environment.get("machine") or ""),
        f"{environment['cores']} cores" if environment.get("cores") else "",
        f"Python {environment['python']}" if environment.get("python") else "",
        f"torch {packages['torch']}" if packages.get("torch") else "",
    ]
    return ", ".join(part for part in parts if part)


# Modules that bring a run to its process and back, but cannot change its numbers.
CARRIERS = (
    "harness",
    "paper",
    "hookspecs",
    "plugins",
    "errors",
    "lazy",
    "isolate",
    "leases",
    "locks",
    "nvml",
    "provenance",
    "ranks",
    "results",
    "run",
    "spec",
    "stages",
    "warm",
)

STATEMENTS = ".claims"  # what a plugin states about runs judges them, and does not make them


def code() -> dict[str, Any]:
    """Say what code made a run: a digest of each module its process has loaded, and the commit.

    What a run never loads (reports, tracking, the command line) and what only carries it may change
    without making it stale.
    """
    modules = {
        name: file_digest(Path(module.__file__ or ""))
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0].partition("_")[0] == "harness"
        and name.removeprefix("harness.") not in CARRIERS
        and not name.endswith(STATEMENTS)
        and getattr(module, "__file__", None)
    }
    return {"modules": modules, **_commit(Path(__file__).parent)}


def stale(record: Record) -> bool:
    """Say whether any module that made this run reads otherwise today, or is gone."""
    for name, before in record.result.code.get("modules", {}).items():
        if name.endswith(STATEMENTS):
            continue
        if name not in _TODAY:
            found = source_of(name)
            _TODAY[name] = file_digest(found) if found else ""
        if _TODAY[name] != before:
            return True
    return False


def source_of(module: str) -> Path | None:
    """Return a module's source file, or None where it is gone; looked up without importing its packages."""
    import importlib.util

    top, *inner = module.split(".")
    found = importlib.util.find_spec(top)
    if found is None or found.origin is None:
        return None
    if not inner:
        return Path(found.origin)
    for place in found.submodule_search_locations or ():
        path = Path(place, *inner)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.exists():
                return file
    try:  # placed elsewhere by its distribution
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(found.origin) if found and found.origin else None


_TODAY: dict[str, str] = {}  # module -> digest of its source, read once a process


def file_digest(path: Path) -> str:
    """Return the first 16 hex digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def package_digest(module: Any) -> str:
    """Return the SHA-256 over a package's Python sources, in path order."""
    folder = Path(module.__file__).parent
    return digest({str(path.relative_to(folder)): file_digest(path) for path in sorted(folder.rglob("*.py"))})


def _commit(folder: Path) -> dict[str, Any]:
    """Return the git commit of a source tree and whether it was changed since; empty for an installed one."""

    def ask(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        return {"git": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.TimeoutExpired):
        return {"git": "", "dirty": False}


def diff() -> str:
    """Return how the source tree differs from its commit, as `git diff` says; "" for an installed package."""
    try:
        words = ["git", "diff", "HEAD", "--no-color", "--no-ext-diff"]
        folder = Path(__file__).parent.parent
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


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


def environment(device: str) -> dict[str, Any]:
    """Say where a run ran: Python, packages, processor, cores, memory, threads, device, and what its GPUs took."""
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
        "leased": [name for name in os.environ.get("HARNESS_LEASED", "").split(",") if name],
        "packages": versions,
    }
    if device == "cuda":
        from harness.nvml import used

        found["gpu"] = used()
    return found
