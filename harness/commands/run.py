"""`harness run --json`: the sweep engine's ends, an object a line; without the flag, Hydra's command line as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from harness.commands.door.answers import FLAG, lines
from harness.errors import UsageError
from harness.sweeps.sweep import ASKS, Swept, main, swept


def show_run(words: Sequence[str], as_json: bool) -> int:
    """Run a sweep and return its exit code; as JSON tell its beginning, each run's end, and how it came out."""
    if not as_json:
        return main(words)
    words = [word for word in words if word != FLAG]
    asks = next((word for word in words if word.split("=")[0] in ASKS), "")
    if asks:
        raise UsageError(f"{asks} is answered by Hydra as text: leave {FLAG} out")
    with lines("run") as heard:
        done = swept(words, heard)
        heard({"event": "ended", **plain(done)})
    return done.exit_code


def plain(done: Swept) -> dict[str, Any]:
    """Return how a sweep ended as plain data, without its runs."""
    told = {f.name: getattr(done, f.name) for f in dataclasses.fields(done) if f.name not in ("id", "runs")}
    return {"sweep": done.id, **told, "results": str(done.results)}
