"""`rerun=true` keeps a finished result until the new one is there.

A rerun is made in a folder within the run's own, `again/`. Only when it has finished, its files take the places of
those before it, `result.json` last. A rerun that fails or is killed leaves what was there; the next one goes on.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from harness.runs.files import tell, write_text
from harness.runs.locks import OWNER, alone, held
from harness.runs.results import RESULT, whole
from harness.runs.spec import AGAIN

MOVING = ".moving"  # names of the files that take others' places, kept until all have


def settle(folder: Path) -> None:
    """Put a finished rerun in the place of the run before it; what a kill left half done is done here."""
    again = folder / AGAIN
    if not (again / RESULT).exists():
        return
    with alone(folder), alone(again):
        if whole(again) is None:
            return
        if (again / MOVING).exists():
            new = json.loads((again / MOVING).read_text(encoding="utf-8"))
        else:
            new = [path.name for path in again.iterdir() if path.name not in (OWNER, RESULT)]
            write_text(again / MOVING, json.dumps(new))
        for path in folder.iterdir():
            if path.name not in (*new, OWNER, RESULT, AGAIN):
                _remove(path)
        for name in new:
            if not (again / name).exists():  # moved before the kill
                continue
            if (folder / name).is_dir():
                _remove(folder / name)
            os.replace(again / name, folder / name)
        os.replace(again / RESULT, folder / RESULT)
        shutil.rmtree(again)


def broken_off(folder: Path) -> None:
    """Tell where a rerun of a finished run came to no end: the result is that of before."""
    if (folder / AGAIN).is_dir() and not held(folder / AGAIN):
        tell(
            f"{folder}: a rerun came to no end, and the result of before stands (rerun=true goes on with it)"
        )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
