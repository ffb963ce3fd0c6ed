"""What `compare`, `judge` and `report --over data` say with `--json`."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict  # noqa: UP035 (pydantic reads no other in Python 3.11)

from harness.exchange.answers.cards import Summary
from harness.exchange.answers.foreign import Foreign, Number


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
