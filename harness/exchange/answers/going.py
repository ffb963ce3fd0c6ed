"""What `run`, `decide` and `gate` say with `--json` while they go on, an object a line, and what `gate` ends with."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict  # noqa: UP035 (pydantic reads no other in Python 3.11)

from harness.exchange.answers.foreign import Foreign, Number


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
