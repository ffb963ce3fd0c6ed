"""`harness verify`: what a bundle says, recomputed and in part run again, by the installed plugin's code alone."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from harness.commands.door.answers import answer
from harness.contract.replay import verified
from harness.errors import UsageError
from harness.exchange.bundles.checking import Finding
from harness.numbers import printable
from harness.papers.plugins import load

SEEDS = 2**32
MARKS = {True: "[green]agrees[/]", False: "[red]parts [/]", None: "[yellow]open  [/]"}
UNSEEN = (
    "No verifier sees in a bundle: seeds or settings that were tried and never told; a seed that was dropped from "
    "every method; training that departs after its first steps, unless that run is drawn to be made again whole "
    "(--whole); items of a trained run whose outcome is not in the bundle; a bare number that has no items; "
    "whether the data are what their name says."
)


def show_verify(
    path: Path,
    seed: int | None,
    share: float,
    whole: bool,
    data: Sequence[str],
    results: Path,
    as_json: bool,
) -> int:
    """Verify a bundle and say what was looked at; return 0 where nothing parts, else 1."""
    if not 0 < share <= 1:
        raise UsageError(f"--share {share:g}: give a part of a run's steps, above 0 and up to 1")
    drawn = int.from_bytes(os.urandom(4)) if seed is None else seed
    if not 0 <= drawn < SEEDS:
        raise UsageError(f"--seed {drawn}: give a whole number from 0 to {SEEDS - 1:,}")
    given = _named(data)
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    if not as_json:
        console.print(
            f"seed of the draw: {drawn}. Only code of the installed plugins runs, none of the bundle."
        )
    found: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="verify-") as room, contextlib.redirect_stdout(sys.stderr):
        for finding in verified(
            path, load, Path(room).resolve(), results / "stages" / "sources",
            seed=drawn, share=share, whole=whole, data=given,
        ):  # fmt: skip
            found.append(finding)
            if not as_json:
                _show(finding, console)
    parts = [finding for finding in found if finding.ok is False]
    again = any(finding.part in ("steps", "items") for finding in found)
    if as_json:
        told = {
            "bundle": printable(path.name),
            "verified": not parts,
            "run_again": again,
            "seed": drawn,
            "share": share,
            "whole": whole,
            "findings": [finding.plain() for finding in found],
            "unseen": UNSEEN,
        }
        answer("verify", told)
        return 1 if parts else 0
    word = (
        f"{len(parts)} things part" if parts else "verified" if again else "recomputed; nothing was run again"
    )
    console.print(f"[bold]{word}[/]")
    console.print(UNSEEN)
    return 1 if parts else 0


def _named(data: Sequence[str]) -> Mapping[str, str]:
    given = dict(word.split("=", 1) for word in data if "=" in word)
    wrong = [word for word in data if "=" not in word or not all(word.split("=", 1))]
    if wrong:
        raise UsageError(f"--data {wrong[0]}: give a source and where it is here, as in --data corpus=my.txt")
    return {
        name: str(Path(where).resolve()) if Path(where).exists() else where for name, where in given.items()
    }


def _show(finding: Finding, console: Console) -> None:
    told = finding.plain()
    more = f": {told['said']}" if told["said"] else ""
    console.print(f"{MARKS[finding.ok]} {escape(told['part'])}: {escape(told['about'] + more)}")
