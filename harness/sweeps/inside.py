"""What is taken from inside Hydra, its joblib launcher and joblib, one function each: no public name gives it.

Checked with hydra-core 1.3.8, hydra-joblib-launcher 1.2.0 and joblib 1.6.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from omegaconf import DictConfig


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser that `hydra.main` reads a command line with."""
    from hydra._internal.utils import get_args_parser

    parser: argparse.ArgumentParser = get_args_parser()
    return parser


def combinations(overrides: Sequence[Any]) -> list[list[str]]:
    """Return the overrides of every job that Hydra's own sweeper makes of a sweep's parsed `overrides`."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    return [job for batch in BasicSweeper.split_arguments(list(overrides), None) for job in batch]


@contextlib.contextmanager
def launching_at_once() -> Iterator[None]:
    """Let Hydra's own sweeper launch its jobs without composing each of them before: the plan has (65 ms a job)."""
    from hydra.core.plugins import Plugins

    Plugins.instance()  # which loads its modules anew, and so the class
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    sweeper: Any = BasicSweeper
    sweeper.validate_batch_is_legal = lambda self, batch: None
    try:
        yield
    finally:
        with contextlib.suppress(AttributeError):  # another thread's sweep has given it back
            del sweeper.validate_batch_is_legal  # its parent's is seen again


def begin_workers_with(first: Callable[..., None], given: Callable[[], tuple[Any, ...]]) -> None:
    """Let each of joblib's worker processes call `first` first, with what `given()` is at their start."""
    import joblib
    from joblib.parallel import LokyBackend

    def loky(**settings: Any) -> Any:
        return LokyBackend(initializer=first, initargs=given(), **settings)

    joblib.register_parallel_backend("loky", loky)


def execute_job(*parts: Any) -> Any:
    """Make one job in the process of a launcher, as Hydra's joblib launcher does; return what Hydra wants of it."""
    from hydra_plugins.hydra_joblib_launcher._core import execute_job

    return execute_job(*parts)


def offer_launcher(name: str, launcher: type) -> None:
    """Let Hydra find a launcher by a name below `hydra_plugins`: it takes none from elsewhere."""
    from hydra.core.plugins import Plugins

    Plugins.instance().class_name_to_class[name] = launcher


def composed(overrides: list[str], multirun: bool) -> DictConfig:
    """Return the config of `overrides` with Hydra's own part, as `hydra.main` composes it before it launches.

    `hydra.compose` refuses the overrides of a sweep.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    mode = RunMode.MULTIRUN if multirun else RunMode.RUN
    config: DictConfig = hydra.compose_config(
        "config", overrides, run_mode=mode, from_shell=True, with_log_configuration=False
    )
    return config
