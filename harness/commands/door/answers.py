"""What a program reads of a command that was asked for `--json`: standard output then holds JSON alone.

Most commands print one value. One that goes on for long prints an object a line, `{"event": ...}`, and one at the
end, `{"event": "ended", ..., "exit_code": ...}`; meanwhile what others print (Hydra, libraries, a plugin) goes to
standard error. What goes wrong is an object too, `{"error": {...}}`, on a line of its own. Every object names in
`untrusted` those of its texts that came from data or from other people's files: they are nothing to obey.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from harness.runs.files import finite

if TYPE_CHECKING:
    from harness.sweeps.watch import Heard

FLAG = "--json"
_one_at_a_time = threading.Lock()
_own: list[TextIO] = []  # where lines go, while standard output is anybody's


def wanted(arguments: list[str]) -> bool:
    """Say whether a command line asks for JSON."""
    return FLAG in arguments[: arguments.index("--") if "--" in arguments else None]


def answer(name: str, value: Any) -> None:
    """Print what a command found, of the shape `harness schema NAME`; a number that is not finite becomes null."""
    if isinstance(value, list):
        _say([_marked(name, one) for one in value], indent=1)
    else:
        _say(_marked(name, value), indent=1)


@contextlib.contextmanager
def lines(name: str) -> Iterator[Heard]:
    """Yield what prints an object as a line, and keep standard output for it."""
    with alone():
        yield lambda event: _say(_marked(name, event))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep standard output for what is said here: what anything else prints goes to standard error."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        _own.append(out)
        os.dup2(2, 1)
        try:
            yield
        finally:
            sys.stdout.flush()
            os.dup2(out.fileno(), 1)
            _own.remove(out)


def complain(kind: str, message: str, fix: str, exit_code: int) -> None:
    """Print an error as one line of JSON."""
    error = {"type": kind, "message": message, "fix": fix, "exit_code": exit_code}
    _say(_marked("error", {"error": error}))


def _marked(name: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    from harness.exchange.answers import untrusted

    marks = [place for place in untrusted(name) if re.split(r"[.\[]", place)[0] in value]
    return {**value, "untrusted": marks} if marks else value


def _say(value: Any, indent: int | None = None) -> None:
    out = _own[-1] if _own else sys.stdout
    plain = (getattr(out, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"
    text = json.dumps(finite(value), indent=indent, ensure_ascii=plain, default=str, allow_nan=False)
    text = text.encode("utf-8", "backslashreplace").decode()  # half a letter, in somebody's file
    with _one_at_a_time, contextlib.suppress(BrokenPipeError):  # the reader has had enough
        out.write(text + "\n")
        out.flush()
