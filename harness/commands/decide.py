"""`harness decide`: seeds until a paper's claims are decided, by looks that were declared beforehand."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from harness.commands.door.answers import lines
from harness.reports.terminal import to_terminal
from harness.sweeps.referee import Answer, decide, question, takes


def show_decide(
    overrides: Sequence[str],
    looks: Sequence[int],
    most: int,
    minutes: float | None,
    claims: Sequence[str],
    spending: str,
    power: float,
    as_json: bool,
) -> int:
    """Decide what the overrides ask, tell each look as it comes; return 0 when every claim is decided, else 4."""

    def tell(line: str) -> None:
        print(f"harness: {line}", file=sys.stderr)

    asked = question(overrides, claims)
    command = shlex.join(["harness", "decide", *overrides])
    if as_json:
        with lines("decide") as heard:
            answer = decide(asked, looks, most, minutes, spending, power, command, tell, heard)
            heard({"event": "ended", **plain(answer), "exit_code": 4 if answer.left else 0})
        return 4 if answer.left else 0
    answer = decide(asked, looks, most, minutes, spending, power, command, tell)
    console = Console()
    if answer.card:
        to_terminal([answer.card], console)
    for line in _closing(answer):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 4 if answer.left else 0


def plain(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain data: its plan, looks, what is open and why, and the scorecard."""
    return {
        "plan": {
            "looks": answer.plan.looks,
            "spending": answer.plan.spending,
            "date": answer.plan.date,
            "changed": answer.plan.changed,
        },
        "looks": answer.looks,
        "runs": len(answer.started),
        "stopped": answer.stopped,
        "open": [
            {"claim": text, "why": why, "takes": answer.takes.get(text)} for text, why in answer.left.items()
        ],
        "scorecard": answer.card,
    }


def _closing(answer: Answer) -> list[str]:
    lines = [f"{len(answer.started)} runs were started; {answer.stopped}."]
    for text, why in answer.left.items():
        told = answer.takes.get(text)
        lines.append(f"open: {text}: {why}{f'; {takes(told)}' if told else ''}.")
    return lines
