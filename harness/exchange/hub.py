"""Push files to a repository of the hub as a pull request: what would go is listed first, and goes only when asked.

Nobody's repository changes by this alone: its owner merges the request or does not. The token is the one that
huggingface_hub finds (HF_TOKEN, or its own login); it is read here by nobody and kept nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UsageError, said

BYTES, FILES = 64 * 2**20, 10_000  # of all files together, and how many: records and cards, not weights
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
KINDS = ("model", "dataset", "space")
SHOWN = (".eval_results",)  # the one hidden folder that is pushed


@dataclass(frozen=True)
class Parcel:
    """Files for a repository: each by its place there."""

    to: str
    kind: str
    files: Mapping[str, bytes]

    def lines(self) -> list[str]:
        """Return what would be pushed, a line a file."""
        return [f"{len(content):>12,} {place}" for place, content in self.files.items()]


def packed(folder: Path, to: str, kind: str = "model") -> Parcel:
    """Return a folder's files for the repository `user/name`.

    Raises UsageError for a name that is none, a folder without files, with a link that leads out of it, or with
    more than records and cards are.
    """
    if not REPOSITORY.fullmatch(to):
        raise UsageError(f"--to {to!r} is no repository of the hub: write user/name")
    if kind not in KINDS:
        raise UsageError(f"--type {kind!r} is no kind of repository: choose {', '.join(KINDS)}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: name one that `harness export` wrote")
    root, size = folder.resolve(), 0
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") and part not in SHOWN for part in parts) or not path.is_file():
            continue
        if not path.resolve().is_relative_to(root):
            raise UsageError(f"{path} leads outside its folder: put a copy there instead of the link")
        size += path.stat().st_size
        if size > BYTES or len(found) >= FILES:
            raise UsageError(
                f"{folder} has more than {BYTES:,} bytes or {FILES:,} files: push records and cards, "
                "and weights with `hf upload`"
            )
        found["/".join(parts)] = path.read_bytes()
    if not found:
        raise UsageError(f"{folder} has no file to push: export something there first")
    return Parcel(to, kind, found)


def pushed(parcel: Parcel, title: str) -> str:
    """Open a pull request with a parcel's files and return its address.

    Raises HarnessError where the hub cannot be reached, or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    operations = [CommitOperationAdd(place, content) for place, content in parcel.files.items()]
    try:
        made = HfApi().create_commit(
            parcel.to,
            operations,
            commit_message=title,
            commit_description="Written by paper-harness: records, cards and verdicts of runs.",
            repo_type=parcel.kind,
            create_pr=True,
        )
    except Exception as error:  # the library, its transport and the hub have many
        raise HarnessError(
            f"{parcel.to} was not pushed to ({said(error)[:300]}): check the name, the network, and your login "
            "(`hf auth login`, or HF_TOKEN)"
        ) from None
    return str(made.pr_url or made.commit_url)
