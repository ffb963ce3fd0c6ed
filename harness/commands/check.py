"""`harness check`: does a plugin keep the contract?"""

from __future__ import annotations

import dataclasses
import tempfile
from contextlib import nullcontext
from pathlib import Path

from harness.commands.door.answers import alone, answer
from harness.contract.checks import checks
from harness.papers.plugins import load


def show_check(paper: str, as_json: bool, every: bool = False) -> int:
    """Run the contract of one installed paper and print it; return 0 when all of it holds."""
    from rich.console import Console
    from rich.markup import escape

    from harness.runs.isolate import quiet_libraries, quiet_threads

    plugin = load(paper)
    quiet_threads()
    quiet_libraries()
    console = Console(highlight=False)
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="harness-check-") as folder,
        alone() if as_json else nullcontext(),
    ):
        for check in checks(plugin, Path(folder), every):
            found.append(check)
            if not as_json:
                mark = "[green]ok[/]    " if check.passed else "[red]failed[/]"
                if check.warning:
                    mark = "[yellow]look[/]  "
                if check.void:
                    mark = "[dim]void[/]  "
                if check.untried:
                    mark = "[dim]not tried[/]"
                said = (check.warning or check.void or check.untried) if check.passed else check.fix
                console.print(mark, escape(check.name), f"\n       {escape(said)}" if said else "")
    if as_json:
        answer("check", [dataclasses.asdict(check) for check in found])
    failed = sum(not check.passed for check in found)
    if not as_json:
        void, untried = (sum(bool(getattr(check, what)) for check in found) for what in ("void", "untried"))
        does_not = f"; {void} do not apply" if void > 1 else "; one does not apply" if void else ""
        was_not = f"; {untried} not tried" if untried else ""
        made = len(found) - void - untried
        console.print(f"{made - failed} of {made} checks passed{does_not}{was_not}")
    return 1 if failed else 0
