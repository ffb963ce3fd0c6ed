"""The claim record, `claims.json`: what was claimed, what was found, and what it was found with.

A record holds all that a verdict rests on but the outcomes themselves: the sentence and its place in the paper, the
contrast and where its bound is from, the interval with its rule and looks, and the scale, data, machine and code of
the runs. Its JSON Schema is published as `docs/schemas/claims.schema.json`: `python -m harness.exchange.claims`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic reads no other in Python 3.11

from harness.errors import HarnessError
from harness.runs.files import as_text, digest, write_text
from harness.runs.results import Record

SCHEMA = 1  # of claims.json
BYTES = 64 * 2**20

Number = float | None  # null where a number is not finite, or does not exist


class Stated(TypedDict):
    """A contrast of methods on a metric, and the side of `by` it must lie on to hold; `over` and `of` as papers say."""

    kind: Literal["difference", "ratio", "level", "share", "order", "wins"]
    metric: str
    better: str
    method: str
    than: str
    over: str
    of: list[str]
    by: float
    side: Literal["above", "below"]


class From(TypedDict):
    """Where a bound is from; of a prototype's, whether it saw the data that judge the claim."""

    origin: str
    why: str
    data: str
    seen: bool


class Published(TypedDict):
    """The paper's number: `same` says whether it is of the claim's own quantity, `seen` how it is known."""

    value: Number
    same: bool
    seen: str
    setting: str
    source: str


class Found(TypedDict):
    """What runs showed: the 95 % interval by `rule`, from seeds x items x groups, at `looks`."""

    word: str
    reason: str
    value: Number
    low: Number
    high: Number
    holm: bool
    rule: str
    looks: str
    seeds: int
    items: int
    groups: dict[str, int]
    margin: Number


class ClaimRecord(TypedDict):
    """One sentence of a paper and its verdict."""

    sentence: str
    place: str
    against: bool
    control: bool
    contrast: Stated
    bound: From | None
    reported: Published | None
    verdict: Found


class Runs(TypedDict):
    """The runs of one method: seeds, keys and means of what was measured (parameters, memory, tokens)."""

    method: str
    seeds: list[int]
    run_keys: list[str]
    measured: dict[str, Number]


class Source(TypedDict):
    """What was read under a name, with the SHA-256 of its content."""

    name: str
    digest: str


class Scale(TypedDict):
    """At which size and on what the claims were judged; `consumed` is by method what its fits were given."""

    budget: str
    model: str
    device: str
    precision: str
    task_digest: str
    task: dict[str, Any]
    data: dict[str, Source]
    consumed: dict[str, dict[str, Number]]


class Code(TypedDict):
    """The version that wrote this, the commit that the newest run knew, and digests of what its runs used."""

    harness: str
    git: str
    digests: list[str]


class Claims(TypedDict):
    """The claims of one paper at one setting."""

    paper: str
    title: str
    url: str
    date: str
    machine: str
    command: str
    scale: Scale
    code: Code
    runs: list[Runs]
    claims: list[ClaimRecord]


class File(TypedDict):
    """A file of claim records."""

    schema: Literal[1]
    papers: list[Claims]


def claims_of_card(card: Mapping[str, Any], records: Sequence[Record]) -> Claims:
    """Return a scorecard's claims as records; `records` are the runs it was judged from."""
    keys = {key for method in card["methods"] for key in method["run_keys"]}
    used = [record.result for record in records if record.result.run_key in keys]
    of_method = {key: method["method"] for method in card["methods"] for key in method["run_keys"]}
    consumed = {of_method[r.run_key]: dict(r.consumed) for r in used if r.consumed}
    newest = max(used, key=lambda r: str(r.environment.get("date", "")), default=None)
    return {
        **{key: card[key] for key in ("paper", "title", "url", "date", "machine", "command")},  # type: ignore[typeddict-item]
        "scale": {
            **{key: card[key] for key in ("budget", "model", "device", "precision", "task_digest", "task")},  # type: ignore[typeddict-item]
            "data": {
                name: {"name": str(card["data"].get(name, "")), "digest": found}
                for name, found in card["digests"].items()
            },
            "consumed": consumed,
        },
        "code": {
            "harness": version("paper-harness"),
            "git": str(newest.code.get("git", "")) if newest else "",
            "digests": sorted({digest(result.code) for result in used}),
        },
        "runs": [
            {key: method[key] for key in ("method", "seeds", "run_keys", "measured")}  # type: ignore[misc]
            for method in card["methods"]
        ],
        "claims": [_record(claim, card["metrics"]) for claim in card["claims"]],
    }


def _record(claim: Mapping[str, Any], metrics: Mapping[str, Any]) -> ClaimRecord:
    found = {name: claim[name] for name in Found.__annotations__ if name in claim}
    stated = {name: claim[name] for name in Stated.__annotations__ if name in claim}
    told = claim["reported"]
    return {
        "sentence": claim["text"],
        "place": claim["source"],
        "against": claim["counter"],
        "control": claim["is_control"],
        "contrast": {**stated, "better": metrics[claim["metric"]]["better"]},  # type: ignore[typeddict-item]
        "bound": claim["bound"],
        "reported": {"value": None, **told} if told else None,  # type: ignore[typeddict-item]
        "verdict": {**found, "word": claim["verdict"]},  # type: ignore[typeddict-item]
    }


def as_claims(papers: Sequence[Claims], where: str = "the export") -> str:
    """Return records as the text of `claims.json`, checked against the schema; a number not finite becomes null."""
    text = as_text({"schema": SCHEMA, "papers": list(papers)})
    _checked(json.loads(text), where)
    return text


def write_claims(path: Path, papers: Sequence[Claims]) -> None:
    """Write records as `claims.json`, checked against the schema first. A number that is not finite becomes null."""
    write_text(path, as_claims(papers, str(path)))


def read_claims(path: Path) -> list[Claims]:
    """Return the records of a file. Raises HarnessError for one that is too large, of a later schema or not of it."""
    try:
        if path.stat().st_size > BYTES:
            raise HarnessError(f"{path} is larger than {BYTES:,} bytes: claim records never are")
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise HarnessError(f"{path} cannot be read ({error.strerror}): name a claims.json") from None
    except (ValueError, RecursionError):
        raise HarnessError(f"{path} is not JSON: export it again") from None
    made_by = raw.get("schema") if isinstance(raw, dict) else None
    if isinstance(made_by, int) and made_by > SCHEMA:
        raise HarnessError(
            f"{path} was made by a newer harness (schema {made_by}, this one reads up to {SCHEMA}): upgrade it"
        )
    return _checked(raw, str(path))


def _checked(raw: Any, where: str) -> list[Claims]:
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(File).validate_python(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise HarnessError(
            f"{where} holds no claim records ({place}: {first['msg']}): export it again"
        ) from None
    return list(raw["papers"])


def published() -> str:
    """Return the JSON Schema of claims.json."""
    from pydantic import TypeAdapter

    made = TypeAdapter(File).json_schema()
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "claims.json",
        "description": f"Claims of papers with their verdicts, as paper-harness exports them, schema {SCHEMA}.",
    }
    return json.dumps({**head, **{k: v for k, v in made.items() if k not in head}}, indent=1) + "\n"


if __name__ == "__main__":
    print(published(), end="")
