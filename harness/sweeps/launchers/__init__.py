"""Hydra's launchers that are ours: for the cores of this machine, and for a Ray cluster."""

from __future__ import annotations

from typing import Any

from hydra.plugins.launcher import Launcher


class OurLauncher(Launcher):  # type: ignore[misc]  # Hydra's own module is not typed
    """Keeps what a user asked of it, and what Hydra sets it up with, until it launches."""

    def __init__(self, **asked: Any) -> None:
        self.asked = asked

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Take what a job needs from Hydra."""
        self.context, self.task, self.config = hydra_context, task_function, config
