"""The part of the contract that needs no run: what a plugin states, and how lightly it does so."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, nearest
from harness.numbers import number
from harness.papers.plugins import _problems
from harness.verdicts.claims import reaches

HEAVY = ("torch", "transformers", "datasets", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "mlflow")
IMPORT_SECONDS = 0.2  # of processor time beyond the harness's own; 30 ms is usual
PAPER_SECONDS = 0.1

TEMPLATE = (  # what a new paper's README says of the example, and of what is to be written
    "The example below is from Bengio",
    "Say it in five lines",
    "Nothing yet: write down what came out",
)
SUMMARY = "say in a line what the paper claims"

IMPORT = """
import json, sys, time
sys.path[:] = {path!r}
import harness
before, begun = set(sys.modules), time.process_time()
import {module}
print(json.dumps([time.process_time() - begun, sorted(set(sys.modules) - before)]))
"""


def statements(plugin: Any) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the name of each check and the look that makes it: it returns what to change, or ""."""
    yield "discovery is light", lambda: _light(plugin)
    yield "paper() is quick and pure", lambda: _pure(plugin)
    yield "claims, metrics, budgets and baseline fit together", lambda: _fits(plugin.paper)
    yield "every setting is documented and typed", lambda: _documented(plugin.paper)
    yield "baselines are tuned as far as methods are", lambda: _tuned_alike(plugin.paper)
    yield "the paper's own numbers bear its claims out", lambda: _borne_out(plugin.paper)
    yield "every bound lies where its metric can", lambda: _within_range(plugin.paper)
    yield "chance is stated where the data hold answers", lambda: _chance(plugin.paper)
    yield "nothing of the template is left", lambda: _own_words(plugin.paper)


def _light(plugin: Any) -> str:
    """Import the plugin in a process where nothing has been imported yet."""
    code = IMPORT.format(path=sys.path, module=plugin.module.__name__)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return f"fix its import, which fails in a process of its own: {last}"
    seconds, modules = json.loads(done.stdout.strip().splitlines()[-1])
    heavy = [name for name in HEAVY if name in modules]
    if heavy:
        return f"import {', '.join(heavy)} inside the functions that use it, not with the package"
    if seconds > IMPORT_SECONDS:
        return f"import less with the package: it took {seconds:.2f} s of processor time"
    return ""


def _pure(plugin: Any) -> str:
    begun = time.process_time()
    first, second = plugin.hook("paper")(), plugin.hook("paper")()
    seconds = (time.process_time() - begun) / 2
    if dataclasses.replace(first) != dataclasses.replace(second):
        return "let paper() return the same value each time"
    said = f"let paper() only state: it took {seconds:.2f} s of processor time"
    return said if seconds > PAPER_SECONDS else ""


def _fits(paper: Any) -> str:
    wrong = list(_problems(paper))
    wrong += [f"chance names no metric {name!r}" for name in paper.chance if name not in paper.metrics]
    return "; ".join(wrong)


def _documented(paper: Any) -> str:
    """Every field of task, data and method dataclasses says what it is and of which type."""
    from omegaconf import OmegaConf

    classes = {type(method.config) for method in paper.methods.values()}
    for cls in (paper.task, paper.data, *sorted(classes, key=lambda cls: cls.__name__)):
        types = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            where = f"{cls.__name__}.{field.name}"
            if not field.metadata.get("help"):
                return f"say what {where} is: declare it with harness.setting or harness.source"
            if types[field.name] is Any:
                return f"give {where} a type other than Any"
        OmegaConf.structured(cls)
    return ""


def _tuned_alike(paper: Any) -> str:
    """A method that is tuned against baselines of its kind that are not, or less, would win by the tuning."""
    methods = paper.methods.values()
    for name, method in paper.methods.items():
        for field, grid in method.tune.items():
            if len({str(value) for value in grid}) < len(grid):
                return (
                    f"the grid of {name}.{field} repeats a value: {list(grid)}: give as many different ones"
                )
    tuned = {type(method.config) for method in methods if method.tune and not method.baseline}
    plain = [
        name
        for name, m in paper.methods.items()
        if m.baseline and not m.tune and not m.deterministic and type(m.config) in tuned
    ]
    return f"give {', '.join(plain)} a grid of the same size in tune" if plain else ""


def _borne_out(paper: Any) -> str:
    """A number said to be a claim's own quantity lies on the claimed side; only others' claims may not."""
    for claim in paper.claims:
        theirs = claim.reported
        if theirs and theirs.same and not claim.counter and not reaches(claim.contrast, theirs.value):
            asked = f"{'above' if claim.contrast.side == 'above' else 'below'} {number(claim.contrast.by)}"
            return (
                f"the claim {claim.text!r} asks to be {asked} and quotes {number(theirs.value)} as the same quantity: "
                "state another bound, quote its own number, or leave out same=True"
            )
    return ""


def _within_range(paper: Any) -> str:
    """A bound that no value of the metric can miss, or reach, decides nothing."""
    for claim in paper.claims:
        contrast = claim.contrast
        known = paper.metrics[contrast.metric].range
        if known is None or contrast.kind in ("ratio", "share"):
            continue
        low, high = (
            known if contrast.kind in ("level", "wins") else (known[0] - known[1], known[1] - known[0])
        )
        if not low <= contrast.by <= high or (
            contrast.kind in ("difference", "order") and contrast.by in (low, high)
        ):
            return f"the claim {claim.text!r} asks for {contrast.by:g}, and {contrast.metric} stays in {known}: fix one"
    return ""


def _chance(paper: Any) -> str:
    """Data of several columns hold answers beside what is asked: without them a score must fall to chance."""
    answers = [f.name for f in dataclasses.fields(paper.data) if len(f.metadata.get("columns", ())) > 1]
    if not answers or paper.chance or paper.no_chance:
        return ""
    return (
        f"data.{answers[0]} holds answers: state Paper(chance=...) with the hook scramble, "
        "or say why there is none: Paper(no_chance='...')"
    )


def _own_words(paper: Any) -> str:
    """Return what still stands as `harness new` wrote it."""
    placeholders = {"title": "Title of the paper", "authors": "Authors"}
    left = [name for name, text in placeholders.items() if getattr(paper, name) == text]
    left += [
        f"source of {c.text!r}" for c in paper.claims if c.source == "section, table or figure of the paper"
    ]
    return f"fill in {', '.join(left)}" if left else ""


def about(plugin: Any) -> str:
    """Return what the package's README or summary still says as `harness new` wrote it: no fault, but to be seen."""
    readme = Path(plugin.module.__file__).parents[1] / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    left = [f"{readme.name} ({words!r})" for words in TEMPLATE if words in text]
    left += ["the summary in pyproject.toml"] if SUMMARY in plugin.listing.summary else []
    return f"still as the template has it: {', '.join(left)}" if left else ""


def composes(plugin: Any) -> str:
    """Look at every experiment that the plugin ships: each method it names, and its first job whole."""
    from importlib import resources

    from omegaconf import OmegaConf

    from harness.sweeps import config
    from harness.sweeps.choices import offer
    from harness.sweeps.compose import compose

    offer([plugin])
    known = [f"{plugin.name}/{method}" for method in plugin.paper.methods]
    folder = resources.files(plugin.module.__name__) / "conf" / "experiment"
    files = [f for f in folder.iterdir() if f.name.endswith(".yaml")] if folder.is_dir() else []
    for file in sorted(files, key=lambda f: f.name):
        swept = OmegaConf.select(OmegaConf.create(file.read_text()), "hydra.sweeper.params.method") or ""
        methods = [name.strip() for name in swept.split(",")] if "(" not in swept else []
        wrong = [name for name in methods if name and name not in known]
        if wrong:
            return f"fix conf/experiment/{file.name}: no method {wrong[0]!r}, {nearest(wrong[0], known)}"
        words = [f"+experiment={file.name.removesuffix('.yaml')}", "budget=smoke", "seed=0"]
        try:
            jobs = compose([*words, *(f"method={name}" for name in methods[:1] if name)], multirun=True).jobs
            config.to_spec(jobs[0].cfg, plugin, resolved=False)
        except HarnessError as error:
            return f"fix conf/experiment/{file.name}: {error}"
    return ""


def near(plugin: Any, folder: Path) -> str:
    """A smoke run's sources are files or built in: it must run where there is no network."""
    from harness.sweeps.compose import compose_one

    method = next(iter(plugin.paper.methods))
    words = [f"method={plugin.name}/{method}", "budget=smoke", f"results={folder / 'results'}"]
    spec = compose_one(words, [plugin], resolved=False)
    named = {**{f"data.{name}": value for name, value in spec.data.items()}, "model": spec.model}
    far = [f"{name}={value}" for name, value in named.items() if value.startswith(("hub:", "pypi:"))]
    said = f'give budgets["smoke"] data and a model of its own instead of {", ".join(far)}'
    return said if far else ""
