"""The contract a plugin must keep, checked by really running it at `budget=smoke`.

Each check has a name, and when it fails a sentence that says what to change. The same checks run
under `harness check <paper>` and, through `checks`, in anyone's tests.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.plugins import Plugin, load
from harness.results import Result
from harness.run import Spec, execute, open_run


@dataclass(frozen=True)
class Check:
    """One part of the contract: what was looked at, whether it holds, and what to change if not."""

    name: str
    passed: bool
    mend: str = ""


def checks(plugin: Plugin, folder: Path) -> Iterator[Check]:
    """Yield each check of `plugin`, running its methods at smoke budget under `folder`."""
    paper = plugin.paper
    assert paper is not None
    yield _check("paper() is pure", lambda: _pure(plugin))
    specs = {name: smoke_spec(plugin, name, folder / "first") for name in paper.methods}
    results: dict[str, Result] = {}
    for name, spec in specs.items():
        results[name] = execute(spec, plugin)
        yield _check(
            f"{name}: a smoke run ends with finite metrics", functools.partial(_finished, results[name])
        )
        missing = set(paper.metrics) - set(results[name].metrics) - set(results[name].measured)
        unexplained = sorted(missing - set(results[name].absent))
        if results[name].status == "finished":
            yield Check(
                f"{name}: every metric is there or its absence explained",
                not unexplained,
                f"return {', '.join(unexplained)} from evaluate, or say why not with run.absent",
            )
    for name in list(specs)[:2]:
        again = execute(smoke_spec(plugin, name, folder / "second"), plugin)
        yield Check(
            f"{name}: the same run twice gives the same numbers",
            again.metrics == results[name].metrics,
            "draw every random number from run.seed (harness.fit.seed_everything)",
        )
        if not paper.methods[name].deterministic:
            other = execute(smoke_spec(plugin, name, folder / "first", seed=1), plugin)
            yield Check(
                f"{name}: another seed gives other numbers",
                other.metrics != results[name].metrics,
                "use run.seed, or declare the method deterministic",
            )
    if plugin.implements("training_step"):
        for name, spec in specs.items():
            yield _check(
                f"{name}: a training step keeps to one device", functools.partial(_one_device, plugin, spec)
            )


def smoke_spec(plugin: Plugin, method: str, results: Path, seed: int = 0, **overrides: str) -> Spec:
    """Return the spec of a smoke run of `method` on one CPU thread, with its results under `results`."""
    from harness.compose import compose_one

    given = {"method": f"{plugin.name}/{method}", "budget": "smoke", "seed": str(seed), "device": "cpu"}
    given |= {"results": str(results), "tracking": "off", **overrides}
    return compose_one([f"{key}={value}" for key, value in given.items()], [plugin])


def _check(name: str, look: Callable[[], str]) -> Check:
    """Turn a look, which returns what to change or "", into a check; an exception is a failed one."""
    try:
        mend = look()
    except Exception as error:
        mend = f"mend what raised {type(error).__name__}: {' '.join(str(error).split())}"
    return Check(name, not mend, mend)


def _pure(plugin: Plugin) -> str:
    first, second = plugin.hook("paper")(), plugin.hook("paper")()
    same = dataclasses.replace(first) == dataclasses.replace(second)
    return "" if same else "let paper() return the same value each time"


def _finished(result: Result) -> str:
    if result.status == "finished":
        return ""
    error: dict[str, Any] = result.error or {}
    return f"mend what raised {error.get('type')}: {error.get('message')}"


def _one_device(plugin: Plugin, spec: Spec) -> str:
    """Do a training step on the meta device, where no tensor may sit elsewhere."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class OneDevice(TorchDispatchMode):
        """Refuse any operation whose tensors sit on two devices; matmul and indexing do not by themselves."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            leaves = tree_leaves((args, kwargs or {}))
            devices = {t.device.type for t in leaves if isinstance(t, torch.Tensor) and t.dim() > 0}
            if len(devices) > 1 and "copy" not in str(func):
                raise RuntimeError(f"{func} was given tensors on {' and '.join(sorted(devices))}")
            return func(*args, **(kwargs or {}))

    with OneDevice():
        plugin.hook("training_step")(run=open_run(spec, plugin), device="meta")
    return ""


def show_check(paper: str, as_json: bool) -> int:
    """Run the contract of one installed paper and print it; return 0 when all of it holds."""
    from rich.console import Console
    from rich.markup import escape

    from harness.isolate import quiet_libraries, quiet_threads

    plugin = load(paper)
    quiet_threads()
    quiet_libraries()
    console = Console(highlight=False)
    found = []
    with tempfile.TemporaryDirectory(prefix="harness-check-") as folder:
        for check in checks(plugin, Path(folder)):
            found.append(check)
            if not as_json:
                mark = "[green]ok[/]    " if check.passed else "[red]failed[/]"
                console.print(
                    mark, escape(check.name), "" if check.passed else f"\n       {escape(check.mend)}"
                )
    if as_json:
        print(json.dumps([dataclasses.asdict(check) for check in found], indent=1))
    failed = sum(not check.passed for check in found)
    if not as_json:
        console.print(f"{len(found) - failed} of {len(found)} checks passed")
    return 1 if failed else 0
