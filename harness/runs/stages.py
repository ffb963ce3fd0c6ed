"""Stages: steps whose outcome is kept in a folder named by what decides it, and made once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.runs.files import digest, write_json


def stage(stages: Path, name: str, inputs: Any, make: Callable[[Path], None]) -> Path:
    """Return the folder for `inputs`, calling `make(folder)` only if nobody has made it yet.

    A content-addressed cache: `inputs` holds everything that decides the content. Callers in other
    processes wait for the one that makes it; a folder appears whole or not at all.
    """
    import filelock

    folder = stage_folder(stages, name, inputs)
    if folder.is_dir():
        return folder
    stages.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        if folder.is_dir():
            return folder
        unfinished = folder.with_name(f".{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        write_json(unfinished / "stage.json", {"name": name, "inputs": inputs})
        os.rename(unfinished, folder)
    return folder


def stage_folder(stages: Path, name: str, inputs: Any) -> Path:
    """Return where the stage for `inputs` is, or would be."""
    return stages / f"{name}-{digest(inputs)[:16]}"


def stage_together(stages: Path, name: str, inputs: Any, make: Callable[[Path], None], rank: int) -> Path:
    """Return the stage's folder; if nobody has made it, every process calls `make`, and process 0's is kept."""
    folder = stage_folder(stages, name, inputs)
    if rank == 0:
        made = []

        def announced(unfinished: Path) -> None:
            made.append(_agree(True))
            make(unfinished)

        stage(stages, name, inputs, announced)
        if not made:
            _agree(False)
    elif _agree(False):
        scratch = stages / f".{folder.name}.rank-{rank}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        make(scratch)
        shutil.rmtree(scratch)
    _agree(True)  # nobody reads before it is there
    return folder


def _agree(make: bool) -> bool:
    """Return what process 0 says, in every process; all of them wait for it here."""
    from accelerate.utils import broadcast_object_list

    said = [make]
    broadcast_object_list(said, from_process=0)
    return said[0]
