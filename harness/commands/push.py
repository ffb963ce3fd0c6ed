"""`harness push`: exported files go to a repository of the hub as a pull request, when they are told to."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.commands.door.answers import answer
from harness.commands.export import written
from harness.errors import UsageError
from harness.exchange.hub import packed, pushed
from harness.numbers import printable


def show_push(
    words: Sequence[str], to: str, kind: str, yes: bool, results: Path, as_json: bool = False
) -> int:
    """Push a folder, or the card and the scores of the runs that `words` name; without `yes` say what would go."""
    folder = Path(words[0]).expanduser()
    if len(words) == 1 and folder.is_dir() and not (folder / "result.json").exists():
        parcel = packed(folder, to, kind)
    else:
        with tempfile.TemporaryDirectory() as made:
            damaged = written(words, "card", results, Path(made)).exit_code
            models = sorted(path for path in Path(made).iterdir() if path.is_dir())
            if len(models) != 1:
                raise UsageError(
                    f"{' '.join(words)} names {len(models)} methods, and a repository holds one model: "
                    "name one, as in alibi/rotary"
                )
            with suppress(UsageError):  # of data that are not of the hub: the card says what it scored
                damaged = max(damaged, written(words, "eval-results", results, Path(made)).exit_code)
            if damaged:
                return damaged
            parcel = packed(models[0], to, kind)
    count = len(parcel.files)
    what = f"{count} {'file' if count == 1 else 'files'}"
    title = f"Results of paper-harness, {what}"
    if as_json:
        sizes = {place: len(content) for place, content in parcel.files.items()}
        opened = pushed(parcel, title) if yes else None
        answer("push", {"to": to, "kind": kind, "files": sizes, "opened": opened})
        return 0
    for line in parcel.lines():
        print(printable(line))
    if not yes:
        print(f"{what} would go to {to} as a pull request: add --yes to open it")
        return 0
    print(f"{what}: {pushed(parcel, title)}")
    return 0
