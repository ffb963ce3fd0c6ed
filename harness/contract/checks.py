"""The contract a plugin must keep, checked by looking at what it states and running it at `budget=smoke`.

Each check has a name, and when it fails a sentence that says what to change. Whatever the plugin does
here it does confined (`harness.contract.confine`): in a fork with an empty home, refused everything beyond this
machine. The same checks run under `harness check <paper>` and in anyone's tests (`fixture`).
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract import cheats
from harness.contract.bench import Altered, Bench
from harness.contract.confine import Seen
from harness.contract.duels import fairly
from harness.contract.elsewhere import on_another_device
from harness.contract.pieces import same_in_pieces
from harness.contract.statements import about, composes, near, statements
from harness.papers.families import members
from harness.runs.results import Result, read_result
from harness.runs.run import open_run

SMOKE_SECONDS = 10.0  # of processor time, on a slow machine


@dataclass(frozen=True)
class Check:
    """One part of the contract: what was looked at, whether it holds, and what to change if not.

    A `warning` is what may be right as it is; `void` says why a check does not apply, `untried` why nothing is known.
    """

    name: str
    passed: bool
    fix: str = ""
    warning: str = ""
    void: str = ""
    untried: str = ""


def checks(plugin: Any, folder: Path, every: bool = False) -> Iterator[Check]:
    """Yield each check of `plugin`, running its methods at smoke budget under `folder`.

    What takes several runs of a method is done for the first claim's method and its baseline, or for `every` method.
    """
    for name, look in statements(plugin):
        yield _check(name, look)
    yield Check("its README and summary speak of this paper", True, warning=about(plugin))
    yield _check("its experiments name methods and settings that exist", lambda: composes(plugin))
    yield _check("smoke data are here, or made here", lambda: near(plugin, folder))
    bench = Bench(plugin, folder)
    results: dict[str, Result] = {}
    for method in plugin.paper.methods:
        train = cheats.watching(plugin, bench.watched(method))
        result, seen = bench.run(method, "first", plugin=Altered(plugin, train=train))
        yield _check(
            f"{method}: a smoke run ends with finite metrics", functools.partial(_finished, result, seen)
        )
        if result is not None and result.status == "finished":
            results[method] = result
            yield _check(
                f"{method}: every metric is there or its absence explained",
                functools.partial(_complete, plugin, result),
            )
    yield _check("a smoke run takes a second or two", lambda: _quick(bench.seen))
    if results:
        yield _check("its code is recorded with its runs", lambda: _recorded(plugin, results))
        if plugin.implements("prepare"):
            yield _check("prepare leaves the same files again, offline", lambda: _prepares(bench))
            yield _check("prepare cannot see the method", lambda: _blind(bench))
        else:
            yield Check("prepare is repeatable and blind", True, void="there is no prepare")
    chosen = [name for name in (plugin.paper.methods if every else leading(plugin.paper)) if name in results]
    outcomes: dict[str, cheats.Outcome] = {}
    for method in chosen:
        yield from _whole(bench, method, results[method])
        again = functools.partial(_evaluated, bench, method, outcomes)
        yield _check(f"{method}: evaluated again, it gives the same", again)
        if method in outcomes and not plugin.paper.methods[method].deterministic:
            look = functools.partial(_moves, bench, method, outcomes)
            yield _check(f"{method}: every claimed metric moves with the seed", look)
    for name, look in fairly(bench, list(results)):
        yield _check(name, look)
    for name, look in cheats.examined(bench, outcomes):
        yield _check(name, look)
    yield Check("items that hang together are grouped", True, warning=cheats.together(outcomes))
    given = {m: cheats.consumed(result, bench.watched(m)) for m, result in results.items()}
    for name, fix in cheats.fed(plugin.paper, given) if plugin.implements("train") else ():
        yield Check(name, not fix, fix)
    if not plugin.implements("train"):
        nothing = "there is no train: no rows are met, no baseline is given fewer, no step is taken"
        yield Check("training is fair and keeps to its data", True, void=nothing)
    for method in plugin.paper.methods:
        yield from _elsewhere(bench, method, results.get(method))
    files = sorted({file for seen in bench.seen for file in seen.files})
    yield Check(
        "nothing is left outside its folders",
        not files,
        f"write under data_dir, run.output_dir or run.stage instead of {', '.join(files[:3])}",
    )
    addresses = sorted({address for seen in bench.seen for address in seen.addresses})
    yield Check(
        "no socket leads beyond this machine",
        not addresses,
        f"use local data and a tiny random model at budget=smoke instead of reaching {', '.join(addresses[:3])}",
    )


def leading(paper: Any) -> list[str]:
    """Return the first claim's method and its baseline; what takes several runs is tried on them."""
    contrasts = [claim.contrast for claim in paper.claims] or []
    methods = [name for contrast in contrasts for name in contrast.methods] + list(paper.methods)
    own = next(
        (n for n in methods if not paper.methods[n].baseline and not paper.methods[n].deterministic),
        methods[0],
    )
    rivals = [n for c in contrasts if own in c.methods for n in c.methods] + list(paper.methods)
    others = [n for n in rivals if n != own]
    trained = [n for n in others if paper.methods[n].baseline and not paper.methods[n].deterministic]
    return [own, *(trained or others)[:1]]


def _evaluated(bench: Bench, method: str, outcomes: dict[str, cheats.Outcome]) -> str:
    outcomes[method] = cheats.outcome(bench, method)
    again = read_result(bench.spec(method, "first").folder)
    assert again is not None
    differ = [m for m, value in outcomes[method].metrics.items() if again.metrics.get(m) != value]
    said = (
        f"read all that evaluate needs from run.output_dir and run.data_dir: {', '.join(differ[:3])} differ"
    )
    return said if differ else ""


def _moves(bench: Bench, method: str, outcomes: Mapping[str, cheats.Outcome]) -> str:
    """Compare with another seed; where something stands still, with two more, since chance may do that once."""
    said = ""
    for seed in (1, 2, 3):
        if seed > 1:
            bench.run(method, "first", seed)
        other = cheats.outcome(bench, method, seed=seed)
        said = cheats.moves(bench.plugin.paper, method, outcomes[method], other)
        if not said:
            return ""
    return said


def _whole(bench: Bench, method: str, first: Result) -> Iterator[Check]:
    """Yield what takes several runs of a method: repetition, another seed, a kill, scrambled data."""
    paper = bench.plugin.paper
    again = bench.run(method, "second")[0]
    yield Check(
        f"{method}: the same run twice gives the same numbers",
        again is not None and again.metrics == first.metrics,
        "draw every random number from run.seed (harness.fit.seed_everything)",
    )
    if not paper.methods[method].deterministic:
        other = bench.run(method, "first", seed=1)[0]
        yield Check(
            f"{method}: another seed gives other numbers",
            other is not None and other.metrics != first.metrics,
            "use run.seed, or declare the method deterministic",
        )
    yield _resumes(bench, method, first)
    if bench.plugin.implements("train"):
        yield _check(
            f"{method}: fit.micro_batch is the same training in pieces",
            lambda: same_in_pieces(bench, method),
        )
    if paper.chance:
        yield _check(f"{method}: scrambled data score at chance", lambda: _at_chance(bench, method))


def _check(name: str, look: Callable[[], str]) -> Check:
    """Turn a look, which returns what to change or "", into a check; an exception is a failed one."""
    try:
        fix = look()
    except Exception as error:
        fix = f"fix what raised {type(error).__name__}: {' '.join(str(error).split())}"
    return Check(name, not fix, fix)


def _finished(result: Result | None, seen: Seen) -> str:
    if result is None:
        return f"fix what ended its process ({seen.error or f'exit code {seen.exit_code}'})"
    if result.status == "finished":
        return ""
    error: dict[str, Any] = result.error or {}
    return f"fix what raised {error.get('type')}: {error.get('message')}"


def _complete(plugin: Any, result: Result) -> str:
    declared = members(plugin.paper.metrics, result.config["task"])
    missing = (
        {name for name, metric in declared.items() if not metric.judged and not metric.versus}
        - set(result.metrics)
        - set(result.measured)
        - set(result.absent)
    )
    said = f"return {', '.join(sorted(missing))} from evaluate, or say why not with run.absent"
    return said if missing else ""


def _quick(seen: list[Seen]) -> str:
    """Look at all runs but the first, which may compile what the others find."""
    slowest = max((one.seconds for one in seen[1:]), default=0.0)
    said = f'one took {slowest:.0f} s of processor time: shrink the task in budgets["smoke"]'
    return said if slowest > SMOKE_SECONDS else ""


def _recorded(plugin: Any, results: Mapping[str, Result]) -> str:
    """Runs made by other code are told by the definitions they used, of packages named harness or harness_*."""
    package = plugin.module.__name__
    used = next(iter(results.values())).code.get("definitions", {})
    known = any(name.partition(":")[0].partition(".")[0] == package for name in used)
    return "" if known else f"call its package harness_<name> instead of {package}"


def _prepares(bench: Bench) -> str:
    """Prepare a second time, elsewhere, and compare what came of it file by file."""

    spec = bench.spec(next(iter(bench.plugin.paper.methods)), "first")
    again = bench.folder / "results" / "prepared-again"
    again.mkdir()
    run = open_run(spec, bench.plugin)
    prepare = bench.plugin.hook("prepare")
    seen = bench.confined(lambda: prepare(task=run.task, data=run.data, model=run.model, data_dir=again))
    if seen.error or seen.exit_code:
        return f"keep prepare repeatable and off the network; it raised {seen.error or seen.exit_code}"
    differ = _differ(bench.prepared(spec), again)
    shutil.rmtree(again)
    said = f"let prepare depend on its arguments alone (no time, no chance): {', '.join(differ[:3])} changed"
    return said if differ else ""


def _blind(bench: Bench) -> str:
    """Prepare in a run of another method, and compare with what the first method's run was given."""
    first, *_, other = bench.plugin.paper.methods
    nothing: dict[str, Callable[..., Any]] = {"train": lambda run: None, "evaluate": lambda run, split: {}}
    result, seen = bench.run(other, "blind", plugin=Altered(bench.plugin, **nothing))
    if result is None or result.status != "finished":
        return _finished(result, seen)
    differ = _differ(bench.prepared(bench.spec(first, "first")), bench.prepared(bench.spec(other, "blind")))
    said = (
        f"{', '.join(differ[:3])} differ between {first} and {other}: take from prepare what looks at the method, "
        "the command line or the environment"
    )
    return said if differ else ""


def _differ(one: Path, other: Path) -> list[str]:
    """Return the files that are not the same in two prepared folders, by name."""
    from harness.runs.files import digest

    def content(folder: Path) -> dict[str, str]:
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "stage.json")
        return {str(p.relative_to(folder)): digest(p.read_bytes().hex()) for p in paths}

    before, after = content(one), content(other)
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _resumes(bench: Bench, method: str, first: Result) -> Check:
    """Kill a run in the middle of its training, and again among the answers of its evaluation; bring it to its end."""
    plugin, name = bench.plugin, f"{method}: killed, it goes on to the same numbers"

    def killing(run: Any, note: str = "") -> None:
        def progress(done: int, total: int, **values: Any) -> None:
            begun = not note and run.checkpoint.is_dir() and any(run.checkpoint.iterdir())
            if 0 < done < total and (begun or 2 * done >= total):
                os.kill(os.getpid(), signal.SIGKILL)

        run.progress = progress

    def train(run: Any) -> None:
        run.fit = functools.partial(run.fit, log_every=1)  # a look, and so a checkpoint, after each step
        killing(run)
        plugin.hook("train")(run=run)

    def begun(run: Any, split: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def evaluate(run: Any, split: str) -> Any:
        killing(run, "evaluate")
        return plugin.hook("evaluate")(run=run, split=split)

    trains = plugin.implements("train")
    if trains:
        result, seen = bench.run(method, "killed", plugin=Altered(plugin, train=train, evaluate=begun))
        if seen.exit_code != -signal.SIGKILL:
            fix = _finished(result, seen) or "let evaluate run once train is done"
            return Check(name, False, fix)
    result, seen = bench.run(method, "killed", plugin=Altered(plugin, evaluate=evaluate))
    if seen.exit_code == -signal.SIGKILL:
        result, seen = bench.run(method, "killed")
    elif not trains:
        return Check(name, True, void="there is no train, and evaluate does not go through run.each")
    fix = ""
    if result is None or result.status != "finished":
        fix = f"let train begin anew or go on when run.output_dir is not empty; {_finished(result, seen)}"
    elif result.metrics != first.metrics:
        fix = "train with run.fit, evaluate with run.each, or keep in run.checkpoint all that decides what comes next"
    return Check(name, not fix, fix)


def _at_chance(bench: Bench, method: str) -> str:
    """Run on data whose answers the plugin has scrambled, and compare with what it calls chance."""
    plugin = bench.plugin
    if not plugin.implements("scramble"):
        return "implement the hook scramble, which cuts the answers out of data_dir, or state no chance"

    def prepare(task: Any, data: Any, model: Any, data_dir: Path) -> None:
        plugin.hook("prepare")(task=task, data=data, model=model, data_dir=data_dir)
        plugin.hook("scramble")(task=task, data_dir=data_dir, seed=0)

    result, seen = bench.run(method, "scrambled", plugin=Altered(plugin, prepare=prepare))
    if result is None or result.status != "finished":
        return _finished(result, seen)
    for name, (low, high) in plugin.paper.chance.items():
        value = result.metrics.get(name)
        if value is not None and not low <= value <= high:
            return (
                f"{name} is {value:.3g} on scrambled data where chance lies in [{low:g}, {high:g}]: "
                "keep test answers out of train and evaluate, or fix scramble"
            )
    return ""


def _elsewhere(bench: Bench, method: str, first: Result | None) -> Iterator[Check]:
    """Yield what a run on the pretend device shows; where there is none, what a step on the meta device does."""
    same, step = (
        f"{method}: on another device it gives the same",
        f"{method}: a training step waits for no copy",
    )
    found = on_another_device(bench, method, first) if first else None
    if found is not None:
        yield Check(same, not found.differs, found.differs, untried=found.untried)
    if found is not None and found.finished and bench.plugin.implements("train"):
        yield Check(step, not found.copies, found.copies, warning=found.told)
    if (found is None or found.untried) and bench.plugin.implements("training_step"):
        look = functools.partial(_one_device, bench, method)
        yield _check(f"{method}: a training step keeps to one device", look)


def _one_device(bench: Bench, method: str) -> str:
    """Do a training step on the meta device, where no tensor may sit elsewhere and none has a value."""
    from harness.contract.meta import step_on_meta

    spec = bench.spec(method, "first")
    seen = bench.confined(lambda: step_on_meta(bench.plugin, open_run(spec, bench.plugin)))
    return seen.error.removeprefix("OffDevice: ")
