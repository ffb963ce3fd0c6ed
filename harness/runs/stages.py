"""What is made once and kept: stages, in folders named by what decides them, and a run's answers, one by one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.runs.files import digest, write_json, write_text

ANSWERS = "answers"  # the folder of what a run's evaluation has answered so far


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


def shared(
    stages: Path,
    name: str,
    inputs: Sequence[Any],
    make: Callable[[int, Path], None],
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[Path]:
    """Return the folders of a step's shards, each a stage that `make(number, folder)` fills.

    Several processes, on one machine or on many, share the work: each takes the next shard that nobody is at, and waits
    for the others at the end. So the same command may be started as often as one likes on a shared folder (a Slurm
    array, Ray tasks, a loop); killed and repeated, it goes on with the shards that are missing.
    """
    import filelock

    def made(number: int) -> Path:
        return stage(stages, name, inputs[number], lambda folder: make(number, folder))

    stages.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(inputs):
        claim = stages / f".{name}-{digest(one)[:16]}.claim"
        with contextlib.suppress(filelock.Timeout), filelock.FileLock(claim, timeout=0):
            made(number)
        progress(number + 1, len(inputs))
    return [made(number) for number in range(len(inputs))]


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


def answered(
    path: Path, number: int, answer: Callable[[int], Any], progress: Callable[[int, int], None]
) -> list[Any]:
    """Return `answer(place)` for each place below `number`, those that `path` keeps as they are.

    An answer is a line of JSON, there before the next one is asked for; the one that a kill tore is asked anew.
    """
    whole = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    write_text(path, "".join(f"{line}\n" for line in whole))
    found = [json.loads(line) for line in whole]
    with path.open("a", encoding="utf-8") as file:
        for place in range(len(found), number):
            progress(place, number)
            try:
                line = json.dumps(answer(place))
            except TypeError as error:
                raise HarnessError(
                    f"answers are kept as JSON ({error}): return numbers, text or lists"
                ) from error
            file.write(f"{line}\n")
            file.flush()
            found.append(json.loads(line))
    progress(number, number)
    return found
