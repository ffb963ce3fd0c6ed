"""Forgeries of a bundle, each made consistent again, and how often `harness verify` sees them.

`python -m benchmarks.forgeries` prints a table: what was forged, seen out of n, the probability that is to be
expected, and which part of a verification saw it. The forger is competent: keys, metrics, verdicts, hashes and the
bundle's digest are made anew by the harness's own code, so that no forgery is found by a mere sum that does not add
up. `--write` puts the table into docs/bundle.md.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import forged
from harness.contract.bench import Altered
from harness.contract.replay import ITEMS, verified
from harness.data.sources import resolve
from harness.exchange.bundles.checking import Finding
from harness.exchange.bundles.making import gathered
from harness.papers.families import with_members
from harness.papers.plugins import Listing, Plugin
from harness.papers.reduction import reduce
from harness.runs.files import digest, write_json
from harness.runs.journal import note
from harness.runs.results import CURVES, Record, find_runs, read_curves, write_items, write_result
from harness.runs.run import execute
from harness.runs.spec import Spec, as_plain
from harness.verdicts.register import add_lines, read_register, registered
from harness.verdicts.scorecard import judge

PAGE = Path(__file__).parent.parent / "docs" / "bundle.md"
PLUGIN = Plugin(Listing("forged", forged.__name__, "forged", "0", ""), forged, with_members(forged.paper()))
SEEDS, SWEEP, NAME = range(3), "made", "table.csv"
ROWS = 2400
START = 20  # steps that a patient forger makes honestly


@dataclass
class Case:
    """A trial: its table of data, its results folder and its chance."""

    folder: Path
    table: Path
    chance: random.Random
    plugin: Any = PLUGIN

    @property
    def results(self) -> Path:
        """Where its runs are."""
        return self.folder / "results"

    def spec(self, method: str, seed: int, results: Path | None = None, table: Path | None = None) -> Spec:
        """Return the spec of a run on this trial's table, or another's, under the same name."""
        stated = PLUGIN.paper.methods[method]  # type: ignore[union-attr]
        source = resolve(str(table or self.table), cache=self.folder / "cache", columns=("x0", "y"))
        return Spec(
            paper=PLUGIN.name,
            name=method,
            method=as_plain(stated.config),
            declared=True,
            changes={},
            task=as_plain(forged.Task()),
            data={"table": NAME},
            sources={"table": dataclasses.replace(source, name=NAME)},
            model="",
            model_source=None,
            budget="small",
            seed=seed,
            deterministic=False,
            baseline=stated.baseline,
            device="cpu",
            precision="float32",
            processes=1,
            results=results or self.results,
            sweep=SWEEP,
        )

    def run(self, spec: Spec, plugin: Any = PLUGIN) -> None:
        """Make a run and note it in the sweep's journal."""
        result = execute(spec, plugin)
        note(spec.results / "sweeps" / f"{SWEEP}.jsonl", spec.run_key, spec, result, result.status)

    def records(self) -> list[Record]:
        """Return the runs."""
        return list(find_runs(self.results))


def honest(folder: Path, seed: int) -> Case:
    """Return an honest sweep on a table drawn from `seed`, judged once by a report."""
    case = Case(folder, folder / NAME, random.Random(seed))
    write_table(case.table, seed)
    for name in PLUGIN.paper.methods:  # type: ignore[union-attr]
        for one in SEEDS:
            case.run(case.spec(name, one))
    register(case, PLUGIN)
    return case


def register(case: Case, plugin: Any) -> None:
    """Enter the claims in the register as a report does, in place of what stands there."""
    path = case.results / "register.jsonl"
    path.unlink(missing_ok=True)
    _, added = registered(judge(plugin.name, plugin.paper, case.records()), read_register(path))
    add_lines(path, added)


def write_table(path: Path, seed: int, noise: float = 1.0) -> None:
    """Write rows whose answer depends on all columns."""
    chance = np.random.default_rng(seed)
    columns = chance.normal(size=(ROWS, forged.COLUMNS))
    answers = columns.sum(axis=1) + noise * chance.normal(size=ROWS) > 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*(f"x{i}" for i in range(forged.COLUMNS)), "y"])
        rows.writerows([*map("{:.6f}".format, row), int(y)] for row, y in zip(columns, answers, strict=True))


# What forgers do


def nothing(case: Case) -> None:
    """Leave everything as it is."""


def swapped_seed(case: Case) -> None:
    """Run six more seeds of the method and tell the best one's outcome as the worst one's."""
    other = case.folder / "other"
    for seed in range(10, 16):
        execute(case.spec("all", seed, other), PLUGIN)
    best = max(find_runs(other), key=_accuracy)
    worst = min((r for r in case.records() if _method(r) == "all"), key=_accuracy)
    told = worst.result
    shutil.rmtree(worst.folder)
    shutil.copytree(best.folder, worst.folder)
    config = {**best.result.config, "seed": told.config["seed"]}
    write_json(worst.folder / "config.json", config)
    write_result(worst.folder, dataclasses.replace(best.result, run_key=told.run_key, config=config))


def spliced_seed(case: Case) -> None:
    """Swap a seed, and tell the true one's first points of the curve before the other's."""
    before = {record.folder: read_curves(record.folder) for record in case.records()}
    swapped_seed(case)
    for folder, true in before.items():
        now = read_curves(folder)
        rows = [one if one["step"] <= START else other for one, other in zip(true, now, strict=True)]
        (folder / CURVES).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def edited(count: int) -> Callable[[Case], None]:
    """Return a forger who turns `count` wrong answers of one run right."""

    def edit(case: Case) -> None:
        record = case.chance.choice([r for r in case.records() if _method(r) == "all"])
        items = record.items
        right = items["accuracy"].columns["right"].copy()
        wrong = [place for place, value in enumerate(right) if not value]
        right[case.chance.sample(wrong, min(count, len(wrong)))] = 1.0
        items["accuracy"] = dataclasses.replace(items["accuracy"], columns={"right": right})
        write_items(record.folder, items)
        _tell(record, accuracy=reduce(PLUGIN.paper.metrics["accuracy"], {"right": right}))  # type: ignore[union-attr]

    return edit


def edited_metrics(case: Case) -> None:
    """Write two points more of accuracy for every run of the method; the items stay."""
    for record in case.records():
        if _method(record) == "all":
            _tell(record, accuracy=min(record.result.metrics["accuracy"] + 0.02, 1.0))


def other_data(case: Case) -> None:
    """Run everything on an easier table and tell its own digest under the name."""
    write_table(case.folder / "easier.csv", case.chance.randrange(10**6), noise=0.2)
    _again(case, table=case.folder / "easier.csv")


def other_data_denied(case: Case) -> None:
    """Run everything on an easier table and tell the digest of the real one."""
    other_data(case)
    journal = case.results / "sweeps" / f"{SWEEP}.jsonl"
    journal.unlink()
    for record in case.records():
        true = case.spec(_method(record), record.result.config["seed"])
        data = {"table": {**record.result.data["table"], "digest": true.sources["table"].digest}}
        told = dataclasses.replace(record.result, run_key=true.run_key, config=true.config(), data=data)
        write_json(record.folder / "config.json", true.config())
        write_result(record.folder, told)
        os.replace(record.folder, record.folder.with_name(true.run_key[:16]))
        note(journal, true.run_key, true, told, "finished")


def dropped_seed(case: Case) -> None:
    """Drop the method's worst seed, its line of the sweep too."""
    worst = min((r for r in case.records() if _method(r) == "all"), key=_accuracy)
    shutil.rmtree(worst.folder)
    journal = case.results / "sweeps" / f"{SWEEP}.jsonl"
    lines = [line for line in journal.read_text("utf-8").splitlines() if worst.result.run_key not in line]
    journal.write_text("\n".join(lines) + "\n", "utf-8")


def test_in_training(case: Case) -> None:
    """Train every run on the test rows too."""
    _again(case, plugin=Altered(PLUGIN, train=_cheating(0)))


def test_in_training_late(case: Case) -> None:
    """Train every run honestly for its first twentieth, and on the test rows alone from there."""
    _again(case, plugin=Altered(PLUGIN, train=_cheating(START)))


def bound_changed(case: Case) -> None:
    """Ask less of the first claim than the paper's plugin does, as if it had always been asked."""
    paper = PLUGIN.paper
    assert paper is not None
    first = paper.claims[0]
    easier = dataclasses.replace(first, contrast=dataclasses.replace(first.contrast, by=0.01))
    case.plugin = dataclasses.replace(
        PLUGIN, paper=dataclasses.replace(paper, claims=[easier, *paper.claims[1:]])
    )
    register(case, case.plugin)


def stale_code(case: Case) -> None:
    """Tell runs of an older plugin, which trained with another rate, with the digests that it had."""
    stale_code_denied(case)
    for record in case.records():
        told = record.result.code["definitions"]
        older = {key: digest(value)[:16] if key.endswith(":train") else value for key, value in told.items()}
        code = {**record.result.code, "definitions": older}
        write_result(record.folder, dataclasses.replace(record.result, code=code))


def stale_code_denied(case: Case) -> None:
    """Tell runs of an older plugin, which trained with another rate, with today's digests."""

    def older(run: Any) -> None:
        run.task = dataclasses.replace(run.task, learning_rate=run.task.learning_rate * 1.2)
        PLUGIN.hook("train")(run=run)

    _again(case, plugin=Altered(PLUGIN, train=older))


def _cheating(since: int) -> Callable[[Any], None]:
    """Return a `train` whose batches hold test rows from step `since` on: along with the others from the start."""

    def train(run: Any) -> None:
        test = forged.Rows(np.load(run.data_dir / "test.npy"), run.task.batch_size, run.seed)
        fit = run.fit

        class Mixed:
            def __init__(self, rows: Any) -> None:
                self.rows, self.done = rows, 0

            def __getattr__(self, name: str) -> Any:
                return getattr(self.rows, name)

            def __next__(self) -> Any:
                self.done += 1
                return next(test if self.done > since and (since or self.done % 2) else self.rows)

        run.fit = lambda model, rows, *rest, **options: fit(model, Mixed(rows), *rest, **options)
        PLUGIN.hook("train")(run=run)

    return train


def _again(case: Case, table: Path | None = None, plugin: Any = PLUGIN) -> None:
    """Make all runs of a case anew: on another table, or by other code."""
    shutil.rmtree(case.results)
    for name in PLUGIN.paper.methods:  # type: ignore[union-attr]
        for seed in SEEDS:
            case.run(case.spec(name, seed, table=table), plugin)
    register(case, PLUGIN)


def _tell(record: Record, **metrics: float) -> None:
    write_result(
        record.folder, dataclasses.replace(record.result, metrics={**record.result.metrics, **metrics})
    )


def _method(record: Record) -> str:
    return str(record.result.config["name"])


def _accuracy(record: Record) -> float:
    return float(record.result.metrics["accuracy"])


# The table

WHOLE = ", verified with --whole"
MANY = 66  # a twentieth of the test items


def drawn(count: int) -> float:
    """Return how probable it is that 64 of the test items hold one of `count`."""
    return 1 - comb(forged.TEST - count, ITEMS) / comb(forged.TEST, ITEMS)


KINDS: Mapping[str, tuple[Callable[[Case], None], float]] = {
    "nothing: an honest bundle": (nothing, 0.0),
    "swapped seed: the best of six more, told as the worst": (swapped_seed, 1.0),
    "swapped seed, behind the first points of the true one": (spliced_seed, 0.0),
    f"the same{WHOLE}": (spliced_seed, 1 / 6),
    "edited items: one of 1,319, of one run": (edited(1), drawn(1)),
    f"edited items: {MANY} of 1,319, of one run": (edited(MANY), drawn(MANY)),
    "edited metrics": (edited_metrics, 1.0),
    "other data, with their own digest": (other_data, 1.0),
    "other data, with the digest of the named ones": (other_data_denied, 1.0),
    "dropped seed of one method": (dropped_seed, 1.0),
    "test rows in training": (test_in_training, 1.0),
    "test rows in training, after the first steps": (test_in_training_late, 0.0),
    f"the same later{WHOLE}": (test_in_training_late, 1.0),
    "bound changed after data": (bound_changed, 1.0),
    "stale code, as its digests tell": (stale_code, 1.0),
    "stale code, with today's digests": (stale_code_denied, 1.0),
}
ALWAYS = (
    "edited metrics",
    "dropped seed of one method",
    "bound changed after data",
    "stale code, as its digests tell",
)


def trial(kind: str, folder: Path, case: Case, seed: int) -> list[Finding]:
    """Forge a copy of an honest sweep, bundle it, and return what a verification with this seed finds."""
    copy = dataclasses.replace(case, folder=folder, chance=random.Random(seed))
    shutil.copytree(case.results, copy.results)
    KINDS[kind][0](copy)
    bundle = folder / "bundle"
    bundle.mkdir()
    packed(copy, bundle)
    found = verified(
        bundle,
        lambda name: PLUGIN,
        folder / "room",
        folder / "cache",
        seed=seed,
        whole=kind.endswith(WHOLE),
        data={"table": str(case.table)},
    )
    return list(found)


def packed(case: Case, bundle: Path) -> None:
    """Bundle a case's runs, by the forger's own plugin where there is one, without the maker's own refusals."""
    gathered(case.records(), case.results, bundle, lambda name: case.plugin, outputs=True)


def seen_by(findings: list[Finding]) -> list[str]:
    """Return the parts of a verification in which something parted."""
    return sorted({finding.part for finding in findings if finding.ok is False})


def rows(honests: int, trials: int, singles: int, room: Path) -> Iterator[tuple[str, int, int, float, str]]:
    """Yield of each kind: seen, out of, expected, by which parts; `singles` trials where one item was edited."""
    cases: list[Case] = []
    for place, (kind, (_, expected)) in enumerate(KINDS.items()):
        seen: dict[str, int] = {}
        count, hits = honests if not place else singles if "one of" in kind else trials, 0
        for n in range(count):
            if not place:
                cases.append(honest(room / "honest" / str(n), n))
            folder = room / "trial"
            parts = seen_by(trial(kind, folder, cases[n % honests], 1000 + n))
            shutil.rmtree(folder)
            hits += bool(parts)
            for part in parts:
                seen[part] = seen.get(part, 0) + 1
            print(f"{kind}: {hits} of {n + 1}", file=sys.stderr, flush=True)
        yield kind, hits, count, expected, ", ".join(sorted(seen, key=lambda part: -seen[part])) or "–"


def table(honests: int, trials: int, singles: int, room: Path) -> str:
    """Return the table as Markdown, with what it says and what no verifier sees."""
    from harness.commands.verify import UNSEEN

    found = list(rows(honests, trials, singles, room))
    lines = ["| forged | seen | expected | by |", "| --- | --- | --- | --- |"]
    for kind, hits, count, expected, parts in found:
        shown = "always" if kind in ALWAYS else f"{expected:.1%}"
        lines.append(f"| {kind} | {hits} of {count} | {shown} | {parts} |")
    refused, count = found[0][1:3]
    said = [
        f"{time.strftime('%Y-%m-%d')}, CPU. Honest bundles refused: {refused} of {count}. `always` are the kinds that "
        "recomputation alone must see.",
        f"One edited item of {forged.TEST:,} is among {ITEMS} drawn ones with probability {drawn(1):.1%}: in one of",
        "twenty verifications. Each draws anew: fourteen of them see it in one case of two.",
        "",
        UNSEEN,
    ]
    return "\n".join([*lines, "", *said])


def main() -> None:
    """Print the table; with --write also put it into docs/bundle.md."""
    from harness.runs.isolate import quiet_threads

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--honest", type=int, default=20, help="honest bundles, of which the forgeries are made"
    )
    parser.add_argument("--trials", type=int, default=20, help="trials of each kind")
    parser.add_argument("--singles", type=int, default=100, help="trials with one edited item")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    quiet_threads()
    begun = time.process_time()
    with tempfile.TemporaryDirectory(prefix="forgeries-") as room:
        told = table(asked.honest, asked.trials, asked.singles, Path(room).resolve())
    print(told)
    print(f"\n{time.process_time() - begun:.0f} s of processor time, slices apart")
    if asked.write:
        begin, end = "<!-- forgeries -->\n", "\n<!-- /forgeries -->"
        page = PAGE.read_text("utf-8")
        before, _, rest = page.partition(begin)
        PAGE.write_text(f"{before}{begin}{told}{end}{rest.partition(end)[2]}", "utf-8")


if __name__ == "__main__":
    main()
