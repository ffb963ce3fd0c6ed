"""`harness decide`: seeds until a paper's claims are decided, by looks that were declared beforehand."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence

from rich.console import Console

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
    answer = decide(asked, looks, most, minutes, spending, power, command, tell)
    if as_json:
        print(json.dumps(_plain(answer), indent=1, ensure_ascii=False, default=str))
    else:
        console = Console()
        if answer.card:
            to_terminal([answer.card], console)
        for line in _closing(answer):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 4 if answer.left else 0


def _plain(answer: Answer) -> dict[str, object]:
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
