"""A finished run as a folder that `SentenceTransformer(folder)` loads, with the vectors that were judged."""

from __future__ import annotations

from pathlib import Path

from harness.data.sources import resolve_model
from harness.errors import UsageError
from harness.tools import finished, rebuild
from harness_simcse.patient import patient, restore
from harness_simcse.settings import SimCSE, Task


def export(folder: Path, to: Path, weights: str = "best", trust_remote_code: bool = False) -> Path:
    """Write the encoder of the run in `folder` to the new folder `to`; return `to`.

    `weights` is "best" (the last ones where none were chosen) or "last". Raises UsageError for a run that is
    not there, or that kept no weights.
    """
    run = finished(folder, "simcse")
    if to.exists() and any(to.iterdir()):
        raise UsageError(f"{to} is not empty: name a new folder")
    output = folder / "output"
    path = output / f"{weights}.safetensors"
    path = path if path.exists() else output / "last.safetensors"
    if not path.exists():
        raise UsageError(f"{folder} kept no weights: run it again with keep=weights rerun=true")
    if not run.config["model"]:
        raise UsageError(f"{folder} is of a random model made for tests: export a run with a model=")
    results = folder.parents[3]
    model = resolve_model(run.config["model"], cache=results / "stages" / "sources")
    method, task = rebuild(SimCSE, run.config["method"]), rebuild(Task, run.config["task"])
    encoder = patient(method, task, model.path, trust_remote_code)
    restore(encoder, path)
    encoder.save(to)
    return to
