"""What is typed after `data.x=`, `model=`, `results=` or `task.engine=` is taken as typed: quoted for Hydra's grammar.

Names of files hold blanks, brackets, commas, `=`, `#` and quotes. What is quoted already stays as it is. Under
`-m` a comma separates values, so one within the name of a file that is there is refused, with both ways to write it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from harness.data.files import there
from harness.errors import UsageError

QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
PART = re.compile(rf"""({QUOTED.pattern})\s*(?:,|\Z)|([^,]*)(?:,|\Z)""", re.DOTALL)
CHOSEN = re.compile(r"(?:choice|glob|interval|range|shuffle|sort|tag|str)\(.*\)", re.DOTALL)  # by a sweeper


def as_typed(arguments: Sequence[str]) -> list[str]:
    """Return a command line with its paths and names of sources quoted; to be called once on what was typed.

    Raises UsageError for a comma that may mean two things.
    """
    sweep = any(a == "-m" or (len(a) > 2 and "--multirun".startswith(a)) for a in arguments)
    return [_typed(argument, sweep) for argument in arguments]


def _typed(argument: str, sweep: bool) -> str:
    key, _, value = argument.partition("=")
    bare = key.lstrip("+")
    if not value or not (bare in ("model", "results", "task.engine") or bare.startswith("data.")):
        return argument
    sweep = sweep and bare != "results"
    if QUOTED.fullmatch(value) and not _there(value):
        return argument
    if "," not in value or not sweep:
        several = [part.strip() for part in value.split(",")]
        if len(several) > 1 and not _there(value) and all(map(_there, several)):
            return argument  # Hydra says that this is a sweep, which needs -m
        return argument if sweep and CHOSEN.fullmatch(value) else f"{key}={_quote(value)}"
    if CHOSEN.fullmatch(value) and not _there(value):
        return argument
    parts = _parts(value)
    for start, end in combinations(range(len(parts) + 1), 2):
        name = ",".join(parts[start:end])
        # A comma behind the last `?` or `#` is none of the file's name, which may well be there.
        if end - start > 1 and _there(name, holding=","):
            alone = [_quote(part.strip()) for part in parts]
            one = f"{key}={','.join([*alone[:start], _quote(name), *alone[end:]])}"
            many = f"{key}={','.join(alone)}"
            raise UsageError(
                f"{argument}: there is a file {name!r}, and with -m a comma separates values: write "
                f"{shlex.quote(one)} for that file, or {shlex.quote(many)} for {len(parts)} values"
            )
    return f"{key}={','.join(_quote(part.strip()) for part in parts)}"


def _parts(value: str) -> list[str]:
    """Return the values that commas separate; one in quotes may hold commas of its own."""
    parts, at = [], 0
    while at <= len(value):
        found = PART.match(value, at)
        assert found is not None
        parts.append(found[1] or found[2])
        at = found.end() if found[0].endswith(",") else len(value) + 1
    return parts


def _quote(name: str) -> str:
    """Return a name in quotes as Hydra reads them; one in quotes stays as it is."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if QUOTED.fullmatch(name) and not _there(name):
        return name
    return QuotedString(text=name, quote=Quote.single).with_quotes()


def _there(name: str, holding: str = "") -> bool:
    """Say whether a name leads to a file (`holding` a sign), also with columns (`?`) or a split (`#`) behind it."""
    bare = name.removeprefix("file:").removeprefix("hub:")
    names = {bare, bare.rpartition("?")[0], bare.rpartition("#")[0]} - {""}
    return any(holding in one and there(Path(os.path.expanduser(one))) for one in names)
