"""A sweep and its journal: who its jobs are, and a line for each that ended."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.runs.files import append_line, read_lines
from harness.runs.results import Result
from harness.runs.spec import Spec


@dataclass(frozen=True)
class Sweep:
    """What the driver knows of a command before anything is launched."""

    id: str
    command: str
    results: Path
    uri: str
    specs: tuple[Spec, ...]  # empty where a sweeper chooses the jobs as it goes

    @property
    def papers(self) -> tuple[str, ...]:
        """The papers of the sweep, in order of first appearance."""
        return tuple(dict.fromkeys(spec.paper for spec in self.specs))

    @property
    def journal(self) -> Path:
        """Where jobs note how they ended, one line each, appended whole."""
        return self.results / "sweeps" / f"{self.id}.jsonl"

    @property
    def lock(self) -> Path:
        """What the sweep's driver holds: there and free means that it was killed."""
        return self.results / "sweeps" / f"{self.id}.lock"


def note(journal: Path, asked: str, spec: Spec, result: Result, outcome: str) -> None:
    """Append to the sweep's journal how one job ended; `asked` is the key before any tuning."""
    line = {
        "asked": asked,
        "title": spec.title,
        "paper": spec.paper,
        "method": spec.name,
        "seed": spec.seed,
        "run_key": spec.run_key,
        "folder": str(spec.folder),
        "outcome": outcome,
        "error": {k: v for k, v in (result.error or {}).items() if k != "log"} or None,
        "seconds": result.timings.get("total", 0.0),
    }
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        append_line(journal, line)
    except OSError as error:
        said = (result.error or {}).get("message", result.status)
        print(
            f"harness: {spec.title}: {said} ({journal} cannot be written: {error.strerror})", file=sys.stderr
        )


def read_journal(journal: Path) -> list[dict[str, Any]]:
    """Return how a sweep's jobs ended so far."""
    return read_lines(journal, ("asked", "title", "paper", "run_key", "folder", "outcome", "error"))
