"""Any program as a method: run with a seed, it prints one JSON line with its value, or with a value an item.

A program that prints none, prints NaN, crashes or hangs is a typed failure, kept beside the values of others.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.runs.files import digest, write_json
from harness.runs.leases import leased
from harness.runs.processes import end_with
from harness.sweeps.watch import Heard

SEED, CHANGE = "{seed}", "{change}"
SOURCES = (".py", ".sh", ".toml", ".yaml", ".yml", ".cfg", ".ini", ".ipynb")  # what makes a folder's program


@dataclass(frozen=True)
class Program:
    """A command with a place for the seed, where it runs, and who it is: equal programs have one identity."""

    words: tuple[str, ...]
    folder: Path
    identity: str


def program(template: str, change: str) -> Program:
    """Return the program that a template and one of its changes make.

    `{change}` in the template stands for the change; without it the change is a folder that the command runs in.
    Raises UsageError for a template without `{seed}` and a change that is no folder.
    """
    try:
        words, changes = shlex.split(template), shlex.split(change)
    except ValueError as error:
        raise UsageError(
            f"--run {template!r} or {change!r} cannot be read as words ({error}): quote it as a shell does"
        ) from None
    if SEED not in template:
        raise UsageError(f"--run {template!r} has no {SEED}: put it where the program takes its seed")
    if CHANGE in template:
        folder = Path.cwd()
        filled = [
            new for word in words for new in (changes if word == CHANGE else [word.replace(CHANGE, change)])
        ]
        return Program(tuple(filled), folder, _identity(filled, folder, {}))
    folder = Path(change).expanduser().resolve()
    if not folder.is_dir():
        raise UsageError(
            f"{change!r} is no folder: the command runs in it; or put {CHANGE} into --run, where it shall stand"
        )
    return Program(tuple(words), folder, _identity(words, folder, _sources(folder)))


def _identity(words: Sequence[str], folder: Path, sources: Mapping[str, str]) -> str:
    """Return the digest of a command, a word that names a file being what the file holds."""
    said = [_content(folder / word) if (folder / word).is_file() else word for word in words]
    return digest([said, sources])


def _sources(folder: Path) -> dict[str, str]:
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if name[0] != "." and not (Path(place) / name / "pyvenv.cfg").exists()
        )
        for name in names:
            path = Path(place) / name
            if path.suffix in SOURCES:
                found[path.relative_to(folder).as_posix()] = _content(path)
    return found


def _content(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def measure(
    asked: Sequence[tuple[Program, int]],
    metric: str,
    outcomes: Path,
    at_once: int,
    device: str = "cpu",
    minutes: float = 60.0,
    heard: Heard | None = None,
) -> list[dict[str, Any]]:
    """Return what each program came to with its seed, in order: from its file, or by running it now.

    An outcome has `value`, `items`, `seconds` and `error` (`type`, `message`). What failed is run again.
    `heard` is given an object for each program that ran.
    """
    going: set[subprocess.Popen[str]] = set()
    over: list[bool] = []

    def one(pair: tuple[Program, int]) -> dict[str, Any]:
        made, seed = pair
        path = outcomes / made.identity[:16] / f"{seed}.json"
        known = _known(path)
        if known is not None and known["error"] is None:
            return known
        with leased(device, who=f"{shlex.join(made.words)} with seed {seed}") as lease:
            if over:  # while it waited
                raise CancelledError
            outcome = _run(made, seed, metric, lease.environ, minutes, going)
        write_json(path, outcome)
        if heard:
            error = outcome["error"]
            title = shlex.join(word.replace(SEED, str(seed)) for word in made.words)
            told = {"folder": str(made.folder), **{key: outcome[key] for key in ("seed", "value", "seconds")}}
            told["error"] = error and {key: error[key] for key in ("type", "message")}
            heard({"event": "run", "outcome": "failed" if error else "finished", "title": title, **told})
        return outcome

    with ThreadPoolExecutor(max(at_once, 1)) as pool:
        waiting = [pool.submit(one, pair) for pair in asked]
        try:
            return [each.result() for each in waiting]
        except BaseException:  # Ctrl-C: programs go with their caller
            over.append(True)
            for each in waiting:
                each.cancel()
            for process in list(going):
                _end(process)
            raise


def _known(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _run(
    made: Program,
    seed: int,
    metric: str,
    environ: Mapping[str, str],
    minutes: float,
    going: set[subprocess.Popen[str]],
) -> dict[str, Any]:
    words = [word.replace(SEED, str(seed)) for word in made.words]
    outcome: dict[str, Any] = {"seed": seed, "value": None, "items": None, "seconds": 0.0, "error": None}
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            words,
            cwd=made.folder,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
            preexec_fn=functools.partial(end_with, os.getpid()),
        )
    except OSError as error:
        return {**outcome, "error": _failure("start", f"{words[0]} cannot be started: {error.strerror}")}
    going.add(process)
    try:
        said, _ = process.communicate(timeout=minutes * 60)
    except subprocess.TimeoutExpired:
        _end(process)
        said, _ = process.communicate()
        return {
            **outcome,
            "error": _failure("hang", f"no end after {minutes:g} minutes: raise --run-minutes", said),
        }
    finally:
        going.discard(process)
    outcome["seconds"] = round(time.monotonic() - began, 3)
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return {**outcome, "error": _failure("signal", f"it was ended by {name}", said)}
    if process.returncode:
        return {**outcome, "error": _failure("crash", f"it left with exit code {process.returncode}", said)}
    return {**outcome, **_read(said, metric)}


def _read(said: str, metric: str) -> dict[str, Any]:
    """Return the value and the items of the last JSON line that has the metric, or the failure."""
    keys: set[str] = set()
    for line in reversed(said.splitlines()):
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(found, dict):
            continue
        keys |= set(found)
        name = metric or (next(iter(found)) if len(found) == 1 else "")
        if name in found:
            return _value(name, found[name])
    named = f"{metric!r}" if metric else "one metric"
    if keys:
        about = f"it printed JSON with {', '.join(sorted(keys))}, not with {named} alone: say --metric"
        return {"error": _failure("output", about, said)}
    return {
        "error": _failure("output", f'it printed no JSON line such as {{"{metric or "metric"}": 0.5}}', said)
    }


def _value(name: str, value: Any) -> dict[str, Any]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return {"error": _failure("output", f"its {name} is {value!r}: a number or a list of them is needed")}
    if not all(isfinite(v) for v in values):
        return {"error": _failure("nan", f"its {name} is not finite")}
    items = [float(v) for v in values] if isinstance(value, list) else None
    return {"value": sum(values) / len(values), "items": items}


def _failure(kind: str, message: str, said: str = "") -> dict[str, str]:
    return {"type": kind, "message": message, "log": "\n".join(said.splitlines()[-20:])}


def _end(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
