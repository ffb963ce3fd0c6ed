"""Compose what a command line asks for, and say in one sentence why it cannot be.

Hydra launches later and composes again; composing here first means that a typo in the ninth method
of a sweep is told before the first one runs.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig

from harness.errors import HarnessError, UsageError, nearest
from harness.papers.plugins import Plugin, load_all
from harness.runs.spec import Spec
from harness.sweeps import config


def compose(overrides: list[str], multirun: bool) -> tuple[list[DictConfig], DictConfig]:
    """Return the config of every job (none where another sweeper picks them), and the shared one.

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


def _compose(overrides: list[str], multirun: bool) -> tuple[list[DictConfig], DictConfig]:
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.types import RunMode

    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    mode = RunMode.MULTIRUN if multirun else RunMode.RUN
    whole = hydra.compose_config(
        "config", overrides, run_mode=mode, from_shell=True, with_log_configuration=False
    )
    _names_no_code(whole.hydra)
    sweeper = whole.hydra.sweeper
    params = dict(sweeper.get("params") or {})
    if not multirun:
        if params:
            raise UsageError(
                "this experiment is a sweep: add -m (harness run -m " + " ".join(overrides) + ")"
            )
        return [_own(whole)], _own(whole)
    if not sweeper._target_.endswith("BasicSweeper"):
        return [], _own(whole)
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    listed = [*(f"{key}={value}" for key, value in params.items()), *overrides]
    parsed = OverridesParser.create(hydra.config_loader).parse_overrides(listed)
    given = {override.key_or_group for override in parsed[len(params) :]}
    parsed = [o for i, o in enumerate(parsed) if i >= len(params) or o.key_or_group not in given]
    batches = BasicSweeper.split_arguments(parsed, None)
    combinations = [job for batch in batches for job in batch]
    if not combinations:
        raise UsageError("this sweep has no jobs: a glob or choice in it matches nothing")
    composed: dict[tuple[str, ...], DictConfig] = {}
    jobs = []
    for job in combinations:
        rest, seed = _apart(job)
        if rest not in composed:
            words = [*rest, *([] if seed is None else [f"seed={seed}"])]
            composed[rest] = _own(
                hydra.compose_config(
                    "config", words, run_mode=RunMode.RUN, from_shell=False, with_log_configuration=False
                )
            )
        cfg = copy.deepcopy(composed[rest])
        if seed is not None:
            cfg.seed = seed
        jobs.append(cfg)
    return jobs, _own(whole)


def _apart(job: Sequence[str]) -> tuple[tuple[str, ...], int | None]:
    """Return a job's overrides without its seed, and the seed: jobs that differ in it are composed once."""
    seeds = [word for word in job if re.fullmatch(r"seed=\d+", word)]
    if len(seeds) != 1:
        return tuple(job), None
    return tuple(word for word in job if word != seeds[0]), int(seeds[0].removeprefix("seed="))


OWN_CODE = ("hydra._internal.", "hydra_plugins.", "hydra.experimental.", "harness.", "optuna.samplers.")


def _names_no_code(node: Any, where: str = "hydra") -> None:
    """Refuse a part of Hydra's own settings that would have it call code other than its launchers and sweepers."""
    items: Any = (
        node.items_ex(resolve=False) if isinstance(node, DictConfig) else enumerate(node._iter_ex(False))
    )
    for key, value in items:
        if key in ("_target_", "()", "class") and not str(value).startswith(OWN_CODE):
            raise UsageError(f"{where}.{key}={value} names code, which no setting may: take it out")
        if (
            isinstance(value, DictConfig | ListConfig)
            and not value._is_none()
            and not value._is_interpolation()
        ):
            _names_no_code(value, f"{where}.{key}")


def _own(cfg: DictConfig) -> DictConfig:
    """Return a composed config without Hydra's own part."""
    from omegaconf import open_dict

    with open_dict(cfg):
        cfg.pop("hydra", None)
    return cfg


def compose_one(overrides: Sequence[str], plugins: list[Plugin], resolved: bool = True) -> Spec:
    """Return the spec of the one run that `overrides` describe; its data fetched if `resolved`."""
    config.offer(plugins)
    config.find_experiments(plugins)
    ((cfg,), _) = compose(list(overrides), multirun=False)
    known = {plugin.name: plugin for plugin in plugins if plugin.paper is not None}
    return config.to_spec(cfg, known.get(cfg.get("paper")), resolved)[0]


def translated(error: Exception, arguments: Sequence[str]) -> Exception:
    """Return Hydra's complaint about a command line as one sentence with the mend."""
    if isinstance(error, HarnessError):
        return error
    if not type(error).__module__.startswith(("hydra", "omegaconf")):
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        return UsageError(
            f"{' '.join(arguments)} cannot be composed or launched: {type(error).__name__}: {said}"
        )
    text = " ".join(f"{error} {error.__cause__ or ''}".split())
    missing = re.search(
        r"Could not find '?([\w./-]+?)'? ?(?:Available options in '([^']*)': (.*?))?(?:Config search|$)", text
    )
    if missing:
        asked, group, options = missing.group(1), missing.group(2), missing.group(3)
        what, _, name = asked.rpartition("/")
        if what.startswith("method") or asked.startswith("method"):
            known = [f"{p.name}/{m}" for p in load_all() if p.paper for m in p.paper.methods]
            given = asked.removeprefix("method/")
            return UsageError(
                f"there is no method {given!r}: {nearest(given, known)} (`harness papers -v` lists them)"
            )
        known = (options or "").split() or _options(what or (group or ""))
        return UsageError(f"there is no {what or 'config'} {name!r}: {nearest(name, known)}")
    key = re.search(r"[Kk]ey '([^']+)'(?: is)? not in '([^']+)'", text)
    override = re.search(r"Could not override '([^']+)'", text)
    if override or key:
        return _unknown_key(override.group(1) if override else key.group(1), key, text, arguments)  # type: ignore[union-attr]
    if getattr(error, "override", None):
        return UsageError(f"{error.override} cannot be read: {text.partition(' See ')[0]}")  # type: ignore[attr-defined]
    wrong = re.search(r"Error merging override (\S+) (.*?)(?: full_key|$)", text)
    return UsageError(f"{wrong.group(1)}: {wrong.group(2)}" if wrong else text)


def _options(group: str) -> list[str]:
    from hydra.core.global_hydra import GlobalHydra

    with contextlib.suppress(Exception):
        return GlobalHydra.instance().config_loader().get_group_options(group)
    return []


def _unknown_key(name: str, key: Any, text: str, arguments: Sequence[str]) -> UsageError:
    """Name the nearest setting to one that does not exist, among those of the papers that were asked for."""
    owner, _, last = name.rpartition(".")
    if key is None or ("ot in struct" not in text and "not in" not in text):
        return UsageError(f"{name} cannot be set so: {text}")
    papers = {plugin.name: plugin.paper for plugin in load_all() if plugin.paper}
    asked = [paper for name, paper in papers.items() if any(f"={name}" in word for word in arguments)]
    classes: list[Any] = [config.Settings]
    if owner in ("task", "data"):
        classes = [getattr(paper, owner) for paper in asked or papers.values()]
    elif owner == "method":
        classes = [type(m.config) for paper in asked or papers.values() for m in paper.methods.values()]
    known = {f.name for cls in classes for f in dataclasses.fields(cls)}
    where = f"{owner} has" if owner else "there is"
    return UsageError(f"{where} no setting {last!r}: {nearest(last, known)}")
