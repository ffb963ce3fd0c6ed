"""Shards: the parts of a step that several processes, on one machine or on many, make at the same time.

Each shard is a stage, named by what decides its content. A process takes the next one that nobody is at, and waits
for the others at the end. So the same command, started as often as one likes on a shared folder (a Slurm array, Ray
tasks, a loop), shares the work; killed and repeated, it goes on with the shards that are missing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import filelock

from harness.tools import digest, stage


def shared(
    stages: Path,
    name: str,
    inputs: Sequence[dict[str, Any]],
    make: Callable[[int, Path], None],
    progress: Callable[[int, int], object],
) -> list[Path]:
    """Return the folder of each shard's stage; those nobody is at are made first, then the rest is waited for."""
    stages.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(inputs):
        claim = stages / f".{name}-{digest(one)[:16]}.claim"
        with contextlib.suppress(filelock.Timeout), filelock.FileLock(claim, timeout=0):
            stage(stages, name, one, lambda folder, number=number: make(number, folder))  # type: ignore[misc]
        progress(number + 1, len(inputs))
    return [
        stage(stages, name, one, lambda folder, number=number: make(number, folder))  # type: ignore[misc]
        for number, one in enumerate(inputs)
    ]
