"""Name runs on a command line: a folder, a sweep, a run key, or a filter such as `alibi/rotary,budget=small`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError, nearest
from harness.papers.plugins import Plugin, listed, load
from harness.papers.reduction import reduce
from harness.papers.statement import Items, Paper
from harness.runs.files import tell
from harness.runs.journal import read_journal
from harness.runs.provenance import stale
from harness.runs.results import RESULT, Damaged, Record, find_runs, read_record

SHORT = {"method": "name"}  # what a filter may say for a field of a run's config
UNTUNED = "{} (tuned=False)"  # the label of a method with a grid, run with its default settings
ABOUT = ("seed", "sweep", "tuned", "method_changes", "method_declared", "deterministic", "baseline")


@dataclass
class Damage:
    """What is wrong with the files of runs that a command reads: told once each, and its exit code then 1."""

    told: list[str] = field(default_factory=list)

    def __call__(self, message: str) -> None:
        if message not in self.told:
            self.told.append(message)
            tell(message)

    @property
    def exit_code(self) -> int:
        """0 where nothing is wrong, else 1."""
        return 1 if self.told else 0


@dataclass(frozen=True)
class Checked(Record):
    """A run whose items, when they are read, must give the claimed metrics that its result says."""

    paper: Paper
    damage: Callable[[str], None]

    @property
    def items(self) -> dict[str, Items]:
        """The items behind each metric; what is wrong with them is given to `damage`."""
        try:
            found = super().items
        except Damaged as error:
            self.damage(f"damaged: {error}")
            raise
        claimed = {metric for claim in self.paper.claims for metric in claim.contrast.metrics}
        for metric in claimed & found.keys() & self.result.metrics.keys() if not stale(self) else ():
            here, given = (
                self.result.metrics[metric],
                reduce(self.paper.metrics[metric], found[metric].columns),
            )
            if here is not None and not isclose(here, given, rel_tol=1e-9, abs_tol=1e-12):
                self.damage(
                    f"damaged: {self.folder / RESULT} says {metric} = {here:.6g}, its items give {given:.6g}: "
                    "make the run again with rerun=true"
                )
        return found


@dataclass
class Row:
    """The finished runs of one method setting, by seed."""

    label: str
    config: Mapping[str, Any]
    runs: dict[int, Record] = field(default_factory=dict)

    @property
    def deterministic(self) -> bool:
        """Whether one run is all there is: it pairs with every seed of the others."""
        return bool(self.config["deterministic"])


def label_of(config: Mapping[str, Any]) -> str:
    """Return a declared method's name, or `name (field=value, ...)` for other settings of it."""
    if config["method_declared"]:
        return str(config["name"])
    changes = ", ".join(f"{key}={value}" for key, value in config["method_changes"].items())
    return f"{config['name']} ({changes or 'changed'})"


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted names."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= (
            flat(value, f"{prefix}{key}.")
            if isinstance(value, Mapping) and value
            else {f"{prefix}{key}": value}
        )
    return found


def named(
    words: str, results: Path, records: Sequence[Record] | None = None, damage: Callable[[str], None] = tell
) -> list[Record]:
    """Return the ended runs, failed ones too, that `words` name, of `records` or of those under `results`.

    Raises UsageError for a field that no run has.
    """
    path = Path(words).expanduser()
    if path.is_dir() and (path / RESULT).exists():
        record = read_record(path, damage)
        return [record] if record else []
    if path.is_dir() and (path / "runs").is_dir():
        return list(find_runs(path.resolve(), damage=damage))
    return _matching(words, results, records, damage)


def select(
    words: str, results: Path, records: Sequence[Record] | None = None, damage: Callable[[str], None] = tell
) -> list[Record]:
    """Return the finished runs that `words` name, of `records` or of those under `results`.

    Raises UsageError where they name none, or a field that no run has.
    """
    found = named(words, results, records, damage)
    finished = [record for record in found if record.result.status == "finished"]
    if not finished:
        reason = f"{len(found)} runs, none of them finished" if found else "no run"
        untuned = _untuned(words, results, records, damage) if not found else []
        if untuned:
            raise UsageError(f"{words!r} was run with tuned=false only: say '{words},tuned=false'")
        raise UsageError(f"{words!r} names {reason} under {results}: see harness status")
    return finished


def _untuned(
    words: str, results: Path, records: Sequence[Record] | None, damage: Callable[[str], None]
) -> list[Record]:
    """Return the runs with tuned=false that `words` would name with that said."""
    return (
        _matching(f"{words},tuned=false", results, records, damage)
        if "/" in words and "=" not in words
        else []
    )


def _matching(
    words: str, results: Path, records: Sequence[Record] | None, damage: Callable[[str], None]
) -> list[Record]:
    start = re.match(r"(?:paper=)?([\w-]+)(?:[/,]|$)", words)
    paper = start.group(1) if start and (results / "runs" / start.group(1)).is_dir() else "*"
    known = list(find_runs(results, paper, damage)) if records is None else records
    by_key = [r for r in known if len(words) >= 6 and r.result.run_key.startswith(words)]
    if by_key:
        return by_key
    journal = results / "sweeps" / f"{words}.jsonl"
    if journal.exists():  # also those of its runs that another sweep had made
        keys = {line["run_key"] for line in read_journal(journal)}
        return [r for r in known if r.result.run_key in keys]
    in_sweep = [r for r in known if r.result.config.get("sweep") == words]
    return in_sweep or _filtered(words, known)


def _filtered(words: str, records: Sequence[Record]) -> list[Record]:
    wanted: dict[str, str] = {}
    for word in re.split(r",(?![^(\[]*[)\]])", words):  # not the commas within a list or a label
        key, equals, value = word.partition("=")
        if equals and "(" not in key:
            wanted[SHORT.get(key, key)] = value
        elif "/" in word:
            wanted["paper"], _, wanted["label"] = word.partition("/")
        else:
            wanted["paper"] = word
    flats = [
        {**flat(r.result.config), "label": label_of(r.result.config), "run_key": r.result.run_key}
        for r in records
    ]
    if wanted.get("tuned", "").lower() == "false" and "label" in wanted:
        wanted["label"] = UNTUNED.format(wanted["label"])
        del wanted["tuned"]
    fields = {key for row in flats for key in row}
    for key in wanted:
        if flats and key not in fields:
            raise UsageError(f"{words!r} asks for {key!r}, which no run has: {nearest(key, fields)}")
    return [
        record
        for record, row in zip(records, flats, strict=True)
        if all(key in row and str(row[key]) == value for key, value in wanted.items())
    ]


def rows_of(records: Sequence[Record], side: str) -> dict[tuple[str, str], Row]:
    """Return runs by (paper, label), each by seed.

    Raises UsageError where two runs of one method have one seed: the comparison would have to choose.
    """
    rows: dict[tuple[str, str], Row] = {}
    for record in records:
        config = record.result.config
        label = label_of(config)
        row = rows.setdefault((config["paper"], label), Row(label, config))
        seed = config["seed"]
        if seed in row.runs and row.runs[seed].result.run_key != record.result.run_key:
            one, other = (flat(r.result.config) for r in (row.runs[seed], record))
            names = [k for k in one | other if k not in ABOUT and one.get(k) != other.get(k)]
            names = [k for k in names if k != "task_digest"] or names or ["run_key"]
            keys = ", ".join(f"{k} ({one.get(k)} and {other.get(k)})" for k in names[:3])
            raise UsageError(
                f"{side} holds two runs of {config['paper']}/{label} with seed {seed}, which differ in {keys}: "
                "say which, as in budget=small"
            )
        row.runs[seed] = record
    for row in rows.values():
        row.runs = {seed: row.runs[seed] for seed in sorted(row.runs)[: 1 if row.deterministic else None]}
    return rows


def ended(
    papers: Sequence[str], results: Path, uri: str, damage: Callable[[str], None] = tell
) -> Iterable[tuple[Plugin, list[Record]]]:
    """Yield each paper with its ended runs, from the folders or from a tracking store.

    Raises UsageError for an unknown paper, HarnessError where there is nothing to judge.
    """
    known = [listing.name for listing in listed()]
    for name in papers:
        if "=" in name:
            raise UsageError(
                f"{name}: settings are for `harness run`; here it is --results FOLDER or --from URI"
            )
        if name not in known:
            raise UsageError(f"no paper {name!r} is installed: {nearest(name, known)}")
    if uri:
        from harness.runs.mirror import fetch

        records = fetch(uri, results / "stages" / "fetched", papers, damage)
    else:
        records = [record for name in (papers or ["*"]) for record in find_runs(results, name, damage)]
    names = sorted({record.result.config["paper"] for record in records})
    if not names:
        where = uri or results
        example = papers[0] if papers else "quickstart"
        raise HarnessError(f"{where} holds no ended runs to judge: harness run -m +experiment={example}")
    for name in names:
        if name in known:
            plugin = load(name)
            assert plugin.paper is not None
            own = [record for record in records if record.result.config["paper"] == name]
            yield plugin, [Checked(record.folder, record.result, plugin.paper, damage) for record in own]
        else:
            print(f"harness: runs of {name!r} are left out: that paper is not installed", file=sys.stderr)
