"""Find the installed papers; speak to one.

Listing reads package metadata only. Loading imports each plugin's light `__init__` in its own
`try`, so a broken one is a row with its reason and the fix, and the others work.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import pluggy

from harness.errors import HarnessError, UsageError, nearest
from harness.papers import families, hookspecs
from harness.papers.statement import API_VERSION, Paper

GROUP = "harness.papers"
VERBS = (
    "run",
    "decide",
    "gate",
    "plan",
    "report",
    "compare",
    "judge",
    "export",
    "bundle",
    "verify",
    "push",
    "judgments",
    "papers",
    "data",
    "status",
    "new",
    "check",
    "ui",
    "schema",
    "skill",
)
HOOKS = tuple(name for name, made in vars(hookspecs).items() if hasattr(made, "harness_spec"))
BUDGETS = ("smoke", "small", "full")


@dataclass(frozen=True)
class Listing:
    """An installed paper as package metadata knows it."""

    name: str
    module: str
    distribution: str
    version: str
    summary: str
    problem: str = ""  # what metadata alone tell is wrong, with the fix


@dataclass(frozen=True)
class Plugin:
    """An imported paper: its listing, what it states, and its module, or the problem and the fix."""

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
        if self.paper is not None and self.paper.hooks:
            manager.register(Named(self.module.__name__, self.paper.hooks), f"{self.name} by name")
        return getattr(manager.hook, name)

    def implements(self, name: str) -> bool:
        """Say whether the plugin has the optional hook `name`."""
        return bool(self.hook(name).get_hookimpls())

    def asks_for(self, hook: str, argument: str) -> bool:
        """Say whether the plugin's `hook`, which it has, takes `argument`; it may leave out what it does not read."""
        submodule = self.paper.hooks.get(hook) if self.paper is not None else None
        if submodule is not None:
            function = _function(f"{self.module.__name__}.{submodule}", hook)
            return argument in inspect.signature(function).parameters
        return any(argument in found.argnames for found in self.hook(hook).get_hookimpls())


class Named:
    """The hooks that a paper names by submodule: each is a function of the hook's name, imported when called."""

    def __init__(self, package: str, hooks: Mapping[str, str]) -> None:
        for hook, submodule in hooks.items():
            setattr(self, hook, _named(f"{package}.{submodule}", hook))


def _named(module: str, hook: str) -> Callable[..., Any]:
    specified = getattr(hookspecs, hook)

    @hookspecs.hookimpl
    @functools.wraps(specified)  # by which pluggy learns the arguments' names
    def call(*values: Any) -> Any:
        function = _function(module, hook)
        given = zip(inspect.signature(specified).parameters, values, strict=True)
        taken = inspect.signature(function).parameters
        return function(**{name: value for name, value in given if name in taken})

    return call


def _function(module: str, hook: str) -> Callable[..., Any]:
    """Import the function that stands for a hook which a paper names by submodule."""
    function: Callable[..., Any] | None = getattr(importlib.import_module(module), hook, None)
    if function is None:
        raise HarnessError(f"{module} has no function {hook!r}, which Paper(hooks=...) names: write it there")
    return function


def listed() -> list[Listing]:
    """List installed papers from package metadata, importing none of them."""
    found = set()
    for entry in importlib.metadata.entry_points(group=GROUP):
        if entry.dist is None:
            continue
        about = entry.dist.metadata
        summary = about.json.get("summary", "")
        found.add(Listing(entry.name, entry.value, entry.dist.name, entry.dist.version, str(summary)))
    names = [listing.name for listing in found]
    told = [replace(listing, problem=_misnamed(listing, names)) for listing in found]
    return sorted(told, key=lambda listing: (listing.name, listing.distribution))


def _misnamed(listing: Listing, names: list[str]) -> str:
    """Return why a paper cannot have its name, with the fix, or ""."""
    if listing.name in VERBS:
        return f"{listing.name!r} is a harness command: rename the entry point of {listing.distribution}"
    if names.count(listing.name) > 1:
        return f"two packages claim the name {listing.name!r}: uninstall one (this one is {listing.distribution})"
    return ""


def load_all() -> list[Plugin]:
    """Import every installed paper; a broken one carries its problem instead of a paper."""
    return [_load(listing) for listing in listed()]


def load(name: str) -> Plugin:
    """Import one paper by name.

    Raises UsageError for an unknown name, or for a plugin that cannot be used, with its reason.
    """
    listings = listed()
    names = [listing.name for listing in listings]
    if name not in names:
        raise UsageError(f"no paper {name!r} is installed: {nearest(name, names)}")
    plugin = _load(listings[names.index(name)])
    if plugin.problem:
        raise UsageError(f"the paper {name!r} cannot be used: {plugin.problem}")
    return plugin


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("harness")
    manager.add_hookspecs(hookspecs)
    return manager


def _load(listing: Listing) -> Plugin:
    """Import one plugin and check what it states; never raises for what the plugin did wrong."""
    lacking = listing.problem or _lacking(listing.distribution)
    if lacking:
        return Plugin(listing, problem=lacking)
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
            listing, problem=f"a hook does not fit this harness ({_one_line(error)}): rename or fix it"
        )
    except SystemExit as error:
        return Plugin(
            listing, problem=f"its import calls sys.exit({error.code}): remove that from {listing.module}"
        )
    except Exception as error:
        return Plugin(
            listing,
            problem=f"its import or paper() raised {type(error).__name__}: {_one_line(error)}: fix {listing.module}",
        )
    if isinstance(paper, Paper):
        paper = families.with_members(paper)
    problem = _other_api(paper) or "; ".join(_problems(paper))
    if not problem and not Plugin(listing, module, paper).implements("evaluate"):
        problem = "its evaluate hook is missing: write one, which returns the metrics"
    return Plugin(listing, module, None if problem else paper, problem)


def _lacking(distribution: str) -> str:
    """Return what a plugin's package needs and is not there, with the fix, or "": also what it imports late."""
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires(distribution) or ():
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(needed.name)
        except importlib.metadata.PackageNotFoundError:
            wanted = f"{needed.name}{needed.specifier}"
            return f"its package needs {wanted}, which is not installed: pip install '{wanted}'"
        if needed.name == "paper-harness" and not needed.specifier.contains(version, prereleases=True):
            return (
                f"it needs paper-harness {needed.specifier}, this is {version}: upgrade the older of the two"
            )
    return ""


def _other_api(paper: Any) -> str:
    """Return what to do about a plugin written for other hooks than these, or ""."""
    spoken = getattr(paper, "api_version", API_VERSION)
    if spoken == API_VERSION:
        return ""
    older = "the plugin" if spoken < API_VERSION else "paper-harness"
    return f"it was written for hook API {spoken}, this harness speaks {API_VERSION}: upgrade {older}"


def _problems(paper: Any) -> Iterable[str]:
    """Yield what is wrong with what a plugin states, each with its fix."""
    if paper is None:
        yield "its paper() hook is missing: write one, marked @hookimpl, that returns a harness.Paper"
        return
    if not isinstance(paper, Paper):
        yield "its paper() hook returns no harness.Paper: return one"
        return
    if said := _other_api(paper):
        yield said
    for hook in paper.hooks:
        if hook not in HOOKS:
            yield f"its hooks name {hook!r}, which is none: {nearest(hook, HOOKS)}"
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
    for name, metric in paper.metrics.items():
        if metric.versus and (metric.better, metric.reduce, metric.range) != ("higher", "mean", (0, 1)):
            yield f"{name} is a share of wins: declare it Metric('higher', ..., range=(0, 1), versus=True)"
        if metric.versus and name == paper.tuned_by:
            yield f"tuned_by={name!r} compares two runs, and settings are chosen by one: name another metric"
    tuning = [name for name, method in paper.methods.items() if method.tune]
    if tuning and paper.tuned_by not in paper.metrics:
        yield f"{tuning[0]!r} is tuned, but tuned_by={paper.tuned_by!r} is no metric: name the one that decides"
    grids = {tuple(len(g) for g in method.tune.values()) for method in paper.methods.values() if method.tune}
    if len({_product(g) for g in grids}) > 1:
        yield "its tuning grids differ in size: give each tuned method as many settings"
    yield from families.problems(paper)
    for claim in paper.claims:
        for contrast in filter(None, (claim.contrast, claim.control)):
            for name in contrast.methods:
                if name not in paper.methods:
                    yield f"the claim {claim.text!r} names no method {name!r}: {nearest(name, paper.methods)}"
            for name in contrast.metrics:
                if name not in paper.metrics:
                    yield f"the claim {claim.text!r} names no metric {name!r}: {nearest(name, paper.metrics)}"
                elif (contrast.kind == "wins") != paper.metrics[name].versus:
                    yield f"the claim {claim.text!r}: " + (
                        f"{name} compares two runs, ask for wins({name!r}, ...)"
                        if paper.metrics[name].versus
                        else f"wins are of a metric marked versus, and {name} is not: Metric(versus=True)"
                    )
        if claim.margin is not None and not claim.margin > 0:
            yield f"the claim {claim.text!r} has the margin {claim.margin}: give a difference above 0"


def _product(sizes: tuple[int, ...]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
