"""`harness export`: the claims of runs, in a form that leaves the house."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.commands.door.answers import answer
from harness.errors import HarnessError, UsageError, nearest
from harness.exchange.claims import claims_of_card, write_claims
from harness.runs.provenance import stale
from harness.verdicts.looks import Memory
from harness.verdicts.rows import Damage, ended
from harness.verdicts.scorecard import judge

FORMATS = ("claims",)


def show_export(
    papers: Sequence[str], to: str, results: Path, out: Path | None, as_json: bool = False
) -> int:
    """Judge the runs of `papers` and write their claim records; return 1 where files of runs are damaged."""
    if to not in FORMATS:
        raise UsageError(f"there is no format {to!r} to export to: {nearest(to, FORMATS)}")
    damage, looks, found = Damage(), Memory(results), []
    for plugin, records in ended(papers, results, "", damage):
        assert plugin.paper is not None
        cards = judge(plugin.name, plugin.paper, records, stale, looks)
        found += [claims_of_card(card, records) for card in cards]
    path = out or results / "reports" / "claims.json"
    try:
        write_claims(path, found)
    except OSError as error:
        raise HarnessError(
            f"{path} cannot be written ({error.strerror}): name another file by --out"
        ) from None
    count = sum(len(one["claims"]) for one in found)
    if as_json:
        answer("export", {"format": to, "files": [str(path)]})
    else:
        print(f"{count} {'claim' if count == 1 else 'claims'}: {path}")
    return damage.exit_code
