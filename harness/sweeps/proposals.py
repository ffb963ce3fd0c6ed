"""Is this change better? Proposals for a base, one after the other, under one error rate for the whole campaign.

Base and candidate run with the same seeds, look by look; a plainly hopeless candidate stops early. A campaign is
a folder: a ledger, only ever appended to and held by one command at a time, with the outcomes of programs beside
it. All that follows is read back from the ledger, so a command that is killed and repeated goes on where it was
and comes to the same answer. A kept candidate is the next base, and runs with seeds that nobody has seen.
"""

from __future__ import annotations

import datetime
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError, UsageError, nearest
from harness.numbers import number, span
from harness.papers.plugins import Plugin, load_all
from harness.papers.statement import Items, Metric, difference
from harness.runs.files import digest
from harness.runs.results import Record, read_result
from harness.sweeps.choices import jobs as jobs_at_once
from harness.sweeps.choices import offer
from harness.sweeps.config import where
from harness.sweeps.ledger import append, locked
from harness.sweeps.programs import Program, measure, program
from harness.sweeps.sweep import all_kept, plan_sweep, swept
from harness.sweeps.typed import as_typed
from harness.sweeps.watch import Heard
from harness.verdicts.looks import ALPHA, LOOKS, checked, levels, read_lines
from harness.verdicts.looks.campaign import MODES, after, level
from harness.verdicts.stats import Cell, Interval, estimate

KEPT, NOT_KEPT, UNDECIDED = "kept", "not kept", "undecided"


@dataclass(frozen=True)
class Terms:
    """What a campaign is opened with, and what no later command may change."""

    run: str = ""  # the program's command; "" for methods of a paper
    metric: str = ""
    better: str = ""
    margin: float = 0.0
    alpha: float = ALPHA
    mode: str = "fdr"
    looks: tuple[int, ...] = LOOKS
    proposals: int = 200

    def plain(self) -> dict[str, Any]:
        """Return the terms as the ledger has them."""
        return {**vars(self), "looks": list(self.looks)}


@dataclass(frozen=True)
class Side:
    """A base or a candidate: its name as typed, its identity, and how it is run."""

    name: str
    identity: str
    program: Program | None = None
    overrides: tuple[str, ...] = ()


@dataclass
class State:
    """What a campaign's ledger says."""

    terms: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""
    base_name: str = ""
    first: int = 0  # the base's first seed
    proposals: list[dict[str, Any]] = field(default_factory=list)
    decisions: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def kept(self) -> list[bool]:
        """Which proposals were kept, in order."""
        return [self.decisions.get(i, {}).get("outcome") == KEPT for i in range(len(self.proposals))]


def read_state(lines: Sequence[Mapping[str, Any]]) -> State:
    """Return the state that a ledger's lines lead to."""
    state = State()
    for line in lines:
        if line["kind"] == "open":
            state.terms = line["terms"]
            state.base, state.base_name = line["base"], line["base_name"]
        elif line["kind"] == "proposal":
            state.proposals.append(dict(line))
        elif line["kind"] == "decision":
            state.decisions[line["proposal"]] = dict(line)
            if line["outcome"] == KEPT:
                state.base, state.base_name = line["candidate"], line["name"]
                state.first += state.terms["looks"][-1]
    return state


# What is measured


@dataclass(frozen=True)
class Bench:
    """Where sides are measured: the plugins of methods, or a folder for the outcomes of programs."""

    results: Path
    outcomes: Path
    metric: str
    declared: Metric
    minutes: float
    plugins: Sequence[Plugin] = ()
    heard: Heard | None = None

    def run(self, sides: Sequence[Side], seeds: Sequence[int]) -> list[dict[int, dict[str, Any]]]:
        """Return each side's outcome by seed, running what is not there."""
        if sides[0].program is not None:
            pairs = [(side.program, seed) for seed in seeds for side in sides if side.program is not None]
            device, _ = where("auto", "auto")
            at_once = jobs_at_once()
            found = measure(pairs, self.metric, self.outcomes, at_once, device, self.minutes, self.heard)
            return [dict(zip(seeds, found[i :: len(sides)], strict=True)) for i in range(len(sides))]
        return [self._method(side, seeds) for side in sides]

    def _method(self, side: Side, seeds: Sequence[int]) -> dict[int, dict[str, Any]]:
        words = ["-m", *side.overrides, f"seed={','.join(map(str, seeds))}"]
        offer(self.plugins)  # a sweep before may have left Hydra without them
        _, planned = plan_sweep(as_typed(words), self.plugins)
        jobs = [(spec, settings) for _, spec, settings in planned]
        if not all_kept(jobs, self.plugins):
            try:
                swept(words, self.heard)
            except HarnessError as error:  # each run that is missing is told below
                print(f"harness: {error}", file=sys.stderr)
        found: dict[int, dict[str, Any]] = {}
        for seed, job in zip(seeds, jobs, strict=True):
            kept = all_kept([job], self.plugins)
            spec = kept[0][1] if kept else job[0]
            result = read_result(spec.folder)
            if result is None or result.status != "finished":
                told = (result.error if result else None) or {"type": "missing", "message": "it did not run"}
                found[seed] = {"value": None, "items": None, "error": told}
                continue
            value = result.numbers.get(self.metric)
            record = Record(spec.folder, result)
            if value is None or not isfinite(value):
                why = result.absent.get(self.metric, "it is not finite")
                found[seed] = {"value": None, "items": None, "error": {"type": "nan", "message": why}}
            else:
                found[seed] = {"value": value, "items": record.items.get(self.metric), "error": None}
        return found


def _cell(name: str, outcomes: Mapping[int, Mapping[str, Any]]) -> Cell:
    """Return a side's values, and their items where every seed has some."""
    values = {seed: outcome["value"] for seed, outcome in outcomes.items()}
    items: dict[int, Items] = {}
    for seed, outcome in outcomes.items():
        told = outcome["items"]
        if isinstance(told, Items):
            items[seed] = told
        elif told:
            items[seed] = Items({"value": told}, [str(i) for i in range(len(told))])
    return Cell(name, "value", values, (lambda: items) if len(items) == len(values) else dict)


# A proposal


def gate(
    base: str,
    candidate: str,
    terms: Terms,
    results: Path,
    campaign: str = "",
    minutes: float = 60.0,
    tell: Callable[[str], None] = lambda line: None,
    heard: Heard | None = None,
) -> dict[str, Any]:
    """Judge one proposal and return the answer: its `outcome`, `reason`, numbers and failures.

    Without a campaign's name it is a campaign of this proposal alone. `tell` is given a sentence after each look,
    `heard` an object for each sweep, each run's end and each look. Raises UsageError for terms that differ
    from the campaign's, a base that is not its base, and a full ledger.
    """
    terms, sides, bench = _prepared(base, candidate, terms, results, minutes)
    if not campaign:
        alone = digest([terms.plain(), *(side.identity for side in sides)])[:16]
        campaign, terms = f"alone-{alone}", Terms(**{**vars(terms), "mode": "family", "proposals": 1})
    folder = results / "gate" / campaign
    bench = replace(bench, outcomes=folder / "runs", heard=heard)
    ledger = folder / "ledger.jsonl"
    with locked(ledger, f"the campaign {campaign}"):
        state = _opened(ledger, terms, sides[0], campaign)
        answer = _answered(ledger, state, sides, terms, bench, tell)
    spent = read_state(read_lines(ledger))
    left = terms.proposals - len(spent.proposals)
    return {
        "campaign": campaign,
        **answer,
        "margin": terms.margin,
        "metric": bench.metric,
        "proposals": len(spent.proposals),
        "kept_so_far": sum(spent.kept),
        "next_level": level(spent.kept, terms.alpha, terms.mode, terms.proposals) if left else None,
    }


def _prepared(
    base: str, candidate: str, terms: Terms, results: Path, minutes: float
) -> tuple[Terms, tuple[Side, Side], Bench]:
    """Return the terms made whole, both sides, and where they are measured. Raises UsageError for bad terms."""
    if not 0 < terms.alpha < 1:
        raise UsageError(f"--alpha {terms.alpha:g} is no error rate: give one between 0 and 1")
    if terms.mode not in MODES:
        raise UsageError(f"--mode {terms.mode} is none: choose {' or '.join(MODES)}")
    if terms.proposals < 1:
        raise UsageError(f"--proposals {terms.proposals}: a campaign takes one or more")
    checked(terms.looks)
    if terms.run:
        if terms.better not in ("higher", "lower"):
            raise UsageError(
                "say which way the program's metric is better: --better higher or --better lower"
            )
        made = [program(terms.run, change) for change in (base, candidate)]
        sides = [
            Side(name, one.identity, program=one) for name, one in zip((base, candidate), made, strict=True)
        ]
        metric = Metric("higher" if terms.better == "higher" else "lower", terms.metric)
        return terms, (sides[0], sides[1]), Bench(results, results, terms.metric, metric, minutes)
    plugins = load_all()
    offer(plugins)
    words = _words(base), [*_words(base), *_words(candidate)]
    sides, papers = [], []
    for name, overrides in zip((base, candidate), words, strict=True):
        last = {word.lstrip("+").partition("=")[0]: word for word in overrides}
        kept = (*last.values(), f"results={results}")
        _, jobs = plan_sweep(as_typed(["-m", *kept, "seed=0"]), plugins)
        if len(jobs) != 1:
            raise UsageError(f"{name!r} describes {len(jobs)} runs: a side is one method with one setting")
        spec = jobs[0][1]
        if spec.deterministic:
            raise UsageError(f"{spec.paper}/{spec.name} is deterministic: no seed tells how far it may vary")
        sides.append(Side(name, spec.run_key, overrides=kept))
        papers.append((spec.paper, spec.task_digest))
    if papers[0] != papers[1]:
        raise UsageError(
            "base and candidate are of different papers or tasks: only runs of one task are compared"
        )
    paper = next(p.paper for p in plugins if p.name == papers[0][0])
    assert paper is not None
    metric_name = terms.metric or next(
        (c.contrast.metric for c in paper.claims if c.contrast.kind != "wins"), next(iter(paper.metrics))
    )
    if metric_name not in paper.metrics:
        raise UsageError(
            f"{papers[0][0]} has no metric {metric_name!r}: {nearest(metric_name, paper.metrics)}"
        )
    declared = paper.metrics[metric_name]
    if terms.better not in ("", declared.better):
        raise UsageError(
            f"--better {terms.better} is not what the paper says: "
            f"leave it out, {metric_name} is better when {declared.better}"
        )
    whole = Terms(**{**vars(terms), "metric": metric_name, "better": declared.better})
    return whole, (sides[0], sides[1]), Bench(results, results, metric_name, declared, minutes, plugins)


def _words(side: str) -> list[str]:
    words = [word for word in shlex.split(side) if word not in ("-m", "--multirun")]
    for word in words:
        if word.lstrip("+").startswith("seed="):
            raise UsageError(f"{word}: seeds are given by the gate, the same to base and candidate")
    return words


def _opened(ledger: Path, terms: Terms, base: Side, campaign: str) -> State:
    """Return a campaign's state, opening it where it is new. Raises UsageError for other terms than its own."""
    state = read_state(read_lines(ledger))
    if not state.terms:
        line = {"kind": "open", "date": _today(), "terms": terms.plain()}
        line |= {"base": base.identity, "base_name": base.name}
        append(ledger, {**line, "digest": digest(line)})
        return read_state(read_lines(ledger))
    for name, value in terms.plain().items():
        if state.terms[name] != value:
            raise UsageError(
                f"the campaign {campaign} was opened with {name}={state.terms[name]}, not {value}: "
                "keep that, or open another with --campaign"
            )
    return state


def _answered(
    ledger: Path,
    state: State,
    sides: tuple[Side, Side],
    terms: Terms,
    bench: Bench,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    base, candidate = sides
    about = {"base": base.name, "candidate": candidate.name}
    if base.identity == candidate.identity:
        reason = "the candidate is the base, byte for byte: there is nothing to judge"
        return {**about, "outcome": NOT_KEPT, "reason": reason, "identical": True, "failures": []}
    pair = (base.identity, candidate.identity)
    same = [i for i, one in enumerate(state.proposals) if (one["base"], one["candidate"]) == pair]
    known = state.decisions.get(same[-1]) if same else None
    if known is not None and known["outcome"] != UNDECIDED:
        return {**about, **known["answer"], "proposal": same[-1] + 1, "repeated": True}
    if base.identity != state.base:
        raise UsageError(f"the campaign's base is now {state.base_name!r}: give that as BASE")
    if same:
        index = same[-1]
        allowed = state.proposals[index]["level"]
    else:
        index = len(state.proposals)
        allowed = level(state.kept, terms.alpha, terms.mode, terms.proposals)
        line = {"kind": "proposal", "proposal": index, "date": _today(), "name": candidate.name}
        append(ledger, {**line, "base": pair[0], "candidate": pair[1], "level": allowed})
    answer = _judged(sides, state.first, allowed, terms, bench, tell)
    line = {"kind": "decision", "proposal": index, "date": _today(), "outcome": answer["outcome"]}
    append(ledger, {**line, "candidate": pair[1], "name": candidate.name, "answer": answer})
    return {**about, **answer, "proposal": index + 1, "repeated": False}


def _judged(
    sides: tuple[Side, Side],
    first: int,
    allowed: float,
    terms: Terms,
    bench: Bench,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Run the looks of one proposal until it is kept, hopeless, or cannot be judged."""
    from scipy.special import stdtrit

    contrast = difference("value", "candidate", "base", by=terms.margin)
    nominal = levels(terms.looks)
    one_sided: list[float] = []
    answer: dict[str, Any] = {"level": allowed, "looks": [], "failures": []}
    for look, seeds in enumerate(terms.looks):
        measured = bench.run(sides, range(first, first + seeds))
        answer |= {"seeds": seeds, "failures": _failures(sides, measured)}
        if answer["failures"]:
            told = answer["failures"][0]
            reason = f"{told['who']} failed with seed {told['seed']}: {told['type']}: {told['message']}"
            return {**answer, "outcome": UNDECIDED, "reason": f"{reason}; repeat the command to try again"}
        ours, theirs = (np.array([o["value"] for o in side.values()]) for side in measured[::-1])
        if (ours == theirs).all():
            reason = f"the candidate gives the base's value with each of {seeds} seeds: it changes nothing"
            return {**answer, "outcome": NOT_KEPT, "reason": reason}
        for who, values in (("the candidate", ours), ("the base", theirs)):
            if np.ptp(values) == 0:
                reason = f"{who} gives {number(values[0])} with every seed: its value ignores the seed"
                return {**answer, "outcome": UNDECIDED, "reason": reason}
        cells = [
            _cell(name, outcomes) for name, outcomes in zip(("base", "candidate"), measured, strict=True)
        ]
        try:
            found = estimate(contrast, {"value": bench.declared}, cells[::-1], level=1 - nominal[look])
        except HarnessError as error:
            return {**answer, "outcome": UNDECIDED, "reason": str(error)}
        if not isfinite(found.p):
            return {**answer, "outcome": UNDECIDED, "reason": found.reason}
        one_sided.append(found.p / 2 if found.value > terms.margin else 1 - found.p / 2)
        t = -float(stdtrit(seeds - 1, one_sided[-1]))
        p, kept, hopeless = after(np.array(one_sided), t, allowed, terms.looks)
        answer["looks"].append({"seeds": seeds, "mean": found.value, "t": t, "p": float(p)})
        answer |= {
            "mean": found.value,
            "low": found.low,
            "high": found.high,
            "rule": found.rule,
            "p": float(p),
        }
        tell(f"{seeds} seeds: {_gain(found)}, p {number(float(p))} against a level of {number(allowed)}")
        if bench.heard:
            told = {key: answer[key] for key in ("seeds", "mean", "low", "high", "p", "level")}
            bench.heard({"event": "look", "look": look, **told})
        if kept:
            reason = (
                f"better by {_gain(found)}: p {number(float(p))} is within its level of {number(allowed)}"
            )
            return {**answer, "outcome": KEPT, "reason": reason}
        if hopeless:
            why = "too little to go on for" if look + 1 < len(terms.looks) else "not enough at the last look"
            return {**answer, "outcome": NOT_KEPT, "reason": f"{_gain(found)} after {seeds} seeds: {why}"}
    raise AssertionError("the last look leaves nobody")


def _gain(found: Interval) -> str:
    return span(found.value, found.low, found.high)


def _failures(
    sides: Sequence[Side], measured: Sequence[Mapping[int, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    return [
        {"who": who, "name": side.name, "seed": seed, **outcome["error"]}
        for who, side, outcomes in zip(("the base", "the candidate"), sides, measured, strict=True)
        for seed, outcome in outcomes.items()
        if outcome["error"]
    ]


def _today() -> str:
    return datetime.date.today().isoformat()
