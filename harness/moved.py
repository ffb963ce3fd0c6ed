"""Old paths of modules that live in rooms now: importing one still works, warns, and gives the new one.

For plugins that were written before the rooms; an old path goes with the next minor version.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

ROOMS = {
    "papers": ("hookspecs", "plugins"),
    "fit": ("checkpoint",),
    "nn": ("generate", "evals"),
    "runs": ("isolate", "leases", "locks", "nvml", "provenance", "results", "run", "spec", "stages"),
    "sweeps": ("compose", "config", "sweep", "tuning", "watch"),
    "verdicts": ("costs", "power", "stats"),
    "reports": ("braille", "figures", "phrases", "plots", "publish", "summary"),
    "contract": ("confine", "statements"),
    "commands": ("listing", "new"),
}
RENAMED = {
    "paper": "papers.statement",
    "resample": "papers.reduction",
    "ranks": "runs.processes",
    "warm": "runs.served.warm",
    "tracking": "runs.mirror",
    "report": "verdicts.scorecard",
    "compare": "verdicts.comparison",
    "select": "verdicts.rows",
    "ranking": "verdicts.places",
    "report_text": "reports.text",
    "report_html": "reports.html",
    "compare_show": "reports.comparison",
    "contract_pytest": "contract.fixture",
    "pricing": "commands.plan",
}
MOVED = {name: f"{room}.{name}" for room, names in ROOMS.items() for name in names} | RENAMED
PARTED = {
    "results": "runs.files",
    "stats": "papers.reduction",
}  # where the rest of an old module's names went


class OldPaths(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Find `harness.<old>` where nothing else does."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, old = name.partition(".")
        if package != "harness" or old not in MOVED:
            return None
        return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        new = f"harness.{MOVED[spec.name.partition('.')[2]]}"
        warnings.warn(f"{spec.name} is {new} now: import it from there", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        rest = PARTED.get(spec.name.partition(".")[2])
        return _both(module, importlib.import_module(f"harness.{rest}")) if rest else module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module, executed long ago under its own name, its own spec back."""
        module.__spec__ = importlib.machinery.PathFinder.find_spec(module.__name__, _around(module))


def _both(module: ModuleType, rest: ModuleType) -> ModuleType:
    """Return a module that has the names of two."""
    both = ModuleType(module.__name__, module.__doc__)
    both.__getattr__ = lambda name: getattr(module if hasattr(module, name) else rest, name)  # type: ignore[method-assign]
    return both


def _around(module: ModuleType) -> list[str]:
    return list(sys.modules[module.__name__.rpartition(".")[0]].__path__)


def follow() -> None:
    """Let old paths be found from now on, after everything else."""
    # A function of the package has this name too: importing the old path anew would hide it.
    sys.modules.setdefault("harness.lazy", importlib.import_module("harness.papers.lazy"))
    if not any(isinstance(finder, OldPaths) for finder in sys.meta_path):
        sys.meta_path.append(OldPaths())
