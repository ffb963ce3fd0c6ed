"""What the driver has decided reaches a job as plain data: one file a job, beside the sweep's journal.

A launcher carries overrides alone, so the file is named by them. A job of which there is no file (another
sweeper thought of it) decides for itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from harness.data.sources import Source
from harness.runs.files import digest, write_text
from harness.runs.journal import Sweep
from harness.runs.spec import Fit, Spec
from harness.sweeps.config import Settings, Tracking, checked

NOT_OF_A_JOB = ("hydra.", "hydra/", "sweep=", "tracking")  # what Hydra keeps apart, and the driver to itself


def folder_of(journal: Path) -> Path:
    """Return where the plans of the sweep that writes `journal` are, while it goes on."""
    return journal.with_suffix(".jobs")


def leave(sweep: Sweep, words: Sequence[str], spec: Spec, settings: Settings) -> None:
    """Write down what the job that is launched with the overrides `words` is to do."""
    spec = dataclasses.replace(spec, sweep=sweep.id)
    settings = dataclasses.replace(settings, tracking=Tracking())  # the driver's, and so is a password in it
    told = {"spec": dataclasses.asdict(spec), "settings": dataclasses.asdict(settings)}
    text = json.dumps(told, ensure_ascii=False, default=str)
    if _read(text) == (spec, settings):  # JSON cannot say all that a setting may hold
        with contextlib.suppress(OSError):  # a full disk: the job decides, and says so
            write_text(_path(sweep.journal, words), text)


def pick_up(journal: Path, words: Sequence[str]) -> tuple[Spec, Settings] | None:
    """Return what `leave` wrote for these overrides, or None where nobody planned such a job."""
    try:
        return _read(_path(journal, words).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def forget(sweep: Sweep) -> None:
    """Remove a sweep's plans: it is over."""
    shutil.rmtree(folder_of(sweep.journal), ignore_errors=True)


def _path(journal: Path, words: Sequence[str]) -> Path:
    own = sorted(word for word in words if not word.lstrip("+~").startswith(NOT_OF_A_JOB))
    return folder_of(journal) / f"{digest(own)[:16]}.json"


def _read(text: str) -> tuple[Spec, Settings]:
    told = json.loads(text)
    spec = told["spec"]
    spec["results"] = Path(spec["results"])
    spec["fit"] = Fit(**spec["fit"])
    spec["sources"] = {name: _source(plain) for name, plain in spec["sources"].items()}
    spec["model_source"] = _source(spec["model_source"]) if spec["model_source"] else None
    return Spec(**spec), checked(Settings, OmegaConf.create(told["settings"]), "the plan")


def _source(plain: dict[str, Any]) -> Source:
    renamed = tuple(tuple(pair) for pair in plain["renamed"])
    return Source(**{**plain, "path": Path(plain["path"]), "renamed": renamed})
