"""What Hydra's own settings may say: they name code, so only what Hydra, its plugins and `conf/` ship is let through.

A launcher, a sweeper and a sampler are exact names at exact places. There are no callbacks, nothing is put into a
job's environment, and no interpolation stands here that was not shipped: one could hide a name until it is resolved.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from harness.errors import UsageError

# The harness's own, under names that Hydra takes.
CORES, RAY = "hydra_plugins.harness.CoresLauncher", "hydra_plugins.harness.RayLauncher"
LOCAL = (
    CORES,
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
)
LAUNCHERS = (
    *LOCAL,
    RAY,
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
)
SWEEPERS = (
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper",
)
SAMPLERS = tuple(
    f"optuna.samplers.{name}Sampler" for name in ("CmaEs", "Grid", "MOTPE", "NSGAII", "Random", "TPE")
)
NAMED = {
    "hydra.launcher._target_": LAUNCHERS,
    "hydra.sweeper._target_": SWEEPERS,
    "hydra.sweeper.sampler._target_": SAMPLERS,
}
SHIPPED = {
    "hydra.launcher.n_jobs": "${jobs:}",
    "hydra.launcher.name": "${hydra.job.name}",
    "hydra.launcher.submitit_folder": "${hydra.sweep.dir}/.submitit/%j",
    "hydra.sweep.dir": "${results}/sweeps",
    "hydra.job_logging.handlers.file.filename": "${hydra.runtime.output_dir}/${hydra.job.name}.log",
}
PROSE = (
    "hydra.help",
    "hydra.hydra_help",
    "hydra.overrides",
    "hydra.runtime",
)  # read by people, never acted on
NEVER = {
    "callbacks": "hydra.callbacks are code: read the run folders instead",
    "env_set": "hydra.job.env_set reaches into other processes: set the variable before `harness run`",
}
FLAGS = {
    "config_dir": "--config-dir: name the folder by 'hydra.searchpath=[file:///folder]'",
    "config_path": "--config-path: the settings are the harness's own; name a folder by hydra.searchpath",
    "config_name": "--config-name: the settings are the harness's own; write yours as an experiment",
    "experimental_rerun": "--experimental-rerun reads a pickle: repeat the command instead",
}


def refuse_code(hydra: DictConfig) -> None:
    """Raise UsageError where a part of Hydra's own settings names code, or may come to."""
    node: Any = OmegaConf.to_container(hydra, resolve=False)
    for name, held in (("callbacks", node.get("callbacks")), ("env_set", node.get("job", {}).get("env_set"))):
        if held:
            raise UsageError(NEVER[name])
    _look(node, "hydra")


def refuse_flags(flags: argparse.Namespace) -> None:
    """Raise UsageError for a flag of Hydra's that would bring settings, or code, past these checks."""
    for name, said in FLAGS.items():
        if getattr(flags, name, None):
            raise UsageError(said)


def refuse_asked(arguments: Sequence[str]) -> None:
    """Raise UsageError where a question (`--help`, `--cfg`) is asked with settings of Hydra's own beside it."""
    for argument in arguments:
        if argument.lstrip("+~").startswith(("hydra.", "hydra/")):
            raise UsageError(f"{argument}: ask without settings of Hydra's own")


def _look(value: Any, where: str) -> None:
    if where in PROSE:
        return
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _look(inner, f"{where}.{key}")
            if key in ("_target_", "()", "class") and inner not in NAMED.get(f"{where}.{key}", ()):
                raise UsageError(f"{where}.{key}={inner} names code, which no setting may: take it out")
    elif isinstance(value, str) and "${" in value and SHIPPED.get(where) != value:
        raise UsageError(
            f"{where}={value} is an interpolation, which may hide a name of code: write its value"
        )
