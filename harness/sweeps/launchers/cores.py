"""Hydra's launcher for this machine: a run a core, or a run a GPU where there are GPUs.

A thread of the driver asks the fork server for each run and waits for it: no process stands between the two,
and what the plan has composed is not composed once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from harness.runs import served
from harness.runs.leases import cores
from harness.runs.threads import at_once
from harness.sweeps.config import checked
from harness.sweeps.launchers import OurLauncher


@dataclass
class Asked:
    """How many runs go on at once; below zero as in joblib: -1 for all cores, -2 for all but one."""

    n_jobs: int = 1

    @property
    def count(self) -> int:
        """The number itself."""
        return self.n_jobs if self.n_jobs > 0 else max(len(cores()) + 1 + self.n_jobs, 1)


class CoresLauncher(OurLauncher):
    """Makes the jobs of a sweep from threads of this process."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        """Return what each job returned, when all are over."""
        from hydra.core.utils import JobReturn, JobStatus

        asked = checked(Asked, OmegaConf.create(self.asked), "hydra.launcher")
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)  # where a sweeper may write

        def composed(words: Sequence[str]) -> Any:
            return self.context.config_loader.load_sweep_config(self.config, list(words))

        jobs = [self.task.decided(self.config, words, partial(composed, words)) for words in job_overrides]
        isolated = all(job.isolated for job in jobs)
        if isolated:
            served.begun()  # by this thread, which outlives the others
        returned = at_once(jobs, asked.count if isolated else 1)
        return [
            JobReturn(overrides=words, status=JobStatus.COMPLETED, _return_value=value)
            for words, value in zip(job_overrides, returned, strict=True)
        ]
