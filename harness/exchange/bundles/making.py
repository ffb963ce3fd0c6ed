"""Gather runs into a bundle: all of a sweep's, whole, with what their results folder remembers of bounds and looks."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.exchange.bundles.checking import Plugins, cards_in, lost_seeds, run_of
from harness.exchange.bundles.sealed import CLAIMS, Job, Manifest, Refused, pack, seal
from harness.exchange.claims import claims_of_card, write_claims
from harness.runs.files import write_text
from harness.runs.journal import read_journal
from harness.runs.produced import JUDGED, PRODUCED
from harness.runs.results import (
    CONFIG,
    CURVES,
    DIFF,
    ITEMS,
    PACKAGES,
    RESULT,
    Record,
    find_runs,
    read_config,
    read_items,
)
from harness.verdicts.looks import plan_file, read_lines, setting_of
from harness.verdicts.register import SETTING, read_register
from harness.verdicts.rows import Damage, named

KEPT = (CONFIG, RESULT, ITEMS, CURVES, PACKAGES, DIFF, PRODUCED, JUDGED)
FEW = 5  # of many missing runs, so many are named
PLAIN = (".safetensors", ".json", ".jsonl", ".txt", ".npy")  # of what a run left: no kind that can hold code


def bundle(
    words: Sequence[str], results: Path, out: Path, plugins: Plugins, outputs: bool = False
) -> Manifest:
    """Write the runs that `words` name, all without any, as a bundle: one archive where `out` ends in .zip.

    `outputs` adds what the runs left, such as weights: items can then be asked for again. Raises HarnessError for
    runs that are damaged, not ended or missing, and names them; UsageError where `out` is there already.
    """
    if out.exists() and (out.suffix != ".zip" or not out.is_file()):
        raise UsageError(f"{out} is there already: name a new folder, or a file that ends in .zip")
    records = _chosen(words, results)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as room:
        folder = Path(room) / "bundle"
        folder.mkdir()
        manifest = gathered(records, results, folder, plugins, outputs)
        if lost := lost_seeds(manifest["runs"], manifest["sweeps"], records):
            more = f" and {len(lost) - FEW} more" if len(lost) > FEW else ""
            raise HarnessError(
                f"no bundle is made without {'; '.join(lost[:FEW])}{more}: run what is missing, or name other runs"
            )
        if out.suffix == ".zip":
            pack(folder, out)
        else:
            shutil.move(folder, out)
    return manifest


def _chosen(words: Sequence[str], results: Path) -> list[Record]:
    """Return the ended runs that are asked for, in a stable order. Raises HarnessError for one that is not whole."""
    damage = Damage()
    groups = (
        [named(word, results, damage=damage) for word in words]
        if words
        else [list(find_runs(results, damage=damage))]
    )
    for word, group in zip(words, groups, strict=False):
        if not group:
            raise UsageError(f"{word!r} names no run under {results}: see harness status")
    found = {str(record.folder): record for group in groups for record in group}
    records = [found[key] for key in sorted(found)]
    if not records:
        raise UsageError(f"{results} holds no ended runs: harness run -m +experiment=quickstart makes some")
    for record in records:
        if record.result.status == "finished":
            try:
                read_items(record.folder)
            except HarnessError as error:
                damage(str(error))
    begun = [_begun(path) for path in _unended(records, results)]
    if damage.told or begun:
        raise HarnessError(
            "no bundle is made of runs that are not whole: "
            + "; ".join([*damage.told, *(f"{title} has not ended" for title in begun)])
        )
    return records


def _unended(records: Sequence[Record], results: Path) -> Iterable[Path]:
    """Yield the folders of runs of the same methods and settings that began and have not ended."""
    places = {(r.folder.parent, setting_of(r.result.config)) for r in records}
    for parent in sorted({parent for parent, _ in places}):
        if not parent.is_relative_to(results / "runs"):
            continue
        for config in sorted(parent.glob(f"*/{CONFIG}")):
            told = read_config(config.parent)
            if not (config.parent / RESULT).exists() and told and (parent, setting_of(told)) in places:
                yield config.parent


def _begun(folder: Path) -> str:
    config: Mapping[str, Any] = read_config(folder) or {}
    return f"{config.get('paper')}/{config.get('name')} seed {config.get('seed')} ({folder.name})"


def gathered(
    records: Sequence[Record], results: Path, folder: Path, plugins: Plugins, outputs: bool = False
) -> Manifest:
    """Fill the empty `folder` with a bundle of these runs, and seal it."""
    for record in records:
        config = record.result.config
        to = folder / "runs" / config["paper"] / config["name"] / record.result.run_key[:16]
        to.mkdir(parents=True)
        for name in KEPT:
            if (record.folder / name).is_file():
                shutil.copyfile(record.folder / name, to / name)
        if outputs and (record.folder / "output").is_dir():
            _outputs(record.folder / "output", to / "output")
    _remembered(records, results, folder)
    whole = list(find_runs(folder))
    papers: dict[str, list[Record]] = {}
    for record in whole:
        papers.setdefault(str(record.result.config["paper"]), []).append(record)
    claims = [
        claims_of_card(card, own)
        for name, own in papers.items()
        for card in cards_in(folder, plugins(name), own)
    ]
    write_claims(folder / CLAIMS, claims)
    sweeps = {sweep: _jobs(results, sweep) for sweep in _sweeps(records, results)}
    return seal(folder, [run_of(record, folder) for record in whole], sweeps)


def _outputs(output: Path, to: Path) -> None:
    """Copy what a run left. Raises Refused for a file of a kind that no bundle holds."""
    for path in sorted(output.rglob("*")):
        if path.is_symlink() or (path.is_file() and path.suffix not in PLAIN):
            raise Refused(
                f"{path} is of no kind that a bundle holds ({', '.join(PLAIN)}): leave --outputs out"
            )
        if path.is_file():
            place = to / path.relative_to(output)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _remembered(records: Sequence[Record], results: Path, folder: Path) -> None:
    """Copy what the results folder knows of these runs' settings: first bounds, former looks and declared plans."""
    configs = [record.result.config for record in records]
    settings = {setting_of(config) for config in configs}
    places = [[config["paper"], *(config[key] for key in SETTING)] for config in configs]
    looks = [line for line in read_lines(results / "looks.jsonl") if line.get("setting") in settings]
    bounds = [line for line in read_register(results / "register.jsonl") if line.get("setting") in places]
    for name, lines in (("looks.jsonl", looks), ("register.jsonl", bounds)):
        if lines:
            write_text(folder / name, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    for setting in sorted(settings):
        plan = plan_file(results, setting)
        if plan.is_file():
            plan_file(folder, setting).parent.mkdir(exist_ok=True)
            shutil.copyfile(plan, plan_file(folder, setting))


def _sweeps(records: Sequence[Record], results: Path) -> list[str]:
    """Return the sweeps that made these runs, and those that were asked for one of them and found it there."""
    keys = {record.result.run_key for record in records}
    made = {str(record.result.config.get("sweep", "")) for record in records}
    journals = sorted((results / "sweeps").glob("*.jsonl"))
    asked = {path.stem for path in journals if any(line["run_key"] in keys for line in read_journal(path))}
    return sorted(made | asked)


def _jobs(results: Path, sweep: str) -> list[Job] | None:
    """Return what a sweep was asked for, from its journal; None where that is gone."""
    path = results / "sweeps" / f"{sweep}.jsonl"
    if not sweep or not path.is_file():
        return None
    jobs = {}
    for line in read_journal(path):
        method, _, seed = str(line["title"]).rpartition(" seed ")
        if method and seed.isdigit():
            job: Job = {
                "method": method,
                "seed": int(seed),
                "run_key": line["run_key"],
                "outcome": line["outcome"],
            }
            jobs[line["run_key"]] = job
    return [jobs[key] for key in sorted(jobs)]
