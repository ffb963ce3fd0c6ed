"""Where numbers come from: the command, the day, the machine, the scale, and the code that made them."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness.runs.files import digest
from harness.runs.results import Record

# Modules that bring a run to its process and back, but cannot change its numbers.
CARRIERS = ("harness", "harness.moved", "harness.errors", "harness.runs", "harness.papers")
EVIDENCE = ("harness.papers.reduction",)

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
        and (name in EVIDENCE or not (name in CARRIERS or name.rpartition(".")[0] in CARRIERS[3:]))
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
        from harness.runs.nvml import used

        found["gpu"] = used()
    return found
