"""What commands say with `--json` of what is there and of what they wrote; and what any says that fails."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict  # noqa: UP035 (pydantic reads no other in Python 3.11)

from harness.exchange.answers.foreign import Foreign, Number


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
