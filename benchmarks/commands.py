"""Looking around is quick: `harness papers` and `--help` against importing hydra alone, each a process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Measured, Target, command, interleaved

WHY = "typer turns options into values by pydantic, whose import is a third of the command"


def measure(toy: bool) -> Iterator[Measured]:
    """Time the console command from start to end."""
    harness = str(Path(sys.executable).with_name("harness"))
    hydra = command(sys.executable, "-c", "import hydra")
    for words in ("papers", "--help"):
        pairs = interleaved(command(harness, words), hydra, rounds=1 if toy else 15, warm=0 if toy else 1)
        yield pairs.against(f"harness {words}", 'python -c "import hydra"', Target("at most", 1.5), WHY)
