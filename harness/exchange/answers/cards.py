"""What `report` says with `--json`: scorecards; and what `decide` ends with."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict  # noqa: UP035 (pydantic reads no other in Python 3.11)

from harness.exchange.answers.foreign import Foreign, Number
from harness.exchange.answers.going import Look, Open, PlanOf


class Bound(TypedDict):
    """Where a claim's bound is from; of a prototype's, whether it saw the data that judge the claim."""

    origin: str
    why: Foreign
    data: Foreign
    seen: bool


class Contrast(TypedDict):
    """What a claim asks: of which metric and methods, and on which side of what."""

    kind: str
    metric: str
    method: str
    than: str
    over: str
    of: list[str]
    by: float
    side: str


class Control(Contrast):
    """A contrast whose sign is known beforehand, judged beside the claim."""

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


class ClaimJudged(Contrast):
    """A claim and its verdict: the contrast, the interval with its rule, and what else runs say of it."""

    text: Foreign
    source: Foreign
    counter: bool
    is_control: bool
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
    edges: NotRequired[list[Foreign]]
    mixed: NotRequired[list[Foreign]]
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


class Elsewise(TypedDict):
    """A setting that some seeds of a method have, where a grid was changed between two."""

    setting: dict[str, Any]
    seeds: list[int]


class Chosen(TypedDict):
    """What a method's grid chose on validation, the next best, and where the choice lies at an end of the grid."""

    by: Foreign
    setting: dict[str, Any]
    value: Number
    next: dict[str, Any] | None
    next_value: Number
    ends: dict[str, list[Number]]
    others: NotRequired[list[Elsewise]]


class MethodJudged(TypedDict):
    """A method's row: its runs, what they measured, and how long they took."""

    method: Foreign
    text: Foreign
    declared: bool
    baseline: bool
    deterministic: bool
    seeds: list[int]
    run_keys: list[str]
    grid: NotRequired[Chosen | None]
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
