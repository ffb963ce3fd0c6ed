"""`harness bundle`: runs with all that their verdicts rest on, for somebody who does not take our word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.commands.door.answers import answer
from harness.exchange.bundles.making import bundle
from harness.papers.plugins import load


def show_bundle(
    runs: Sequence[str], out: Path | None, outputs: bool, results: Path, as_json: bool = False
) -> None:
    """Write a bundle and say what it holds."""
    path = out or results / "reports" / "bundle.zip"
    manifest = bundle(runs, results, path, load, outputs)
    failed = sum(run["status"] == "failed" for run in manifest["runs"])
    if as_json:
        said = {"runs": len(manifest["runs"]), "failed": failed, "files": len(manifest["files"])}
        answer("bundle", {"path": str(path), "digest": manifest["digest"], **said})
        return
    told = f", {failed} of them failed" if failed else ""
    print(f"{len(manifest['runs'])} runs{told}, {len(manifest['files'])} files: {path}")
    print(f"digest {manifest['digest']}")
