"""Find the installed papers; speak to one.

Listing reads package metadata only. Loading imports each plugin's light `__init__` in its own
`try`, so a broken one is a row with its reason and the mend, and the others work.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import pluggy

from harness import hookspecs
from harness.errors import UsageError, nearest
from harness.paper import API_VERSION, Paper

GROUP = "harness.papers"
VERBS = ("run", "plan", "report", "compare", "papers", "data", "status", "new", "check", "ui")
BUDGETS = ("smoke", "small", "full")


@dataclass(frozen=True)
class Listing:
    """An installed paper as package metadata knows it."""

    name: str
    module: str
    distribution: str
    version: str
    summary: str


@dataclass(frozen=True)
class Plugin:
    """An imported paper: its listing, what it states, and its module, or the problem and the mend."""

    listing: Listing
    module: Any = None
    paper: Paper | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """The paper's name, as in `method=<name>/<method>`."""
        return self.listing.name

    def hook(self, name: str) -> Any:
        """Return the hook caller that reaches this plugin alone."""
        manager = _manager()
        manager.register(self.module, self.name)
        return getattr(manager.hook, name)

    def implements(self, name: str) -> bool:
        """Say whether the plugin has the optional hook `name`."""
        return bool(self.hook(name).get_hookimpls())


def listed() -> list[Listing]:
    """List installed papers from package metadata, importing none of them."""
    found = []
    for entry in importlib.metadata.entry_points(group=GROUP):
        if entry.dist is None:
            continue
        about = entry.dist.metadata
        summary = about.json.get("summary", "")
        found.append(Listing(entry.name, entry.value, entry.dist.name, entry.dist.version, str(summary)))
    return sorted(set(found), key=lambda listing: (listing.name, listing.distribution))


def load_all() -> list[Plugin]:
    """Import every installed paper; a broken one carries its problem instead of a paper."""
    listings = listed()
    names = [listing.name for listing in listings]
    return [_load(listing, names) for listing in listings]


def load(name: str) -> Plugin:
    """Import one paper by name.

    Raises UsageError for an unknown name, or for a plugin that cannot be used, with its reason.
    """
    listings = listed()
    names = [listing.name for listing in listings]
    if name not in names:
        raise UsageError(f"no paper {name!r} is installed: {nearest(name, names)}")
    plugin = _load(listings[names.index(name)], names)
    if plugin.problem:
        raise UsageError(f"the paper {name!r} cannot be used: {plugin.problem}")
    return plugin


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("harness")
    manager.add_hookspecs(hookspecs)
    return manager


def _load(listing: Listing, names: list[str]) -> Plugin:
    """Import one plugin and check what it states; never raises for what the plugin did wrong."""
    if listing.name in VERBS:
        return Plugin(listing, problem=f"{listing.name!r} is a harness command: rename the entry point")
    if names.count(listing.name) > 1:
        return Plugin(
            listing,
            problem=f"two packages claim the name {listing.name!r}: uninstall one (this one is {listing.distribution})",
        )
    try:
        (entry,) = importlib.metadata.entry_points(group=GROUP, name=listing.name)
        module = entry.load()
        manager = _manager()
        manager.register(module, listing.name)
        manager.check_pending()
        paper = manager.hook.paper()
    except ModuleNotFoundError as error:
        return Plugin(
            listing, problem=f"needs the module {error.name!r}: pip install it, or reinstall the plugin"
        )
    except pluggy.PluginValidationError as error:
        return Plugin(
            listing, problem=f"a hook does not fit this harness ({_one_line(error)}): rename or mend it"
        )
    except SystemExit as error:
        return Plugin(
            listing, problem=f"its import calls sys.exit({error.code}): remove that from {listing.module}"
        )
    except Exception as error:
        return Plugin(
            listing,
            problem=f"its import or paper() raised {type(error).__name__}: {_one_line(error)}: mend {listing.module}",
        )
    problem = "; ".join(_problems(paper))
    return Plugin(listing, module, None if problem else paper, problem)


def _problems(paper: Any) -> Iterable[str]:
    """Yield what is wrong with what a plugin states, each with its mend."""
    if not isinstance(paper, Paper):
        yield "its paper() hook returns no harness.Paper: return one"
        return
    if paper.api_version != API_VERSION:
        yield (
            f"it was written for hook API {paper.api_version}, this harness speaks {API_VERSION}: upgrade the older"
        )
    for kind, cls in (("task", paper.task), ("data", paper.data)):
        if not is_dataclass(cls):
            yield f"its {kind} is not a dataclass: make it one"
        else:
            for f in fields(cls):
                if not f.metadata.get("help"):
                    yield f"{kind}.{f.name} has no help text: declare it with harness.setting or harness.source"
    if not any(method.baseline for method in paper.methods.values()):
        yield "it has no baseline: mark one method baseline=True"
    for name in (*paper.methods, *paper.metrics):
        if not re.fullmatch(r"[a-zA-Z0-9_.@-]+", name):
            yield f"the name {name!r} has characters other than letters, digits and _.@-: rename it"
    for budget in BUDGETS:
        if budget not in paper.budgets:
            yield f"it has no budget {budget!r}: add one (an empty overlay will do)"
    tuning = [name for name, method in paper.methods.items() if method.tune]
    if tuning and paper.tuned_by not in paper.metrics:
        yield f"{tuning[0]!r} is tuned, but tuned_by={paper.tuned_by!r} is no metric: name the one that decides"
    grids = {tuple(len(g) for g in method.tune.values()) for method in paper.methods.values() if method.tune}
    if len({_product(g) for g in grids}) > 1:
        yield "its tuning grids differ in size: give each tuned method as many settings"
    for claim in paper.claims:
        for name in claim.contrast.methods:
            if name not in paper.methods:
                yield f"the claim {claim.text!r} names no method {name!r}: {nearest(name, paper.methods)}"
        for name in claim.contrast.metrics:
            if name not in paper.metrics:
                yield f"the claim {claim.text!r} names no metric {name!r}: {nearest(name, paper.metrics)}"


def _product(sizes: tuple[int, ...]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
