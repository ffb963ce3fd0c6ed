"""Seeds until it is decided: compute goes only where a verdict is open, and every look is declared beforehand.

`decide` writes a plan (its looks, their levels, claims, date and digest: a pre-registration) into
`results/plans/` before the first run, brings the seeds of the first look by the sweep engine, judges, and gives
further seeds only to the methods of claims that are still open. It stops when all is decided, when time or seeds
end, or when what is left cannot decide. Verdicts follow from the plan and the runs alone, so a driver that is
killed and repeated reaches the same ones; a ledger beside the plan keeps when each look was taken, and its cost.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, log, nan
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from harness.errors import HarnessError, UsageError
from harness.numbers import number
from harness.papers.plugins import load_all
from harness.papers.statement import Claim, Items, Paper
from harness.runs.files import write_json
from harness.runs.provenance import stale
from harness.runs.results import Record, find_runs
from harness.runs.spec import Spec
from harness.sweeps.choices import jobs as jobs_at_once
from harness.sweeps.choices import offer
from harness.sweeps.ledger import append, locked
from harness.sweeps.sweep import plan_sweep, swept
from harness.sweeps.typed import as_typed
from harness.sweeps.watch import Heard
from harness.verdicts.claims import DECIDED
from harness.verdicts.looks import (
    Memory,
    Plan,
    by_plan,
    chance,
    checked,
    critical,
    decided,
    levels,
    plan_file,
    read_lines,
    read_plan,
    setting_of,
    signed,
)
from harness.verdicts.pairs import only
from harness.verdicts.power import Noise, noise, seeds_for, values
from harness.verdicts.rows import Damage
from harness.verdicts.scorecard import judge
from harness.verdicts.stats import Cell, cells_of, estimate
from harness.verdicts.versus import Versus, Wins, alone, cell_of

Pair = tuple[str, int]  # a method and a seed

# What is asked


@dataclass(frozen=True)
class Question:
    """Which claims are to be decided, in which setting, with which methods, and what the sweep is called with."""

    overrides: tuple[str, ...]  # as typed, without methods and seeds
    paper_name: str
    paper: Paper
    claims: tuple[Claim, ...]
    specs: Mapping[str, Spec]  # by method
    results: Path
    tuned: bool
    versus: Wins = alone
    damage: Damage = field(default_factory=Damage)  # of files, told once

    @property
    def config(self) -> dict[str, Any]:
        """What all its runs share."""
        return next(iter(self.specs.values())).config()

    @property
    def setting(self) -> str:
        """The name of its setting."""
        return setting_of(self.config)


def question(overrides: Sequence[str], chosen: Sequence[str] = ()) -> Question:
    """Return what a command line asks. Raises UsageError for what no plan can be made of."""
    words = [word for word in overrides if word not in ("-m", "--multirun")]
    for word in words:
        if word.lstrip("+").startswith("seed="):
            raise UsageError(
                f"{word}: which seeds run is what `decide` decides; --most-seeds says how many at most"
            )
    plugins = load_all()
    offer(plugins)
    sweep, jobs = plan_sweep(as_typed(["-m", *words, "seed=0"]), plugins)
    if not jobs:
        raise UsageError(
            "this sweep chooses its jobs as it goes: leave the sweeper out, since looks are declared beforehand"
        )
    specs = [spec for _, spec, _ in jobs]
    settings = {setting_of(spec.config()) for spec in specs}
    if len(settings) > 1:
        raise UsageError(
            f"these are {len(settings)} settings (papers, budgets, tasks or data): a plan is for one, decide each"
        )
    paper_name = specs[0].paper
    plugin = next(plugin for plugin in plugins if plugin.name == paper_name)
    paper = plugin.paper
    assert paper is not None
    declared = {spec.name: spec for spec in specs if spec.declared}
    possible = [c for c in paper.claims if set(c.contrast.methods) <= set(declared)]
    if not possible:
        raise UsageError(
            f"no claim of {paper_name} is about {', '.join(sorted({s.title.rpartition(' seed')[0] for s in specs}))} "
            "alone: take the methods that its claims compare, as +experiment does"
        )
    claims = _chosen(paper, possible, chosen)
    needed = {name for claim in claims for name in claim.contrast.methods}
    rest = tuple(word for word in words if not word.startswith("method="))
    tuning = jobs[0][2].tuned and any(paper.methods[name].tune for name in needed)
    return Question(
        rest,
        paper_name,
        paper,
        tuple(claims),
        {name: spec for name, spec in declared.items() if name in needed},
        sweep.results,
        tuning,
        Versus(plugin, sweep.results),
    )


def _chosen(paper: Paper, possible: Sequence[Claim], words: Sequence[str]) -> list[Claim]:
    """Return the claims that were asked for, by their number in the report or by words of theirs."""
    if not words:
        return list(possible)
    asked: list[Claim] = []
    for word in words:
        if word.isdigit():
            found = [claim for i, claim in enumerate(paper.claims, 1) if i == int(word)]
        else:
            found = [claim for claim in paper.claims if word.lower() in claim.text.lower()]
        if not found:
            raise UsageError(
                f"--claims {word}: none of the {len(paper.claims)} claims has this number or these words"
            )
        for claim in found:
            if claim not in possible:
                lacking = ", ".join(claim.contrast.methods)
                raise UsageError(
                    f"--claims {word}: {claim.text!r} needs the methods {lacking}: add them to the sweep"
                )
        asked += [claim for claim in found if claim not in asked]
    return asked


# The plan


def declared(asked: Question, looks: Sequence[int], most: int, spending: str, command: str) -> Plan:
    """Return the setting's plan, written before the first run; or the one that is there already.

    Seeds that are there already count as the first look. A plan that was looked at keeps its looks: other ones
    are told, and from then on its claims are judged as without a plan.
    """
    path = plan_file(asked.results, asked.setting)
    known = read_plan(path)
    first = int(asked.tuned)  # the first seed chose the settings
    wanted = checked([*(n for n in looks if n < most), most], spending)
    texts = tuple(claim.text for claim in asked.claims)
    if known is None:
        there = _there(asked)
        already = max((len([s for s in seeds if s >= first]) for seeds in there.values()), default=0)
        if already > wanted[0]:
            print(
                f"harness: {already} seeds are there already: they count as the first look", file=sys.stderr
            )
            wanted = checked([already, *(n for n in wanted if n > already)], spending)
        _write(path, asked, wanted, spending, first, texts, command, [])
        return _read(path)
    same = set(texts) <= set(known.claims) and spending == known.spending and _alike(wanted, known.looks)
    if same:
        return known
    what = (
        f"looks {_list(known.looks)} became {_list(wanted)}, claims {len(known.claims)} became {len(texts)}"
    )
    if not read_lines(ledger_of(path)):
        _write(path, asked, wanted, spending, known.first, texts, command, [])
    else:
        print(
            f"harness: the plan of {known.date} was looked at before: {what}; this is told", file=sys.stderr
        )
        before = json.loads(path.read_text(encoding="utf-8"))
        change = {"date": _today(), "what": what, "digest": before["digest"]}
        every = (*known.claims, *(text for text in texts if text not in known.claims))
        _write(path, asked, wanted, spending, known.first, every, command, [*before["changed"], change])
    return _read(path)


def _alike(wanted: Sequence[int], known: Sequence[int]) -> bool:
    """Say whether looks are those of a plan, which may have begun at the seeds that were there."""
    return tuple(wanted) == tuple(known) or [n for n in wanted if n > known[0]] == list(known[1:])


def _write(
    path: Path,
    asked: Question,
    looks: tuple[int, ...],
    spending: str,
    first: int,
    claims: Sequence[str],
    command: str,
    changed: list[dict[str, Any]],
) -> None:
    nominal = levels(looks, spending)
    plan = {
        **{key: asked.config[key] for key in ("paper", "budget", "device", "precision", "task_digest")},
        "claims": list(claims),
        "methods": list(asked.specs),
        "looks": list(looks),
        "spending": spending,
        "levels": list(nominal),
        "critical_t": [critical(n, level) for n, level in zip(looks, nominal, strict=True)],
        "first_seed": first,
        "date": _today(),
        "command": command,
    }
    write_json(path, {**plan, "digest": signed(plan), "changed": changed})


def _read(path: Path) -> Plan:
    plan = read_plan(path)
    assert plan is not None
    return plan


def ledger_of(path: Path) -> Path:
    """Return the ledger beside a plan's file: one line for each look that was taken."""
    return path.with_suffix(".jsonl")


# What is there, and what it cost

Runs = Mapping[str, Mapping[int, Record]]  # the finished ones of each method, by seed


def _records(asked: Question) -> list[Record]:
    return [
        record
        for record in find_runs(asked.results, asked.paper_name, asked.damage)
        if setting_of(record.result.config) == asked.setting
    ]


def _there(asked: Question) -> Runs:
    """Return what is there now."""
    found: dict[str, dict[int, Record]] = {name: {} for name in asked.specs}
    for record in _records(asked):
        result = record.result
        name = result.config["name"]
        if name in found and result.config["method_declared"] and result.status == "finished":
            found[name][result.config["seed"]] = record
    return found


def _seconds(runs: Runs, name: str) -> float:
    """Return how long a run of a method took on average; NaN where none has ended."""
    known = [record.result.timings.get("total", 0.0) for record in runs[name].values()]
    return fmean(known) if known else nan


def _missing(asked: Question, runs: Runs, claims: Sequence[Claim], seeds: Sequence[int]) -> list[Pair]:
    """Return the runs that a look at these claims still needs."""
    methods = dict.fromkeys(name for claim in claims for name in claim.contrast.methods)
    return [
        (name, seed)
        for name in methods
        for seed in ([0] if asked.specs[name].deterministic else seeds)
        if seed not in runs[name]
    ]


def _bring(asked: Question, missing: Sequence[Pair], heard: Heard | None) -> None:
    """Run what is missing as one sweep; its seeds are those that some method lacks.

    Raises UsageError where it cannot be started as it was asked for.
    """
    methods = ",".join(f"{asked.paper_name}/{name}" for name in dict.fromkeys(name for name, _ in missing))
    seeds = ",".join(map(str, sorted({seed for _, seed in missing})))
    try:
        swept(["-m", *asked.overrides, f"method={methods}", f"seed={seeds}"], heard)
    except UsageError:
        raise
    except HarnessError as error:  # what has run by now is there to be judged
        print(f"harness: {error}", file=sys.stderr)


# Deciding


@dataclass
class Answer:
    """How far a question has got: its scorecard, what was spent, and why no more seeds are given."""

    card: dict[str, Any]
    plan: Plan
    looks: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""
    left: dict[str, str] = field(default_factory=dict)  # an open claim -> why it gets no more seeds
    takes: dict[str, dict[str, Any]] = field(default_factory=dict)  # and what it would take
    started: set[Pair] = field(default_factory=set)  # the runs that this command brought


def decide(
    asked: Question,
    looks: Sequence[int],
    most: int = 20,
    minutes: float | None = None,
    spending: str = "even",
    power: float = 0.1,
    command: str = "",
    tell: Callable[[str], None] = lambda line: None,
    heard: Heard | None = None,
) -> Answer:
    """Bring seeds, look by look, until every claim is decided or it makes no sense to go on.

    A claim whose chance of being decided by what is left is below `power` gets no more seeds. `tell` is given a
    sentence before and after each look, `heard` an object for each sweep, each run's end and each look.
    """
    path = plan_file(asked.results, asked.setting)
    until = None if minutes is None else time.monotonic() + 60 * minutes
    with locked(path, f"the plan of {asked.paper_name}"):
        plan = declared(asked, looks, most, spending, command)
        tell(f"declared: looks at {_list(plan.looks)} seeds for {len(asked.claims)} claims ({path})")
        answer = Answer({}, plan)
        for look in range(len(plan.looks)):
            open_ = _open(asked, _there(asked), answer, power, look)
            judged = _brought(asked, open_, answer, look, until, tell, heard)
            if not judged:
                break
            _note(asked, judged, answer, look, path, tell, heard)
            if answer.stopped:
                break
        answer.card = _card(asked)
        _close(asked, answer)
    return answer


def _brought(
    asked: Question,
    claims: Sequence[Claim],
    answer: Answer,
    look: int,
    until: float | None,
    tell: Callable[[str], None],
    heard: Heard | None,
) -> list[Claim]:
    """Bring a look's runs, their cost told before; return the claims that have them all.

    A method of which nothing has run here is tried with one seed first, to learn what it costs.
    """
    seeds = list(answer.plan.seeds(look))
    while True:
        runs = _there(asked)
        claims = [c for c in claims if not set(_missing(asked, runs, [c], seeds)) & answer.started]  # failed
        missing = _missing(asked, runs, claims, seeds)
        if not missing:
            return list(claims)
        unknown = {name for name, _ in missing if not isfinite(_seconds(runs, name))}
        if unknown:
            firsts = {name: min(seed for n, seed in missing if n == name) for name in unknown}
            missing = [(name, seed) for name, seed in missing if firsts.get(name) == seed]
            tell(
                f"look {look + 1}: the first run of each method tells what the others cost: {len(missing)} runs"
            )
        else:
            at_once = min(jobs_at_once(), len(missing))
            cost = sum(_seconds(runs, name) for name, _ in missing) / at_once / 60
            tell(
                f"look {look + 1} at {answer.plan.looks[look]} seeds: {len(missing)} runs, {cost:.1f} minutes"
            )
            left = inf if until is None else (until - time.monotonic()) / 60
            if cost > left:
                answer.stopped = (
                    f"look {look + 1} would take {cost:.1f} minutes and {max(left, 0):.1f} are left"
                )
                return [c for c in claims if not _missing(asked, runs, [c], seeds)]
        answer.started |= set(missing)
        _bring(asked, missing, heard)


def _note(
    asked: Question,
    judged: Sequence[Claim],
    answer: Answer,
    look: int,
    path: Path,
    tell: Callable[[str], None],
    heard: Heard | None,
) -> None:
    """Keep in the ledger that a look was taken, unless it is there; say what it decided."""
    runs = _there(asked)
    decided_now = [claim for claim in judged if _decided(asked, runs, answer.plan, claim, look)]
    noted = [line for line in read_lines(ledger_of(path)) if line["look"] == look]
    before = {text for line in noted for text in line["judged"]}
    new = [claim for claim in judged if claim.text not in before]
    if new:
        line = {
            "look": look,
            "seeds": answer.plan.looks[look],
            "date": _today(),
            "judged": [claim.text for claim in new],
            "decided": [claim.text for claim in new if claim in decided_now],
        }
        append(ledger_of(path), line)
        noted.append(line)
    answer.looks += noted
    seeds = answer.plan.looks[look]
    tell(f"look {look + 1} at {seeds} seeds: {len(decided_now)} of {len(judged)} open claims decided")
    if heard:
        texts = {"judged": [one.text for one in judged], "decided": [one.text for one in decided_now]}
        heard({"event": "look", "look": look, "seeds": seeds, **texts})


def _card(asked: Question) -> dict[str, Any]:
    """Return the setting's scorecard with the claims that were asked; empty where no run has ended."""
    cards = judge(asked.paper_name, asked.paper, _records(asked), stale, Memory(asked.results), asked.versus)
    if not cards:
        return {}
    texts = {claim.text for claim in asked.claims}
    return {**cards[0], "claims": [claim for claim in cards[0]["claims"] if claim["text"] in texts]}


def _open(asked: Question, runs: Runs, answer: Answer, power: float, look: int) -> list[Claim]:
    """Return the claims that the next look is for; why an open one is not among them goes into `left`."""
    answer.left = {}
    if look == 0:
        return list(asked.claims)
    found = []
    for claim in asked.claims:
        if _decided(asked, runs, answer.plan, claim, look - 1):
            continue
        reason = _hopeless(asked, runs, answer.plan, claim, power, look)
        if reason:
            answer.left[claim.text] = reason
        else:
            found.append(claim)
    return found


def _decided(asked: Question, runs: Runs, plan: Plan, claim: Claim, look: int) -> bool:
    """Say whether a claim is decided at a look or before, by the seeds that these looks have."""
    cells = _cells(asked, runs, claim, plan.seeds(look))
    if asked.config["budget"] == "smoke" or not all(cell.values for cell in cells):
        return False
    try:
        return _settled(plan, claim, asked.paper, cells)
    except HarnessError:  # other items: this claim cannot be judged
        return False


def _settled(plan: Plan, claim: Claim, paper: Paper, cells: Sequence[Cell]) -> bool:
    found = by_plan(plan, claim, paper.metrics, cells)
    seen = [only(cell, found.at) if found.at else cell for cell in cells]
    return decided(found, claim, paper.metrics, seen)


def _hopeless(asked: Question, runs: Runs, plan: Plan, claim: Claim, power: float, look: int) -> str:
    """Return why a claim that is open after `look` looks needs no further seeds, or ""."""
    if asked.config["budget"] == "smoke":
        return "smoke runs are no evidence"
    told = _told(asked, runs, plan, claim, look)
    if isinstance(told, str):
        return told
    per_seed, found = told
    by = _by(claim)
    if not isfinite(by) or not np.isfinite(per_seed).all():
        return ""
    likely = chance(plan, look, per_seed, by, found.items, found.freedom + 1 if found.items else 0)
    return "" if likely >= power else f"the looks that are left decide it with a chance of {likely:.0%}"


def _told(asked: Question, runs: Runs, plan: Plan, claim: Claim, look: int) -> tuple[np.ndarray, Noise] | str:
    """Return a claim's value at each seed and its noise after `look` looks; or why there is none, in words."""
    seeds = set(plan.seeds(look - 1))
    cells = _cells(asked, runs, claim, plan.seeds(look - 1))
    if all(cell.deterministic for cell in cells):
        return "no seed changes it"
    for cell in cells:
        if not cell.values or (not cell.deterministic and not seeds <= set(cell.values)):
            there = runs.get(cell.method, {}).values()
            told = (r.result.absent[cell.metric] for r in there if cell.metric in r.result.absent)
            why = next(told, cell.absent)
            lacking = f"runs of {cell.method} are missing, have failed, or have no {cell.metric}"
            return f"{cell.method} has no {cell.metric}: {why}" if why else lacking
    try:
        interval = estimate(claim.contrast, asked.paper.metrics, cells)
    except HarnessError as error:
        return str(error)
    per_seed = values(claim.contrast, asked.paper.metrics, cells)
    found = noise(interval)
    return (per_seed, found) if found is not None else interval.reason or "there is no interval"


def _by(claim: Claim) -> float:
    by = claim.contrast.by
    if claim.contrast.kind != "ratio":
        return by
    return log(by) if by > 0 else nan


def _cells(asked: Question, runs: Runs, claim: Claim, seeds: Sequence[int] | range) -> list[Cell]:
    single = [name for name, spec in asked.specs.items() if spec.deterministic]

    def cell(method: str, metric: str) -> Cell:
        if claim.contrast.kind == "wins":
            here = {name: _upto(runs[name], name in single, seeds) for name in claim.contrast.methods}
            return cell_of(claim.contrast.methods, metric, here, single, asked.versus)
        there = runs[method]
        known = {s: r.result.numbers[metric] for s, r in there.items() if metric in r.result.numbers}

        def items() -> dict[int, Items]:
            return {s: r.items[metric] for s, r in there.items() if metric in r.items}

        return only(Cell(method, metric, known, items, asked.specs[method].deterministic), seeds)

    return [cell(*pair) for pair in cells_of(claim.contrast)]


def _upto(runs: Mapping[int, Record], single: bool, seeds: Sequence[int] | range) -> Mapping[int, Record]:
    """Return the runs with these seeds, so that no others are compared; of a method without seeds all."""
    return runs if single else {seed: run for seed, run in runs.items() if seed in seeds}


def _close(asked: Question, answer: Answer) -> None:
    """Say of each claim that is still open why, and what it would take: seeds and hours on this machine."""
    states = {claim["text"]: claim["verdict"] for claim in answer.card.get("claims", ())}
    still = [claim for claim in asked.claims if states.get(claim.text) not in DECIDED]
    if not still:
        answer.stopped = "every claim is decided"
    elif not answer.stopped and len(answer.looks) < len(answer.plan.looks):
        answer.stopped = "what is left cannot decide what is open"
    elif not answer.stopped:
        answer.stopped = f"the plan's {answer.plan.looks[-1]} seeds are used up"
    runs = _there(asked)
    for claim in still:
        taken = sum(claim.text in line["judged"] for line in answer.looks)
        told = _told(asked, runs, answer.plan, claim, taken or 1)
        answer.left.setdefault(claim.text, told if isinstance(told, str) else answer.stopped)
        if isinstance(told, str):
            continue
        per_seed, found = told
        distance = abs(float(per_seed.mean()) - _by(claim))
        needed = seeds_for(distance, found) if isfinite(distance) else None
        methods = [m for m in claim.contrast.methods if not asked.specs[m].deterministic]
        more = max(needed - len(per_seed), 0) if needed else None
        a_seed = sum(_seconds(runs, m) for m in methods) / jobs_at_once() / 3600
        answer.takes[claim.text] = {"seeds": needed, "hours": None if more is None else more * a_seed}


def takes(told: Mapping[str, Any]) -> str:
    """Say what a claim would take, in seeds and hours."""
    if told["seeds"] is None:
        return "no number of seeds up to 1,000 would do if the difference is what it seems"
    return (
        f"{told['seeds']} seeds find it in 80 of 100 cases if the difference is what it seems: "
        f"{number(told['hours'])} hours more on this machine"
    )


def _list(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts))


def _today() -> str:
    return datetime.date.today().isoformat()
