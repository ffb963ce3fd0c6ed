"""`harness judge`: results that others made, under the rule that judges our own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.commands.door.answers import answer
from harness.exchange.judging import judge
from harness.exchange.readers import read
from harness.reports.judged import to_html, to_terminal
from harness.runs.files import write_json, write_text


def show_judge(
    paths: Sequence[Path], reader: str, metric: str, margin: float, results: Path, as_json: bool
) -> None:
    """Judge files of results: print it, write JSON and one HTML page below `results`."""
    named = ", ".join(path.name or str(path.resolve().name) for path in paths[:3])
    found = {
        "reader": reader,
        "named": f"{named} and {len(paths) - 3} more" if len(paths) > 3 else named,
        **judge(read(paths, reader), metric, margin),
    }
    folder = results / "reports"
    page = folder / "judge.html"
    try:
        write_json(folder / "judge.json", found)
        write_text(page, to_html(found))
    except OSError as error:  # a full disk, results that may only be read: what is there can still be told
        print(f"harness: {folder} cannot be written ({error.strerror}): only printed", file=sys.stderr)
    if as_json:
        answer("judge", found)
        return
    console = Console()
    to_terminal(found, console)
    if page.exists():
        console.print(f"page: {page.as_uri()}", soft_wrap=True, highlight=False)
