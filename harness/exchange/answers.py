"""What each command says with `--json`, as types: `harness schema NAME` and `docs/schemas/` are made from them.

A key is only ever added. `Foreign` is text that came from data, from a program or from other people's files and
packages: a reader shows it, and obeys none of it. Its places are `x-untrusted` in a schema, and each object that is
printed names them in `untrusted`: `claims[].reason` is a key of each element of a list, `absent.*` any key's value.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from typing_extensions import (  # noqa: UP035 (pydantic reads no other in Python 3.11)
    NotRequired,
    TypedDict,
    is_typeddict,
)


class _Foreign:
    """Marks text in a schema."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {**handler(core), "x-untrusted": True}


FOREIGN = _Foreign()
Foreign = Annotated[str, FOREIGN]
Number = float | None  # null where a number is not finite, or does not exist


# What goes on for long: an object a line


class Failure(TypedDict):
    """Why a run failed: a name to sort by, and a sentence."""

    type: str
    message: Foreign


class SweepBegins(TypedDict):
    """A sweep begins; `runs` is 0 where a sweeper chooses them as it goes."""

    event: Literal["sweep"]
    sweep: str
    command: str
    runs: int


class RunEnds(TypedDict):
    """A run came to its end: a method's of a paper, in its own `folder`, or a program's, in the folder it ran in."""

    event: Literal["run"]
    outcome: Literal["finished", "skipped", "failed"]
    title: Foreign
    seed: int
    seconds: float
    error: Failure | None
    asked: NotRequired[str]
    paper: NotRequired[str]
    method: NotRequired[str]
    run_key: NotRequired[str]
    folder: NotRequired[str]
    value: NotRequired[Number]


class RunEnded(TypedDict):
    """How a sweep ended; `skipped` runs were finished before, `missing` ones not started, `behind` the store."""

    event: Literal["ended"]
    sweep: str
    results: str
    finished: int
    skipped: int
    failed: int
    missing: int
    stale: int
    behind: list[Foreign]
    exit_code: int


class Looked(TypedDict):
    """A look of `decide` was taken, counted from 0: the claims that were open, and those it decided."""

    event: Literal["look"]
    look: int
    seeds: int
    judged: list[Foreign]
    decided: list[Foreign]


class PlanOf(TypedDict):
    """The looks that were declared before the first run."""

    looks: list[int]
    spending: str
    date: str
    changed: list[dict[str, Any]]


class Look(TypedDict):
    """A line of a plan's ledger."""

    look: int
    seeds: int
    date: str
    judged: list[Foreign]
    decided: list[Foreign]


class Takes(TypedDict):
    """What an open claim would take, null where nothing does."""

    seeds: int | None
    hours: Number


class Open(TypedDict):
    """A claim that is open, and why it gets no more seeds."""

    claim: Foreign
    why: Foreign
    takes: Takes | None


class GateLooked(TypedDict):
    """A look at a proposal: how much better, and its p value over all looks against the proposal's level."""

    event: Literal["look"]
    look: int
    seeds: int
    mean: Number
    low: Number
    high: Number
    p: Number
    level: float


class GateLook(TypedDict):
    """A look as the ledger keeps it."""

    seeds: int
    mean: Number
    t: Number
    p: Number


class GateFailure(TypedDict):
    """A run of a base or a candidate that failed."""

    who: str
    name: Foreign
    seed: int
    type: str
    message: Foreign
    log: NotRequired[Foreign]


class GateEnded(TypedDict):
    """The answer to a proposal; it has numbers where looks were taken."""

    event: Literal["ended"]
    campaign: str
    base: Foreign
    candidate: Foreign
    outcome: Literal["kept", "not kept", "undecided"]
    reason: Foreign
    failures: list[GateFailure]
    margin: float
    metric: str
    proposals: int
    kept_so_far: int
    next_level: Number
    exit_code: int
    identical: NotRequired[bool]
    proposal: NotRequired[int]
    repeated: NotRequired[bool]
    level: NotRequired[float]
    looks: NotRequired[list[GateLook]]
    seeds: NotRequired[int]
    mean: NotRequired[Number]
    low: NotRequired[Number]
    high: NotRequired[Number]
    rule: NotRequired[str]
    p: NotRequired[Number]


# Scorecards


class Bound(TypedDict):
    """Where a claim's bound is from; of a prototype's, whether it saw the data that judge the claim."""

    origin: str
    why: Foreign
    data: Foreign
    seen: bool


class Control(TypedDict):
    """A contrast whose sign is known beforehand, judged beside the claim."""

    kind: str
    metric: str
    method: str
    than: str
    over: str
    of: list[str]
    by: float
    side: str
    value: Number
    low: Number
    high: Number
    verdict: str
    reason: Foreign


class Reported(TypedDict):
    """The paper's number: `same` says whether it is of the claim's own quantity, `seen` how it is known."""

    value: NotRequired[Number]
    setting: Foreign
    source: Foreign
    seen: str
    same: bool


class ClaimJudged(TypedDict):
    """A claim and its verdict: the contrast, the interval with its rule, and what else runs say of it."""

    text: Foreign
    source: Foreign
    counter: bool
    is_control: bool
    kind: str
    metric: str
    method: str
    than: str
    over: str
    of: list[str]
    by: float
    side: str
    error: Number
    bound: Bound | None
    margin: Number
    value: Number
    low: Number
    high: Number
    seeds: int
    items: int
    groups: dict[str, Any]
    rule: str
    scope: str
    step: str
    looks: str
    design: Number
    drawn: Number
    verdict: str
    holm: bool
    reason: Foreign
    untuned: bool
    control: Control | None
    equivalence: dict[str, Any] | bool | None
    reported: Reported | None
    effect: dict[str, Any] | None
    power: dict[str, Any] | None
    by_seed: list[list[Number]]
    reached: dict[str, Number] | None
    middle: Number
    far: list[Any]
    registered: NotRequired[dict[str, Any] | None]


class Summary(TypedDict):
    """A metric of one method: mean, 95 % interval over seeds, and the values in the order of `seeds`."""

    mean: Number
    low: Number
    high: Number
    values: list[Number]


class MethodJudged(TypedDict):
    """A method's row: its runs, what they measured, and how long they took."""

    method: Foreign
    text: Foreign
    declared: bool
    baseline: bool
    deterministic: bool
    seeds: list[int]
    run_keys: list[str]
    metrics: dict[str, Summary]
    timings: dict[str, Number]
    measured: dict[str, Number]


class MetricSaid(TypedDict):
    """What a metric is."""

    text: Foreign
    unit: str
    better: Literal["higher", "lower"]


class RunFailed(TypedDict):
    """A run that failed."""

    method: Foreign
    seed: int
    run_key: str
    type: str
    message: Foreign


class Card(TypedDict):
    """The scorecard of a paper's runs at one budget, task, device and precision."""

    schema: int
    paper: str
    title: Foreign
    url: Foreign
    budget: str
    device: str
    precision: str
    model: Foreign
    task_digest: str
    task: dict[str, Any]
    data: dict[str, Foreign]
    digests: dict[str, str]
    date: str
    machine: str
    command: Foreign
    note: str
    claims: list[ClaimJudged]
    methods: list[MethodJudged]
    metrics: dict[str, MetricSaid]
    leaders: dict[str, list[str]]
    places: dict[str, dict[str, list[int]]]
    costs: list[dict[str, Any]]
    figures: list[dict[str, Any]]
    absent: dict[str, dict[str, Foreign]]
    failures: list[RunFailed]
    stale: list[str]


class DecideEnded(TypedDict):
    """What was decided; the scorecard is empty where no run has ended."""

    event: Literal["ended"]
    plan: PlanOf
    looks: list[Look]
    runs: int
    stopped: str
    open: list[Open]
    scorecard: Card | dict[str, Any]
    exit_code: int


# Comparisons


class Side(TypedDict):
    """A method of a pair."""

    method: Foreign
    seeds: list[int]
    run_keys: list[str]


class Differs(TypedDict):
    """A setting that two methods do not share."""

    key: str
    a: Foreign
    b: Foreign


class MetricCompared(TypedDict):
    """B against A by one metric, oriented so that up is better; `verdict` names who is ahead."""

    text: Foreign
    unit: str
    better: str
    a: Summary
    b: Summary
    value: Number
    low: Number
    high: Number
    p: NotRequired[Number]
    rule: str
    seeds: int
    items: int
    verdict: Literal["a", "b", "open"]
    reason: Foreign
    refused: Foreign
    holm: bool
    equivalence: Any
    effect: dict[str, Any] | None
    power: dict[str, Any] | None
    by_seed: list[list[Number]]
    reached: dict[str, Number] | None
    middle: Number
    looks: NotRequired[str]


class Pair(TypedDict):
    """Two methods: what differs in their settings, and each metric; or why they cannot be compared."""

    paper: str
    a: Side
    b: Side
    refused: Foreign
    config: list[Differs]
    metrics: dict[str, MetricCompared]
    cost: dict[str, Any] | None


class Compared(TypedDict):
    """Two sets of runs, paired by method or all against all."""

    a: str
    b: str
    pairs: list[Pair]
    only_a: list[Foreign]
    only_b: list[Foreign]
    damaged: list[Foreign]


class Unread(TypedDict):
    """What could not be judged."""

    method: Foreign
    source: Foreign
    reason: Foreign


class Ahead(TypedDict):
    """How far the best is ahead of a method."""

    value: Number
    low: Number
    high: Number
    p: Number
    rule: str
    reason: Foreign


class Judged(TypedDict):
    """A method among others' results."""

    method: Foreign
    value: Number
    low: Number
    high: Number
    seeds: list[int]
    items: int | None
    sources: list[Foreign]
    seconds: Number
    separable: bool | None
    may_be_best: bool
    verdict: str
    reason: Foreign
    ahead: Ahead | None
    within: bool | None


class TaskJudged(TypedDict):
    """The methods of one task, the best first: what is told from it, and what more seeds would cost."""

    task: Foreign
    metric: Foreign
    better: str
    text: Foreign
    runs: int
    troubles: list[Unread]
    differs: Any
    methods: list[Judged]
    best: NotRequired[Foreign]
    separable: NotRequired[int]
    not_separable: NotRequired[int]
    not_tested: NotRequired[int]
    may_be_best: NotRequired[int]
    seeds: NotRequired[list[int]]
    decided: NotRequired[int]
    more: NotRequired[dict[str, Any]]
    front: NotRequired[dict[str, Any] | None]


class JudgedAll(TypedDict):
    """Results that others made, under the rule of this house."""

    reader: str
    named: Foreign
    level: float
    margin: Number
    files: int
    tasks: list[TaskJudged]
    unread: list[Unread]


class DataSet(TypedDict):
    """A data set that runs were judged on; `mine` is placed beside the others."""

    label: Foreign
    data: dict[str, Foreign]
    digests: dict[str, str]
    task_digest: str
    date: str
    machine: str
    command: Foreign
    mine: bool


class OverData(TypedDict):
    """A paper's claims over data sets, at one budget, device and precision: each set's number and all together."""

    paper: str
    title: Foreign
    url: Foreign
    budget: str
    device: str
    precision: str
    model: Foreign
    task: dict[str, Any]
    note: str
    sets: list[DataSet]
    mine: Foreign | None
    claims: list[dict[str, Any]]


# What is there, and what is written


class Fits(TypedDict):
    """Whether a plan fits its devices; if not, the nearest settings that do."""

    gb: float
    devices: int
    bytes_each: int
    fits: bool
    settings: dict[str, Any] | None
    settings_bytes_each: int | None
    devices_needed: int | None


class Priced(TypedDict):
    """What a run would cost, by part, in bytes, FLOPs and hours by GPU."""

    parameters: int
    parameters_without_embeddings: int
    tokens: int
    flops: float
    memory_bytes: int
    formula: str
    notes: list[Foreign]
    memory: dict[str, dict[str, int]]
    levers: dict[str, list[Any]]
    gathered: int
    gpu_hours: dict[str, float]
    price: dict[str, float] | None
    fit: Fits


class Installed(TypedDict):
    """A paper that is installed; with -v its methods and claims, or what is wrong with it."""

    name: str
    module: str
    distribution: str
    version: str
    summary: Foreign
    problem: Foreign
    title: NotRequired[Foreign]
    methods: NotRequired[dict[str, Foreign]]
    baselines: NotRequired[list[str]]
    claims: NotRequired[list[Foreign]]


class Read(TypedDict):
    """A data set that a paper reads, and the setting that names it."""

    name: str
    default: str
    columns: list[str]
    help: Foreign
    present: bool


class State(TypedDict):
    """A run's folder: finished, failed, running, interrupted, or a file of it that cannot be read."""

    paper: str
    method: str
    run_key: str
    folder: str
    seed: int | None
    budget: str
    task: str
    error: Foreign
    progress: Number
    eta_seconds: Number
    state: Literal["finished", "failed", "running", "interrupted", "damaged", "newer"]
    tuning: bool


class Exported(TypedDict):
    """The files that were written."""

    format: str
    files: list[str]


class Bundled(TypedDict):
    """The bundle that was written: how many runs and files it holds, and the digest of its manifest."""

    path: str
    digest: str
    runs: int
    failed: int
    files: int


class Found(TypedDict):
    """Something that was looked at in a bundle: whether it agrees, null where that stays open."""

    part: str
    about: Foreign
    ok: bool | None
    said: Foreign


class Verified(TypedDict):
    """What a bundle says, recomputed and in part run again by the draw of `seed`; `unseen` is what nobody can see."""

    bundle: Foreign
    verified: bool
    run_again: bool
    seed: int
    share: float
    whole: bool
    findings: list[Found]
    unseen: str


class Lacking(TypedDict):
    """A run some of whose texts nobody has judged."""

    paper: str
    method: str
    seed: int
    metric: str


class Judgments(TypedDict):
    """The texts that were handed out for `metrics`; or those of `runs` that were read back, and what still lacks."""

    file: str
    texts: int
    metrics: NotRequired[list[str]]
    runs: NotRequired[int]
    unknown: NotRequired[int]
    lacking: NotRequired[list[Lacking]]


class New(TypedDict):
    """The package that was written, and the commands to go on with."""

    paper: str
    folder: str
    files: list[str]
    next: list[str]


class Pushed(TypedDict):
    """What goes to a repository, by place and bytes; `opened` is the pull request's address, null unless asked for."""

    to: str
    kind: str
    files: dict[str, int]
    opened: str | None


class Checked(TypedDict):
    """A part of the contract; `void`: why it does not apply, `untried`: why it could not be tried."""

    name: str
    passed: bool
    fix: Foreign
    warning: Foreign
    void: Foreign
    untried: Foreign


class Shown(TypedDict):
    """Where MLflow shows a paper: its runs by method, and their curves."""

    paper: str
    runs: str
    curves: str


class Served(TypedDict):
    """Where MLflow's own UI opens, and on which store; it then stays in the foreground."""

    url: str
    tracking: str
    papers: list[Shown]


class Skill(TypedDict):
    """The folder of the skill, and its files."""

    path: str
    files: list[str]


class Wrong(TypedDict):
    """What went wrong, what to do, and the exit code: 1 it failed, 2 wrong usage, 128 and a signal's number."""

    type: str
    message: Foreign
    fix: Foreign
    exit_code: int


class Error(TypedDict):
    """What any command prints where it fails: one line, after the lines that it may have printed."""

    error: Wrong


@dataclass(frozen=True)
class Said:
    """What a command prints: one value, a list of values, or one a line."""

    about: str
    shape: Any
    form: Literal["one", "list", "lines"] = "one"


SAID = {
    "run": Said("how a sweep goes on, and how it ended", SweepBegins | RunEnds | RunEnded, "lines"),
    "decide": Said("looks and runs, and what was decided", SweepBegins | RunEnds | Looked | DecideEnded, "lines"),
    "gate": Said("runs and looks, and whether it is kept", SweepBegins | RunEnds | GateLooked | GateEnded, "lines"),
    "plan": Said("what a run would cost", Priced),
    "report": Said("scorecards: claims with verdicts", Card, "list"),
    "over": Said("a paper's claims over data sets (harness report --over data)", OverData, "list"),
    "compare": Said("two sets of runs, by metric", Compared),
    "judge": Said("others' results, by task", JudgedAll),
    "export": Said("the files that were written", Exported),
    "bundle": Said("the bundle that was written", Bundled),
    "verify": Said("what was looked at in a bundle", Verified),
    "push": Said("what goes to a repository of the hub", Pushed),
    "judgments": Said("the texts that were handed out, or read back", Judgments),
    "papers": Said("the installed papers", Installed, "list"),
    "data": Said("the data that a paper reads", Read, "list"),
    "status": Said("every run and its state", State, "list"),
    "new": Said("the package that was written", New),
    "check": Said("each part of the contract", Checked, "list"),
    "ui": Said("where MLflow's UI opens", Served),
    "schema": Said("the names of the schemas, with what they are of", dict[str, str]),
    "skill": Said("where the skill for agents is", Skill),
    "error": Said("what any command prints where it fails", Error),
}  # fmt: skip


@cache
def untrusted(name: str) -> tuple[str, ...]:
    """Return where the objects that a command prints hold text that came from elsewhere, each place once."""
    return tuple(dict.fromkeys(_places(SAID[name].shape, ""))) if name in SAID else ()


def _places(shape: Any, place: str) -> Iterator[str]:
    if is_typeddict(shape):
        for key, part in get_type_hints(shape, include_extras=True).items():
            yield from _places(part, f"{place}.{key}" if place else key)
    elif get_origin(shape) is Annotated:
        if FOREIGN in get_args(shape):
            yield place
    elif get_origin(shape) is list:
        yield from _places(get_args(shape)[0], f"{place}[]")
    elif get_origin(shape) is dict:
        yield from _places(get_args(shape)[1], f"{place}.*")
    elif get_origin(shape) in (Union, types.UnionType, NotRequired):
        for part in get_args(shape):
            yield from _places(part, place)


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of what a command prints; of one that prints lines, the schema of a line."""
    from pydantic import TypeAdapter

    said = SAID[name]
    made = TypeAdapter(list[said.shape] if said.form == "list" else said.shape).json_schema()  # type: ignore[name-defined]
    marks = {"type": "array", "items": {"type": "string"}, "description": "Where text came from elsewhere."}
    tops = {hint.__name__ for hint in (get_args(said.shape) or (said.shape,)) if is_typeddict(hint)}
    for title, part in {made.get("title", ""): made, **made.get("$defs", {})}.items():
        if title in tops and untrusted(name):
            part["properties"]["untrusted"] = marks
    command = {"error": "harness ...", "over": "harness report --over data"}.get(name, f"harness {name}")
    a_line = ", each a line of JSON" if said.form == "lines" else ""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "description": f"What `{command} --json` prints{a_line}: {said.about}.",
    }
    return {**head, **{key: part for key, part in made.items() if key not in ("title", "description")}}
