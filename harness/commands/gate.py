"""`harness gate`: is this change better? One proposal of a campaign, answered by an exit code and JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from harness.sweeps.proposals import KEPT, NOT_KEPT, UNDECIDED, Terms, gate

CODES = {KEPT: 0, NOT_KEPT: 3, UNDECIDED: 4}


def show_gate(
    base: str, candidate: str, terms: Terms, results: Path, campaign: str, minutes: float, as_json: bool
) -> int:
    """Judge a proposal; print a sentence or JSON; return 0 kept, 3 not kept, 4 undecided."""

    def tell(line: str) -> None:
        print(f"harness: {line}", file=sys.stderr)

    answer = gate(base, candidate, terms, results, campaign, minutes, tell)
    if as_json:
        print(json.dumps(answer, indent=1, ensure_ascii=False, default=str))
    else:
        which = f"proposal {answer['proposal']} of {campaign}: " if campaign and "proposal" in answer else ""
        again = " (as answered before)" if answer.get("repeated") else ""
        print(f"{which}{answer['outcome']}: {answer['reason']}{again}")
    return CODES[answer["outcome"]]
