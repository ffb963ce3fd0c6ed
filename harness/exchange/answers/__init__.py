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
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict

from harness.exchange.answers.cards import Card, DecideEnded
from harness.exchange.answers.compared import Compared, JudgedAll, OverData
from harness.exchange.answers.foreign import FOREIGN
from harness.exchange.answers.going import GateEnded, GateLooked, Looked, RunEnded, RunEnds, SweepBegins
from harness.exchange.answers.things import (
    Bundled,
    Checked,
    Error,
    Exported,
    Installed,
    Judgments,
    New,
    Priced,
    Pushed,
    Read,
    Served,
    Skill,
    State,
    Verified,
)


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
