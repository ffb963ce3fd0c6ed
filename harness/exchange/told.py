"""Runs as others told them: values, and what there is to know of their uncertainty.

A file of results is data. Nothing of it is executed, links do not lead out of the folder that was named, sizes are
limited, and names are printed without control codes. A run that crashed or left nothing is told, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data import files
from harness.errors import UsageError, said
from harness.numbers import printable
from harness.papers.statement import Metric

BYTES, FILES = 64 * 2**20, 10_000  # of one file, and how many files
NAME = 200  # characters


@dataclass(frozen=True)
class Outcome:
    """One run of a method, as its file tells it; with `trouble` it is told and not judged.

    `values`, `number` (the test items a share is of), `errors` (standard errors) and `items` (value by item id) are
    by metric. `setting` is what all runs of a task should share.
    """

    task: str
    method: str
    source: str
    seed: int | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    number: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    items: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    setting: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True)
class Told:
    """What a reader found: the metrics of each task, the first being asked unless another is, and the runs.

    `costs` says what each cost is, the first being what the front stands against; "seconds" is a run's time.
    """

    tasks: Mapping[str, Mapping[str, Metric]]
    outcomes: Sequence[Outcome]
    costs: Mapping[str, str] = field(default_factory=dict)


def documents(paths: Sequence[Path], suffix: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield (name, record) of each JSON file below `paths`, or (name, why it cannot be read).

    Raises UsageError where a path does not exist, where there are no or too many files, or where none can be read.
    """
    yield from ((path.name, record) for path, record in placed(paths, suffix))


def placed(paths: Sequence[Path], suffix: str) -> Iterator[tuple[Path, dict[str, Any] | str]]:
    """Yield the same with the whole path of each file."""
    found: list[tuple[Path, dict[str, Any] | str]] = []
    for path in tables(paths, suffix):
        try:
            found += [(path, record) for record in records(path)]
        except UsageError as error:
            found.append((path, str(error)))
    broken = [record for _, record in found if isinstance(record, str)]
    if broken and len(broken) == len(found):
        raise UsageError(broken[0])
    yield from found


def tables(paths: Sequence[Path], suffix: str) -> list[Path]:
    """Return the files of this kind below `paths`. Raises UsageError where there are none, or too many."""
    every = [file for path in paths for file in files.data_files(path) if file.suffix.lower() == suffix]
    if not every:
        raise UsageError(f"{paths[0]} holds no {suffix} file: name the folder or the files of the results")
    if len(every) > FILES:
        raise UsageError(f"{paths[0]} holds {len(every):,} files: judge at most {FILES:,} at once")
    return list(dict.fromkeys(every))


def records(path: Path) -> list[dict[str, Any]]:
    """Return the records of one table. Raises UsageError for what is too large, empty or no table."""
    try:
        size = path.stat().st_size
        if size > BYTES:
            raise UsageError(f"{path} has {size:,} bytes: at most {BYTES:,} are read, so split it")
        found = list(files.rows(path))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start}): convert it") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): check your rights to it") from None
    if not found:
        raise UsageError(f"{path} holds no results: name a file that has some")
    return found


def name(value: Any, where: str) -> str:
    """Return a name that came from data, on one line. Raises UsageError for what is none."""
    text = " ".join(printable(value).split()) if isinstance(value, str) else ""
    if not 0 < len(text) <= NAME:
        raise UsageError(
            f"{where} has no name of 1 to {NAME} characters ({said(ValueError(repr(value)[:60]))}): give it one"
        )
    return text
