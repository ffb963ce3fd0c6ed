"""Twenty runs of one second: `harness run -m`, each isolated and mirrored, beside Hydra's joblib launcher.

The peer calls mlflow in its jobs and keeps joblib's workers for all of them, so it isolates nothing. Both begin with
an empty folder and an empty store, use as many jobs as there are cores, and are timed from command to end.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import papers
from benchmarks.measuring import ROOT, Measured, Target, command, interleaved

WHY = (
    "from a profile on one core: of what is not the runs' own, the fork server's imports (torch, transformers, "
    "accelerate, pandas; four seconds of a processor) are 28 %, opening a fresh store (mlflow and its migrations, "
    "which the peer pays as well) 33 %, and the rest is composing, launching, watching and 0.15 s a run for a process "
    "of its own"
)


def measure(toy: bool) -> Iterator[Measured]:
    """Time both sweeps whole, and check that as many runs are in both stores."""
    runs, seconds = (2, 0.1) if toy else (20, 1.0)
    jobs = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with tempfile.TemporaryDirectory() as room:
        papers.pause(Path(room) / "packages")
        environ = {"PYTHONPATH": f"{room}/packages", "HARNESS_LEASES": f"{room}/leases"}
        number = iter(range(1000))

        def fresh(side: str) -> Path:
            folder = Path(room) / f"{side}-{next(number)}"
            folder.mkdir()
            return folder

        def ours() -> None:
            folder = fresh("ours")
            harness = str(Path(sys.executable).with_name("harness"))
            words = ("method=pause/pause", f"seed=range(0,{runs})", f"task.seconds={seconds}", "device=cpu")
            command(harness, "run", "-m", *words, cwd=folder, **environ)()
            counted(folder / "results" / "mlflow.db", runs)

        def theirs() -> None:
            folder = fresh("theirs")
            words = (f"seed=range(0,{runs})", f"seconds={seconds}", f"store=sqlite:///{folder}/mlflow.db")
            launcher = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}")
            program = str(ROOT / "benchmarks" / "peers" / "sweep.py")
            command(sys.executable, program, "-m", *words, *launcher, cwd=folder, **environ)()
            counted(folder / "mlflow.db", runs)

        pairs = interleaved(ours, theirs, rounds=1 if toy else 5, warm=0)
    what = f"a sweep of {runs} one-second runs, isolated, {jobs} at once"
    yield pairs.against(what, "Hydra's joblib launcher with plain mlflow calls", Target("at most", 1.0), WHY)


def counted(store: Path, runs: int) -> None:
    """Raise RuntimeError where a store does not hold so many finished runs that logged a score."""
    with sqlite3.connect(store) as held:
        asked = (
            "SELECT count(DISTINCT run_uuid) FROM runs JOIN metrics m USING (run_uuid) "
            "WHERE m.key IN ('score', 'test/score')"
        )
        (found,) = held.execute(asked).fetchone()
    if found != runs:
        raise RuntimeError(f"{store} holds {found} runs with a score, not {runs}")
