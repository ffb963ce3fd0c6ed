"""From a command line to finished runs: Hydra composes and launches, the folders tell how it went.

The driver decides and checks every job of a sweep before the first one starts, watches the run folders,
and says at the end how it went. A job (in whatever process Hydra's launcher puts it) makes one run of what
was decided; it never raises, since one failed run must not take the others with it.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import select
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from harness.errors import HarnessError, Stopped, UsageError, masked, said
from harness.papers.plugins import Plugin, load, load_all
from harness.runs import served
from harness.runs.isolate import work_for
from harness.runs.journal import Sweep, note, read_journal
from harness.runs.locks import alone
from harness.runs.processes import here, machines
from harness.runs.provenance import stale
from harness.runs.results import LOG, Newer, Result, local_store, read_record, whole, write_result
from harness.runs.run import describe, execute
from harness.runs.spec import AGAIN, Spec
from harness.sweeps import config, inside
from harness.sweeps.again import broken_off, settle
from harness.sweeps.choices import offer
from harness.sweeps.compose import compose, translated
from harness.sweeps.launchers.ray import Lost
from harness.sweeps.planned import forget, leave, pick_up
from harness.sweeps.trusted import refuse_asked, refuse_flags
from harness.sweeps.tuning import tuned
from harness.sweeps.typed import as_typed
from harness.sweeps.watch import Heard, watched

ASKED = ("method_declared", "method_changes", "tuned")  # of a run's config: not what was made, but why
ASKS = {"-h", "--help", "--hydra-help", "-c", "--cfg", "-i", "--info", "--version", "-sc"}


@dataclass(frozen=True)
class Swept:
    """How a sweep ended: its journal's lines in `runs`, how many are as they should be, and why not all are."""

    id: str
    results: Path
    runs: tuple[dict[str, Any], ...]
    finished: int
    skipped: int  # finished before
    failed: int
    missing: int  # not started, or broken off
    stale: int  # of the skipped: made by other code than today's
    behind: tuple[str, ...]  # why the tracking store lacks something
    exit_code: int  # 0 when every run is finished and mirrored, else 1


def main(arguments: Sequence[str]) -> int:
    """Run `harness run <arguments>`, in Hydra's own grammar; say what is wrong, and return the exit code."""
    import hydra

    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        if any(argument.split("=")[0] in ASKS for argument in arguments):
            offer(load_all())
            arguments = in_order(as_typed(arguments))
            refuse_asked(arguments)
            return _hydra(hydra, arguments, Launched.here())
        return swept(arguments).exit_code
    except HarnessError as error:
        if full_error:
            raise
        print(f"harness: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        if not _unread():
            raise
        # as in `--help | head`: the reader has had enough, and what is left has to go somewhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def swept(arguments: Sequence[str], heard: Heard | None = None) -> Swept:
    """Run the sweep that a command line asks for; `heard` is given an object when it begins and for each run's end.

    Raises HarnessError where no run could begin.
    """
    import hydra

    plugins = load_all()
    offer(plugins)
    arguments = in_order(as_typed(arguments))
    sweep, jobs = plan_sweep(arguments, plugins, served.begun)
    if heard:
        heard({"event": "sweep", "sweep": sweep.id, "command": sweep.command, "runs": len(sweep.specs)})
    lost = ""
    kept = all_kept([(spec, settings) for _, spec, settings in jobs], plugins)
    with watched(sweep, bool(kept) and _up_to_date(sweep.uri, kept), heard) as behind:
        if kept:
            for asked, spec, result in kept:
                note(sweep.journal, asked, spec, result, "skipped")
        else:
            try:
                for words, spec, settings in jobs:
                    leave(sweep, [*map(masked, words)], spec, settings)
                told = [*map(masked, arguments), f"sweep={sweep.id}", *_no_password(sweep.uri)]
                launched = Launched.here()
                inside.begin_workers_with(work_for, lambda: (launched.driver, launched.began, served.begun()))
                with inside.launching_at_once():
                    _hydra(hydra, told, launched)
            except BrokenExecutor as broken:
                lost = said(broken) if isinstance(broken, Lost) else "a joblib worker was ended (killed?)"
            except BrokenPipeError:
                if _unread():
                    raise
                raise HarnessError(
                    f"a process that this command started ended at once: see that you may run {sys.executable}"
                ) from None
            except Stopped as stop:
                stop.stands, stop.fix = _stands(sweep), "repeat the command to go on where it stopped"
                raise
            finally:
                forget(sweep)
    return close(sweep, behind, lost)


def _unread() -> bool:
    """Say whether whoever read our output through a pipe has gone."""
    poll = select.poll()
    with contextlib.suppress(OSError):  # it is no file, and nobody reads it through a pipe
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def in_order(arguments: list[str]) -> list[str]:
    """Put Hydra's flags before the overrides: its parser refuses overrides on both sides of one."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            overrides = inside.argument_parser().parse_intermixed_args(arguments).overrides
    except SystemExit:  # said later, in one sentence
        return arguments
    flags = list(arguments)
    for override in overrides:
        flags.remove(override)
    return [*flags, *overrides]


def _hydra(hydra: Any, arguments: list[str], task: Any) -> int:
    """Hand the command line to Hydra; its errors come back as one sentence."""
    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["harness run", *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors through to us instead of printing them
    try:
        hydra.main(version_base="1.3", config_path="pkg://harness.conf", config_name="config")(task)()
    except SystemExit as leave:
        return int(leave.code or 0)
    except (BrokenPipeError, BrokenExecutor):
        raise
    except Exception as error:
        if type(error).__module__.startswith("submitit."):  # its job left without an answer
            raise Lost(f"a job of submitit was ended ({config.first_line(error)[:300]})") from error
        raise translated(error, arguments) from error
    finally:
        sys.argv = before[0]
        if before[1] is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        else:
            os.environ["HYDRA_FULL_ERROR"] = before[1]
    return 0


def plan_sweep(
    arguments: Sequence[str], plugins: Sequence[Plugin], begin: Callable[[], Any] | None = None
) -> tuple[Sweep, list[tuple[tuple[str, ...], Spec, config.Settings]]]:
    """Compose and check every job a command line asks for, without running any.

    Returns the sweep, and of each job its overrides, its run and its settings. `begin` is called before data are looked
    at, where runs are to come on this machine: in a folder without any, none is kept.

    Raises UsageError for what cannot run as typed, so that no sweep stops half-way over a typo.
    """
    complaint = io.StringIO()
    with contextlib.redirect_stderr(complaint):
        try:
            args = inside.argument_parser().parse_args(list(arguments))
        except SystemExit:
            reason = complaint.getvalue().strip().splitlines()[-1].partition("error: ")[2]
            raise UsageError(f"{reason}: see harness run --help") from None
    refuse_flags(args)
    composed = compose(args.overrides, args.multirun)
    shared = composed.shared
    results = Path(shared.results).expanduser().resolve()
    _writable(results)
    if begin and composed.local and shared.isolate and not (results / "runs").exists():
        begin()
    by_name = {plugin.name: plugin for plugin in plugins if not plugin.problem}
    planned = [
        (job.words, *config.to_spec(job.cfg, by_name.get(job.cfg.get("paper")))) for job in composed.jobs
    ]
    settings = planned[0][2] if planned else config.to_settings(shared)
    if machines()[1] > 1 and len(planned) > 1:
        raise UsageError(
            "several machines make one run at a time, and this sweep has more: give one run a command"
        )
    uri = (
        ""
        if settings.tracking.uri == "off" or machines()[0]
        else settings.tracking.uri or local_store(results)
    )
    identity = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(4)  # unlike any other machine's
    command = masked("harness run " + " ".join(arguments))
    chosen = tuple({spec.run_key: spec for _, spec, _ in planned}.values())
    return Sweep(identity, command, results, uri, chosen), planned


def _no_password(uri: str) -> list[str]:
    """Return what keeps a store's password out of the files that Hydra writes: only the driver opens the store."""
    return [f"tracking.uri='{masked(uri)}'"] if masked(uri) != uri else []


def all_kept(
    jobs: Sequence[tuple[Spec, config.Settings]], plugins: Sequence[Plugin]
) -> list[tuple[str, Spec, Result]]:
    """Return (key before tuning, run, result) of each job where every one is finished; else nothing.

    A sweep with nothing to do then ends without a launcher, a fork server or torch.
    """
    by_name = {plugin.name: plugin for plugin in plugins}
    found = []
    for asked, settings in jobs:
        if settings.rerun:
            return []
        try:
            spec = tuned(asked, by_name[asked.paper], _kept)
            found.append((asked.run_key, spec, _kept(spec)))
        except (NotYet, Newer):  # what a newer harness made is told as that run's failure, not the sweep's
            return []
    return found


class NotYet(Exception):
    """A run is not finished, so there is something to do."""


def _kept(spec: Spec) -> Result:
    """Return the result of a finished run. Raises NotYet where there is something to do for it."""
    settle(spec.folder)
    done = whole(spec.folder)
    if done is None or (spec.objective and not done.validation):
        raise NotYet
    broken_off(spec.folder)
    if spec.declared and not done.config["method_declared"]:  # made with tuned=false, and what the grid chose
        done = replace(done, config={**done.config, **{key: spec.config()[key] for key in ASKED}})
        write_result(spec.folder, done)
    return done


def _up_to_date(uri: str, kept: Sequence[tuple[str, Spec, Result]]) -> bool:
    from harness.runs.mirror import up_to_date

    return up_to_date(uri, [spec.folder for _, spec, _ in kept])


def _writable(results: Path) -> None:
    """Make sure results can be written before anything is run."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        probe = results / f".write-{os.getpid()}"
        probe.write_text("x" * 2**16)  # what a run writes at least
        probe.unlink()
    except OSError as error:
        raise HarnessError(
            f"the results folder {results} cannot be written ({error.strerror}): free it or give another with results="
        ) from error


@dataclass(frozen=True)
class Launched:
    """What Hydra calls for each job, in whatever process its launcher puts it; `driver` is the one that waits."""

    driver: int
    host: str
    began: float  # when the driver did: another process may get its number

    @classmethod
    def here(cls) -> Launched:
        """Return what this process, the driver, launches."""
        from harness.runs.isolate import began_at

        return cls(os.getpid(), socket.gethostname(), began_at(os.getpid()))

    def __call__(self, cfg: DictConfig) -> float:
        """Make the run of one job; a process that was started for it goes when its parent or its driver does."""
        from hydra.core.hydra_config import HydraConfig

        from harness.runs.isolate import die_with_driver, die_with_parent

        if (os.getpid(), socket.gethostname()) != (self.driver, self.host):
            die_with_parent()
            if socket.gethostname() == self.host:
                die_with_driver(self.driver, self.began)
        return self.decided(cfg, HydraConfig.get().overrides.task, lambda: cfg)()

    @staticmethod
    def decided(cfg: DictConfig, words: Sequence[str], composed: Callable[[], DictConfig]) -> Decided:
        """Return what a job with these overrides is to do: what the plan says, else what `composed()` comes to.

        `cfg` is any config of its sweep.
        """
        from harness.runs.isolate import start_runs_from_a_fork_server

        start_runs_from_a_fork_server()
        journal = Path(cfg.results).expanduser().resolve() / "sweeps" / f"{cfg.sweep}.jsonl"
        planned = pick_up(journal, words)
        return Decided(*(planned or config.to_spec(composed())), journal)


@dataclass(frozen=True)
class Decided:
    """A job of which all is decided: the run that is to be made, and the journal of its sweep."""

    spec: Spec
    settings: config.Settings
    journal: Path

    @property
    def isolated(self) -> bool:
        """Say whether it is made in a process of its own, and so beside others."""
        return self.settings.isolate

    def __call__(self) -> float:
        """Make it, and note how it ended; return its objective, the worst infinity for a failed run."""
        spec, settings, plugin = self.spec, self.settings, load(self.spec.paper)
        if settings.on_failure == "stop" and any(
            line["outcome"] == "failed" for line in read_journal(self.journal)
        ):
            return config.worst(plugin, spec.objective)
        try:
            spec = tuned(spec, plugin, lambda point: bring(point, settings)[0])
            result, outcome = bring(spec, settings)
        except HarnessError as error:
            result, outcome = failure(spec, error), "failed"
        note(self.journal, self.spec.run_key, spec, result, outcome)
        if result.status == "failed":
            return config.worst(plugin, spec.objective)
        return result.validation.get(spec.objective, 0.0) if spec.objective else 0.0


def bring(spec: Spec, settings: config.Settings) -> tuple[Result, str]:
    """Return a run's result and how it came: "skipped" (was finished), "finished" or "failed"."""
    from harness.runs.isolate import isolated, quiet_libraries
    from harness.runs.leases import leased

    own = spec.folder
    if not settings.rerun:
        with contextlib.suppress(NotYet):
            return _kept(spec), "skipped"
    else:
        settle(own)
        if whole(own) is not None:
            spec = replace(spec, again=True)
        else:
            with alone(own):
                shutil.rmtree(own, ignore_errors=True)
    try:
        cpus, per_gpu = settings.leases.cpus, settings.leases.per_gpu
        with leased(spec.device, here(spec.processes), cpus, per_gpu, spec.title) as lease:
            if settings.isolate:
                limits = settings.limits
                result = isolated(spec, limits.minutes, limits.memory_gb, lease)
            else:
                os.environ.update(lease.environ)
                quiet_libraries()
                result = execute(spec, load(spec.paper), lease.names)
    except Exception as error:
        result = failure(spec, error)
    if spec.again and result.error:
        message = f"{result.error['message']}; the finished result of before stands"
        result.error = {**result.error, "message": message}
    elif spec.again:
        settle(own)
    return result, result.status


def failure(spec: Spec, error: Exception) -> Result:
    """Return, and write where that can be, the result of a run that its own process never began."""
    result = Result(spec.run_key, "failed", spec.config(), error=describe(error))
    if not isinstance(error, Newer):  # what a newer harness made stays as it is
        with contextlib.suppress(OSError):
            write_result(spec.folder, result)
    return result


def _stands(sweep: Sweep) -> str:
    """Say how many of a sweep's runs are finished by now."""
    done = {line["asked"] for line in read_journal(sweep.journal) if line["outcome"] != "failed"}
    return f"{len(done)} of {len(sweep.specs) or 'its'} runs are finished"


def close(sweep: Sweep, behind: Sequence[str] = (), lost: str = "") -> Swept:
    """Say how a sweep ended, and return it; `lost` says what of the launcher was ended from outside, where it was."""
    lines = read_journal(sweep.journal)
    count = {
        kind: sum(line["outcome"] == kind for line in lines) for kind in ("finished", "skipped", "failed")
    }
    missing = max(len(sweep.specs) - len({line["asked"] for line in lines}), 0)
    parts = [
        f"{count['finished']} finished",
        f"{count['skipped']} already there",
        f"{count['failed']} failed",
    ]
    if missing:
        parts.append(f"{missing} not started")
    print("; ".join(parts), file=sys.stderr)
    if lost:
        print(
            f"harness: {missing or 'some'} runs not started or broken off: {lost}: repeat the command",
            file=sys.stderr,
        )
    count["stale"] = _stale(lines)
    if count["stale"]:
        print(
            f"harness: {count['stale']} of the finished runs were made by other code (rerun=true makes them again)",
            file=sys.stderr,
        )
    for line in lines:
        if line["outcome"] == "failed":
            print(f"  {line['title']}: {line['error']['type']}: {line['error']['message']}", file=sys.stderr)
            folder = Path(line["folder"])
            log = next((f / LOG for f in (folder / AGAIN, folder) if (f / LOG).exists()), folder / LOG)
            print(f"    log: {log}", file=sys.stderr)
    if count["failed"]:
        print("repeat the command to try the failed runs again", file=sys.stderr)
    for reason in behind:
        print(f"harness: the runs are safe in their folders but not all mirrored: {reason}", file=sys.stderr)
        print("repeat the command when the store is back to mirror them", file=sys.stderr)
    wrong = lost or count["failed"] or missing or behind or not lines
    counts = {**count, "missing": missing, "behind": tuple(behind), "exit_code": 1 if wrong else 0}
    return Swept(sweep.id, sweep.results, tuple(lines), **counts)  # type: ignore[arg-type]


def _stale(lines: list[dict[str, Any]]) -> int:
    """Count the skipped runs that were made by other sources than today's."""
    skipped = [Path(line["folder"]) for line in lines if line["outcome"] == "skipped"]
    return sum(stale(record) for folder in skipped if (record := read_record(folder)))
