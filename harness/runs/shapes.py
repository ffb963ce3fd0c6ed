"""What the JSON files of a run must be to be read, in every version so far, and what is said of one that is not.

`result.json` has a schema number; one without is of the first. A key that came later has a default, a key that
this harness does not know is left out, and a file of a later schema is left alone. `docs/schemas/` publishes the
shape of results: `python -m harness.runs.shapes` prints it.
"""

from __future__ import annotations

import functools
import json
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_type_hints

from typing_extensions import NotRequired, TypedDict  # noqa: UP035 (pydantic reads no other in Python 3.11)

from harness.errors import HarnessError

SCHEMA = 2  # of result.json and items.parquet
AGAIN = "repeat the command that made the run"


class Damaged(HarnessError):
    """A file of a run that is not what it should be: which, what is wrong, what to do."""

    kind = "damaged"


class Newer(Damaged):
    """A file that a newer harness wrote, and that this one must leave as it is."""

    kind = "newer"


@dataclass
class Result:
    """What one run came to. `status` is "finished" or "failed"; `error` has `type`, `message`, `log`."""

    run_key: str
    status: str
    config: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    code: dict[str, Any] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)  # metric -> how many test items are behind it
    consumed: dict[str, int] = field(
        default_factory=dict
    )  # steps, rows, tokens that all fits of it were given

    @property
    def numbers(self) -> dict[str, float]:
        """All declared metrics: the repeatable ones, and those that were measured."""
        return {**self.metrics, **self.measured}


Number = float | None  # null stands for what is not finite


class Tuned(TypedDict, total=False):
    """What a method's grid chose by which metric, and each of its points with its score on `validation`."""

    by: str
    chosen: dict[str, Any]
    scores: list[dict[str, Any]]


class Config(TypedDict):
    """The settings of a run, as `Spec.config` writes them; a later one may hold more."""

    paper: str
    name: str
    method: dict[str, Any]
    method_declared: bool
    method_changes: dict[str, Any]
    task: dict[str, Any]
    task_digest: str
    data: dict[str, Any]
    model: str
    budget: str
    seed: int
    deterministic: bool
    baseline: bool
    device: str
    precision: str
    processes: NotRequired[int]
    tuned: NotRequired[Tuned]
    sweep: NotRequired[str]


class Failure(TypedDict):
    """How a run failed: a word to sort by, one sentence, and the end of its log."""

    type: str
    message: str
    log: NotRequired[str]


class Environment(TypedDict, total=False):
    """Where a run ran; any further keys."""

    date: str
    packages: dict[str, str]
    gpu: dict[str, Number]


class Code(TypedDict, total=False):
    """What code made a run: digests of definitions, or of whole modules in results of the first schema."""

    definitions: dict[str, str]
    modules: dict[str, str]
    git: str
    dirty: bool


STRICTER: dict[str, Any] = {  # than the annotations of Result, which say what most code may rely on
    "status": Literal["finished", "failed"],
    "config": Config,
    "metrics": dict[str, Number],
    "validation": dict[str, Number],
    "measured": dict[str, Number],
    "timings": dict[str, Number],
    "error": Failure | None,
    "environment": Environment,
    "data": dict[str, dict[str, Any]],
    "code": Code,
}


class Sample(TypedDict):
    """A text that an evaluation produced: of which test item, and what had been asked."""

    id: str  # by which judges know it
    item: str
    asked: str
    text: str


class Produced(TypedDict):
    """What an evaluation produced besides its metrics: texts, and named lists of numbers."""

    samples: list[Sample]
    distributions: dict[str, list[float]]


Judged = dict[str, dict[str, list[float]]]  # metric -> id of a text -> what its judges say


class Progress(TypedDict):
    """How far a run is; any further keys."""

    done: float
    total: float
    began: NotRequired[float]
    seed: NotRequired[int]
    budget: NotRequired[str]
    task: NotRequired[str]
    sweep: NotRequired[str]
    title: NotRequired[str]


@functools.cache
def shape(kind: Any) -> Any:
    """Return the shape of a file as a pydantic adapter; that of a result has its schema number too."""
    from pydantic import TypeAdapter

    if kind is not Result:
        return TypeAdapter(kind)
    parts: dict[str, Any] = {"schema": NotRequired[int]}
    for f in fields(Result):
        part = STRICTER.get(f.name) or get_type_hints(Result)[f.name]
        required = f.default is MISSING and f.default_factory is MISSING
        parts[f.name] = part if required else NotRequired[part]
    return TypeAdapter(TypedDict("Result", parts))  # type: ignore[operator]


def check(path: Path, value: Any, kind: Any) -> None:
    """Hold a file's content against a shape. Raises Damaged with the first thing that is wrong."""
    from pydantic import ValidationError

    try:
        shape(kind).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        what = first["msg"][0].lower() + first["msg"][1:]
        raise Damaged(f"{path} is no result ({f'{where}: ' if where else ''}{what}): {AGAIN}") from None


def published() -> str:
    """Return the JSON Schema of result.json."""
    made = shape(Result).json_schema()
    about = f"What a run of paper-harness came to, schema {SCHEMA}. Keys that are not listed may be there."
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": RESULT_FILE,
        "description": about,
    }
    return json.dumps({**head, **{k: v for k, v in made.items() if k not in head}}, indent=1) + "\n"


RESULT_FILE = "result.json"

if __name__ == "__main__":
    print(published(), end="")
