"""Compose what a command line asks for, and say in one sentence why it cannot be.

Hydra launches later; composing here first means that a typo in the ninth method of a sweep is told
before the first one runs.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from harness.errors import HarnessError, UsageError, nearest
from harness.papers.plugins import Plugin, load_all
from harness.runs.spec import Spec
from harness.sweeps import config, inside
from harness.sweeps.choices import offer
from harness.sweeps.trusted import LOCAL, refuse_code
from harness.sweeps.typed import as_typed


@dataclass(frozen=True)
class Job:
    """One job of a command: the overrides that it is launched with, and what they compose to."""

    words: tuple[str, ...]
    cfg: DictConfig


@dataclass(frozen=True)
class Composed:
    """What a command comes to: every job (none where another sweeper picks them), and the config that they share."""

    jobs: tuple[Job, ...]
    shared: DictConfig
    local: bool  # whether the runs are made on this machine, by processes of this command


def compose(overrides: list[str], multirun: bool) -> Composed:
    """Return what a command's overrides come to.

    Raises UsageError, in one sentence, for what Hydra cannot compose.
    """
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_module("harness.conf", version_base="1.3"):
        try:
            return _compose(overrides, multirun)
        except Exception as error:
            raise translated(error, overrides) from error


def _compose(overrides: list[str], multirun: bool) -> Composed:
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    whole = inside.composed(overrides, multirun)
    refuse_code(whole.hydra)
    if whole.hydra.launcher.get("n_jobs") == 0:
        raise UsageError(
            "hydra.launcher.n_jobs=0 starts nothing: give how many runs at once, or -1 for all cores"
        )
    local = not multirun or whole.hydra.launcher._target_ in LOCAL
    sweeper = whole.hydra.sweeper
    params = dict(sweeper.get("params") or {})
    if not multirun:
        if params:
            raise UsageError(
                "this experiment is a sweep: add -m ("
                + shlex.join(["harness", "run", "-m", *overrides])
                + ")"
            )
        return Composed((Job(tuple(overrides), _own(whole)),), _own(whole), local)
    if not sweeper._target_.endswith("BasicSweeper"):
        return Composed((), _own(whole), local)
    listed = [*(f"{key}={value}" for key, value in params.items()), *overrides]
    parsed = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(listed)
    given = {override.key_or_group for override in parsed[len(params) :]}
    parsed = [o for i, o in enumerate(parsed) if i >= len(params) or o.key_or_group not in given]
    combinations = inside.combinations(parsed)
    if not combinations:
        raise UsageError("this sweep has no jobs: a glob or choice in it matches nothing")
    composed: dict[tuple[str, ...], DictConfig] = {}
    jobs = []
    for words in combinations:
        rest, seed = _apart(words)
        if rest not in composed:
            one = [*rest, *([] if seed is None else [f"seed={seed}"])]
            composed[rest] = _own(inside.composed(one, multirun=False))
        cfg = copy.deepcopy(composed[rest])
        if seed is not None:
            cfg.seed = seed
        jobs.append(Job(tuple(words), cfg))
    return Composed(tuple(jobs), _own(whole), local)


def _apart(job: Sequence[str]) -> tuple[tuple[str, ...], int | None]:
    """Return a job's overrides without its seed, and the seed: jobs that differ in it are composed once."""
    seeds = [word for word in job if re.fullmatch(r"seed=\d+", word)]
    if len(seeds) != 1:
        return tuple(job), None
    return tuple(word for word in job if word != seeds[0]), int(seeds[0].removeprefix("seed="))


def _own(cfg: DictConfig) -> DictConfig:
    """Return a composed config without Hydra's own part."""
    from omegaconf import open_dict

    with open_dict(cfg):
        cfg.pop("hydra", None)
    return cfg


def compose_one(overrides: Sequence[str], plugins: list[Plugin], resolved: bool = True) -> Spec:
    """Return the spec of the one run that `overrides` describe; its data fetched if `resolved`."""
    offer(plugins)
    (job,) = compose(as_typed(overrides), multirun=False).jobs
    known = {plugin.name: plugin for plugin in plugins if plugin.paper is not None}
    return config.to_spec(job.cfg, known.get(job.cfg.get("paper")), resolved)[0]


def translated(error: Exception, arguments: Sequence[str]) -> Exception:
    """Return Hydra's complaint about a command line as one sentence with the fix."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

    if isinstance(error, HarnessError):
        return error
    if isinstance(error, OSError) and error.strerror:
        return HarnessError(
            f"{error.filename or 'a file'} cannot be used ({error.strerror}): free it or its disk"
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _not_there(error.missing_cfg_file, error.options or ())
    if isinstance(error, OverrideParseException):
        return UsageError(
            f"{error.override} cannot be read ({_one_line(error).partition(' See ')[0]}): "
            "write name=value, quoted where it holds Hydra's signs"
        )
    reason = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(reason, ConfigAttributeError | ConfigKeyError):
        return _unknown_key(reason)
    if isinstance(reason, OmegaConfBaseException) and reason.full_key:
        fix = "give a value of that kind"
        return UsageError(f"{reason.full_key}={reason.value}: {config.first_line(reason)}: {fix}")  # type: ignore[attr-defined]
    if type(error).__module__.startswith(("hydra", "omegaconf")):
        return UsageError(f"{_one_line(reason or error)}: see harness run --help")
    return UsageError(
        f"{' '.join(arguments)} cannot be composed or launched ({type(error).__name__}: {config.first_line(error)}): "
        "see harness run --help"
    )


def _not_there(asked: str, options: Sequence[str]) -> UsageError:
    """Name the nearest choice to one that a group does not have."""
    group, _, name = asked.rpartition("/")
    if asked.startswith("method/"):
        known = [f"{p.name}/{m}" for p in load_all() if p.paper for m in p.paper.methods]
        given = asked.removeprefix("method/")
        return UsageError(
            f"there is no method {given!r}: {nearest(given, known)} (`harness papers -v` lists them)"
        )
    return UsageError(f"there is no {group or 'config'} {name!r}: {nearest(name, options)}")


def _unknown_key(reason: Any) -> UsageError:
    """Name the nearest setting to one that does not exist, among those of the object that lacks it."""
    owner, _, last = str(reason.full_key).rpartition(".")
    settings = reason.object_type
    if dataclasses.is_dataclass(settings):
        known = {f.name for f in dataclasses.fields(settings)}
    else:
        known = {str(key) for key in reason.parent_node or ()}
    return UsageError(
        f"{f'{owner} has' if owner else 'there is'} no setting {last!r}: {nearest(last, known)}"
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
