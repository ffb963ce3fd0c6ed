"""`harness gate`: is this change better? One proposal of a campaign, answered by an exit code and JSON."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.commands.door.answers import lines
from harness.sweeps.proposals import KEPT, NOT_KEPT, UNDECIDED, Terms, gate

CODES = {KEPT: 0, NOT_KEPT: 3, UNDECIDED: 4}


def show_gate(
    base: str, candidate: str, terms: Terms, results: Path, campaign: str, minutes: float, as_json: bool
) -> int:
    """Judge a proposal; print a sentence, or JSON as it goes; return 0 kept, 3 not kept, 4 undecided."""

    def tell(line: str) -> None:
        print(f"harness: {line}", file=sys.stderr)

    if as_json:
        with lines("gate") as heard:
            answer = gate(base, candidate, terms, results, campaign, minutes, tell, heard)
            heard({"event": "ended", **answer, "exit_code": CODES[answer["outcome"]]})
    else:
        answer = gate(base, candidate, terms, results, campaign, minutes, tell)
        which = f"proposal {answer['proposal']} of {campaign}: " if campaign and "proposal" in answer else ""
        again = " (as answered before)" if answer.get("repeated") else ""
        print(f"{which}{answer['outcome']}: {answer['reason']}{again}")
    return CODES[answer["outcome"]]
