"""From a command line to finished runs: Hydra composes and launches, the folders tell how it went.

The driver checks every job of a sweep before the first one starts, then watches the run folders:
progress bars, the mirror to MLflow and the closing table all read them. A job (in whatever process
Hydra's launcher puts it) turns one config into one run; it never raises, since one failed run must
not take the others with it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from harness import config
from harness.errors import HarnessError, UsageError
from harness.plugins import Plugin, load, load_all
from harness.results import PROGRESS, Result, read_result, write_result
from harness.run import Spec, execute, source_digest


@dataclass(frozen=True)
class Sweep:
    """What the driver knows of a command before anything is launched."""

    id: str
    command: str
    results: Path
    uri: str
    specs: tuple[Spec, ...]  # empty where a sweeper chooses the jobs as it goes

    @property
    def papers(self) -> tuple[str, ...]:
        """The papers of the sweep, in order of first appearance."""
        return tuple(dict.fromkeys(spec.paper for spec in self.specs))

    @property
    def journal(self) -> Path:
        """Where jobs note how they ended, one line each, appended whole."""
        return self.results / "sweeps" / f"{self.id}.jsonl"


def main(arguments: Sequence[str]) -> int:
    """Run `harness run <arguments>`, in Hydra's own grammar; return the exit code."""
    import hydra

    plugins = load_all()
    config.offer(plugins)
    config.find_experiments(plugins)
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    asks = {
        "--help",
        "-h",
        "--hydra-help",
        "--cfg",
        "-c",
        "--info",
        "-i",
        "--version",
        "--shell-completion",
        "-sc",
    }
    try:
        if any(argument.split("=")[0] in asks for argument in arguments):
            return _hydra(hydra, list(arguments), job)
        sweep = plan_sweep(arguments, plugins)
        with watched(sweep) as behind:
            _hydra(hydra, [*arguments, f"sweep={sweep.id}"], job)
        return close(sweep, behind)
    except HarnessError as error:
        if full_error:
            raise
        print(f"harness: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nharness: interrupted; repeat the command to go on where it stopped", file=sys.stderr)
        return 130


def _hydra(hydra: Any, arguments: list[str], task: Any) -> int:
    """Hand the command line to Hydra; its errors come back as one sentence."""
    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["harness run", *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors through to us instead of printing them
    try:
        hydra.main(version_base="1.3", config_path="pkg://harness.conf", config_name="config")(task)()
    except SystemExit as leave:
        return int(leave.code or 0)
    except Exception as error:
        raise translated(error, arguments) from error
    finally:
        sys.argv = before[0]
        if before[1] is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        else:
            os.environ["HYDRA_FULL_ERROR"] = before[1]
    return 0


def translated(error: Exception, arguments: Sequence[str]) -> Exception:
    """Return Hydra's complaint about a command line as one sentence with the mend."""
    import re

    if isinstance(error, HarnessError) or not type(error).__module__.startswith(("hydra", "omegaconf")):
        return error
    text = " ".join(f"{error} {error.__cause__ or ''}".split())
    missing = re.search(
        r"Could not find '?([\w./-]+?)'? ?(?:Available options in '([^']*)': (.*?))?(?:Config search|$)", text
    )
    if missing:
        from harness.errors import nearest

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
        return _unknown_key(override.group(1) if override else key.group(1), key, text)  # type: ignore[union-attr]
    wrong = re.search(r"Error merging override (\S+) (.*?)(?: full_key|$)", text)
    return UsageError(f"{wrong.group(1)}: {wrong.group(2)}" if wrong else text)


def _options(group: str) -> list[str]:
    from hydra.core.global_hydra import GlobalHydra

    with contextlib.suppress(Exception):
        return GlobalHydra.instance().config_loader().get_group_options(group)
    return []


def _unknown_key(name: str, key: Any, text: str) -> UsageError:
    """Name the nearest setting to one that does not exist."""
    import dataclasses

    from harness.errors import nearest

    last = name.rpartition(".")[2]
    owner = name.rpartition(".")[0]
    if key is None or ("ot in struct" not in text and "not in" not in text):
        return UsageError(f"{name} cannot be set so: {text}")
    known = {f.name for f in dataclasses.fields(config.Settings)}
    for plugin in load_all():
        if plugin.paper and owner == "task" and plugin.paper.task.__name__ in text:
            known = {f.name for f in dataclasses.fields(plugin.paper.task)}
        if plugin.paper and owner == "data" and plugin.paper.data.__name__ in text:
            known = {f.name for f in dataclasses.fields(plugin.paper.data)}
        if plugin.paper and owner == "method":
            for method in plugin.paper.methods.values():
                if type(method.config).__name__ == key.group(2):
                    known = {f.name for f in dataclasses.fields(method.config)}
    where = f"{owner} has" if owner else "there is"
    return UsageError(f"{where} no setting {last!r}: {nearest(last, known)}")


def plan_sweep(arguments: Sequence[str], plugins: Sequence[Plugin]) -> Sweep:
    """Compose and check every job a command line asks for, without running any.

    Raises UsageError for what cannot run as typed, so that no sweep stops half-way over a typo.
    """
    from hydra._internal.utils import get_args_parser

    complaint = io.StringIO()
    with contextlib.redirect_stderr(complaint):
        try:
            args = get_args_parser().parse_args(list(arguments))
        except SystemExit:
            reason = complaint.getvalue().strip().splitlines()[-1].partition("error: ")[2]
            raise UsageError(f"{reason}: see harness run --help") from None
    jobs, shared = compose(args.overrides, args.multirun)
    by_name = {plugin.name: plugin for plugin in plugins if not plugin.problem}
    specs = [config.to_spec(cfg, by_name.get(cfg.get("paper"))) for cfg in jobs]
    settings = specs[0][1] if specs else config.to_settings(shared)
    results = Path(settings.results).expanduser().resolve()
    _writable(results)
    uri = "" if settings.tracking.uri == "off" else _uri(results, settings.tracking.uri)
    identity = time.strftime("%Y%m%d-%H%M%S-") + f"{os.getpid():05d}"
    command = "harness run " + " ".join(arguments)
    chosen = tuple(dict((spec.run_key, spec) for spec, _ in specs).values())
    return Sweep(identity, command, results, uri, chosen)


def compose_one(overrides: Sequence[str], plugins: list[Plugin], resolved: bool = True) -> Spec:
    """Return the spec of the one run that `overrides` describe; its data fetched if `resolved`."""
    config.offer(plugins)
    config.find_experiments(plugins)
    ((cfg,), _) = compose(list(overrides), multirun=False)
    return config.to_spec(cfg, resolved=resolved)[0]


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
    composed = [
        hydra.compose_config(
            "config", list(job), run_mode=RunMode.RUN, from_shell=False, with_log_configuration=False
        )
        for job in combinations
    ]
    return [_own(cfg) for cfg in composed], _own(whole)


def _own(cfg: DictConfig) -> DictConfig:
    """Return a composed config without Hydra's own part."""
    from omegaconf import open_dict

    with open_dict(cfg):
        cfg.pop("hydra", None)
    return cfg


def _uri(results: Path, uri: str) -> str:
    from harness.tracking import tracking_uri

    return tracking_uri(results, uri)


def _writable(results: Path) -> None:
    """Make sure results can be written before anything is run."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe = results / f".write-{os.getpid()}"
        probe.write_text("x" * 4096)
        probe.unlink()
    except OSError as error:
        raise HarnessError(
            f"the results folder {results} cannot be written ({error.strerror}): free it or give another with results="
        ) from error


def job(cfg: DictConfig) -> float:
    """Bring one job to its end, in whatever process it was launched; return its objective.

    Hydra calls this. It returns the worst infinity for a failed run and never raises.
    """
    from harness.isolate import die_with_parent

    if os.environ.get("HARNESS_DRIVER") != str(os.getpid()):
        die_with_parent()
    spec, settings = config.to_spec(cfg)
    journal = spec.results / "sweeps" / f"{spec.sweep}.jsonl"
    if settings.on_failure == "stop" and any(line["outcome"] == "failed" for line in read_journal(journal)):
        return config.worst(load(spec.paper), spec.objective)
    result, outcome = bring(spec, settings)
    note(journal, spec, result, outcome)
    if result.status == "failed":
        return config.worst(load(spec.paper), spec.objective)
    return result.validation.get(spec.objective, 0.0) if spec.objective else 0.0


def bring(spec: Spec, settings: config.Settings) -> tuple[Result, str]:
    """Return a run's result and how it came: "skipped" (was finished), "finished" or "failed"."""
    from harness.isolate import isolated

    done = read_result(spec.folder)
    if settings.rerun:
        shutil.rmtree(spec.folder, ignore_errors=True)
    elif done is not None and done.status == "finished" and not (spec.objective and not done.validation):
        return done, "skipped"
    try:
        if settings.isolate:
            result = isolated(spec, settings.limits.minutes, settings.limits.memory_gb)
        else:
            result = execute(spec, load(spec.paper))
    except Exception as error:
        traceback.print_exc()
        result = Result(
            spec.run_key, "failed", spec.config(), error={"type": type(error).__name__, "message": str(error)}
        )
        with contextlib.suppress(OSError):
            write_result(spec.folder, result)
    return result, result.status


def note(journal: Path, spec: Spec, result: Result, outcome: str) -> None:
    """Append to the sweep's journal how one job ended."""
    line = {
        "title": spec.title,
        "paper": spec.paper,
        "run_key": spec.run_key,
        "folder": str(spec.folder),
        "outcome": outcome,
        "error": {k: v for k, v in (result.error or {}).items() if k != "log"} or None,
        "seconds": result.timings.get("total", 0.0),
        "code": result.code.get("digest", ""),
    }
    with contextlib.suppress(OSError):
        journal.parent.mkdir(parents=True, exist_ok=True)
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_journal(journal: Path) -> list[dict[str, Any]]:
    """Return how a sweep's jobs ended so far."""
    try:
        return [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def watched(sweep: Sweep) -> Iterator[list[str]]:
    """Show and mirror a sweep's runs, from threads of the driver, for as long as they go on.

    What is yielded holds, after leaving, why the mirror is behind the folders, if it is.
    """
    os.environ["HARNESS_DRIVER"] = str(os.getpid())
    over = threading.Event()
    behind: list[str] = []
    mirror = threading.Thread(target=_mirror, args=(sweep, over, behind), daemon=True)
    if sweep.uri:
        mirror.start()
    bars = threading.Thread(target=_show, args=(sweep, over), daemon=True)
    bars.start()
    try:
        yield behind
    finally:
        over.set()
        bars.join()
        if sweep.uri:
            mirror.join()


def running(sweep: Sweep) -> list[dict[str, Any]]:
    """Return what the sweep's running runs last said of their progress, with their folders."""
    found = []
    for path in sorted((sweep.results / "runs").glob(f"*/*/*/{PROGRESS}")):
        with contextlib.suppress(OSError, json.JSONDecodeError):
            state = json.loads(path.read_text(encoding="utf-8"))
            if state.get("sweep") == sweep.id:
                found.append({**state, "folder": path.parent})
    return found


def _show(sweep: Sweep, over: threading.Event) -> None:
    """Draw a bar per running run and a line per ended one; without a terminal, only the lines."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    total = len(sweep.specs) or None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    shown = 0
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        whole = progress.add_task("runs", total=total, note="")
        bars: dict[str, Any] = {}
        while True:
            last = over.is_set()
            lines = read_journal(sweep.journal)
            for line in lines[shown:]:
                console.print(_told(line), highlight=False)
            shown = len(lines)
            progress.update(whole, completed=shown, total=total or max(shown, 1))
            states = {state["title"]: state for state in running(sweep)}
            for title in set(bars) - set(states):
                progress.remove_task(bars.pop(title))
            for title, state in states.items():
                loss = f"loss {state['loss']:.3f}" if isinstance(state.get("loss"), float) else ""
                if title not in bars:
                    bars[title] = progress.add_task(title, total=state["total"], note=loss)
                progress.update(bars[title], completed=state["done"], total=state["total"], note=loss)
            if last:
                return
            over.wait(0.5)


def _told(line: dict[str, Any]) -> str:
    marks = {"finished": "[green]done[/]", "skipped": "[dim]had[/]", "failed": "[red]FAILED[/]"}
    tail = f"{line['seconds']:.1f} s" if line["outcome"] == "finished" else ""
    if line["error"]:
        from rich.markup import escape

        tail = escape(f"{line['error']['type']}: {line['error']['message']}")
    return f"{marks[line['outcome']]} {line['title']} {tail}"


def _mirror(sweep: Sweep, over: threading.Event, behind: list[str]) -> None:
    """Keep the tracking store level with the run folders; an outage costs nothing but a warning."""
    from harness.tracking import Mirror

    done: set[str] = set()
    store: Mirror | None = None
    parents: dict[str, str] = {}
    warned = False
    while True:
        last = over.is_set()
        try:
            store = store or Mirror(sweep.uri, sweep.results / "mlartifacts")
            lines = read_journal(sweep.journal)
            states = running(sweep)
            begun = {line["paper"] for line in lines if line["outcome"] != "skipped"}
            for paper in sorted((begun | {state["folder"].parts[-3] for state in states}) - set(parents)):
                parents[paper] = store.open_sweep(paper, sweep.id, sweep.command)
            for state in states:
                store.copy(
                    state["folder"], parents[state["folder"].parts[-3]], _config_of(sweep, state["folder"])
                )
            for line in lines:
                if line["folder"] not in done:
                    store.copy(Path(line["folder"]), parents.get(line["paper"], ""))
                    done.add(line["folder"])
            if last:
                for paper, parent in parents.items():
                    failed = any(x["outcome"] == "failed" for x in lines if x["paper"] == paper)
                    store.close_sweep(parent, failed, [sweep.journal] if sweep.journal.exists() else [])
                return
        except Exception as error:
            reason = " ".join(str(error).split())[:400]
            if last:
                behind.append(reason)
                return
            if not warned:
                print(f"harness: {reason}; the runs go on", file=sys.stderr)
            warned = True
        over.wait(2.0)


def _config_of(sweep: Sweep, folder: Path) -> dict[str, Any] | None:
    return next((spec.config() for spec in sweep.specs if spec.folder == folder), None)


def close(sweep: Sweep, behind: Sequence[str] = ()) -> int:
    """Say how a sweep ended; return its exit code: 0 when every run is finished and mirrored, else 1."""
    lines = read_journal(sweep.journal)
    count = {
        kind: sum(line["outcome"] == kind for line in lines) for kind in ("finished", "skipped", "failed")
    }
    missing = max(len(sweep.specs) - len({line["run_key"] for line in lines}), 0)
    parts = [
        f"{count['finished']} finished",
        f"{count['skipped']} already there",
        f"{count['failed']} failed",
    ]
    if missing:
        parts.append(f"{missing} not started")
    print("; ".join(parts), file=sys.stderr)
    stale = _stale(lines)
    if stale:
        print(
            f"harness: {stale} of the finished runs were made by other code (rerun=true makes them again)",
            file=sys.stderr,
        )
    for line in lines:
        if line["outcome"] == "failed":
            print(f"  {line['title']}: {line['error']['type']}: {line['error']['message']}", file=sys.stderr)
            print(f"    log: {Path(line['folder']) / 'log.txt'}", file=sys.stderr)
    if count["failed"]:
        print("repeat the command to try the failed runs again", file=sys.stderr)
    for reason in behind:
        print(f"harness: the runs are safe in their folders but not all mirrored: {reason}", file=sys.stderr)
        print("repeat the command when the store is back to mirror them", file=sys.stderr)
    return 1 if count["failed"] or missing or behind or not lines else 0


def _stale(lines: list[dict[str, Any]]) -> int:
    """Count the skipped runs that were made by other sources than today's."""
    import harness

    skipped = [line for line in lines if line["outcome"] == "skipped"]
    now = {paper: source_digest(harness, load(paper).module) for paper in {line["paper"] for line in skipped}}
    return sum(line["code"] != now[line["paper"]] for line in skipped)
