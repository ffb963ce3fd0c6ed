"""`harness export`: runs, their claims and their data, in forms that leave the house."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.commands.door.answers import answer
from harness.errors import HarnessError, UsageError, nearest
from harness.exchange.claims import as_claims, claims_of_card
from harness.exchange.formats import croissant, eval_results, every_eval_ever
from harness.papers.plugins import Plugin, listed
from harness.papers.statement import Paper
from harness.reports import card as model_card
from harness.runs.files import write_text
from harness.runs.provenance import stale
from harness.runs.results import Record
from harness.verdicts.looks import Memory
from harness.verdicts.rows import Damage, ended, select
from harness.verdicts.scorecard import judge
from harness.verdicts.versus import Versus

CLAIMS = "claims.json"


@dataclass(frozen=True)
class Chosen:
    """The runs of one paper that are exported, and the results folder they are from."""

    plugin: Plugin
    paper: Paper
    records: Sequence[Record]
    results: Path

    @property
    def name(self) -> str:
        """The paper's name."""
        return self.plugin.name

    def cards(self) -> list[dict[str, Any]]:
        """Return their scorecards, as `harness report` makes them; this is no look of its own."""
        wins = Versus(self.plugin, self.results)
        return judge(self.name, self.paper, self.records, stale, Memory(self.results), wins)


def _claims(papers: Sequence[Chosen]) -> dict[str, str]:
    found = [claims_of_card(card, one.records) for one in papers for card in one.cards()]
    return {CLAIMS: as_claims(found)}


def _each(make: Callable[[Chosen], dict[str, str]]) -> Callable[[Sequence[Chosen]], dict[str, str]]:
    return lambda papers: {place: text for one in papers for place, text in make(one).items()}


FORMATS: dict[str, Callable[[Sequence[Chosen]], dict[str, str]]] = {
    "claims": _claims,
    "every-eval-ever": _each(lambda one: every_eval_ever.exported(one.name, one.paper, one.records)),
    "eval-results": _each(lambda one: eval_results.exported(one.name, one.cards(), one.records)),
    "croissant": _each(
        lambda one: croissant.exported(one.name, one.paper, one.records, one.results / "stages" / "sources")
    ),
    "card": _each(lambda one: model_card.exported(one.name, one.paper, one.cards(), one.records)),
}


@dataclass(frozen=True)
class Written:
    """What an export wrote, and its exit code: 1 where files of runs are damaged."""

    files: Sequence[Path]
    texts: Sequence[str]
    exit_code: int


def written(words: Sequence[str], to: str, results: Path, out: Path) -> Written:
    """Write the runs that `words` name in a format: claims as the file `out`, anything else below that folder.

    Raises UsageError for an unknown format, for words that name no run, and where there is nothing to write.
    """
    if to not in FORMATS:
        raise UsageError(f"there is no format {to!r} to export to: {nearest(to, FORMATS)}")
    damage = Damage()
    papers = [
        Chosen(plugin, plugin.paper, records, results)
        for plugin, records in _chosen(words, results, damage)
        if plugin.paper is not None
    ]
    made = FORMATS[to](papers)
    if not made:
        raise UsageError(f"there is nothing to export to {to}: none of these runs is finished")
    files = {(out if to == "claims" else out / place): text for place, text in made.items()}
    try:
        for path, text in files.items():
            write_text(path, text)
    except OSError as error:
        raise HarnessError(f"{out} cannot be written ({error.strerror}): name another by --out") from None
    return Written(list(files), list(files.values()), damage.exit_code)


def show_export(words: Sequence[str], to: str, results: Path, out: Path | None, as_json: bool = False) -> int:
    """Export the runs that `words` name, all by default, and say where; return 1 where files of runs are damaged."""
    place = out or results / "reports" / (CLAIMS if to == "claims" else to)
    found = written(words, to, results, place)
    if as_json:
        answer("export", {"format": to, "files": [str(path) for path in found.files]})
    elif to == "claims":
        count = sum(len(one["claims"]) for one in json.loads(found.texts[0])["papers"])
        print(f"{count} {'claim' if count == 1 else 'claims'}: {place}")
    else:
        print(f"{len(found.files)} {'file' if len(found.files) == 1 else 'files'}: {place}")
    return found.exit_code


def _chosen(words: Sequence[str], results: Path, damage: Damage) -> Iterator[tuple[Plugin, list[Record]]]:
    """Yield each paper with the runs that `words` name: a paper means all of its runs, failed ones too."""
    known = {listing.name for listing in listed()}
    narrow = [word for word in words if word not in known and any(mark in word for mark in "/,=")]
    narrow += [word for word in words if word not in known and _is_a_run(word, results)]
    keys = {record.result.run_key for word in narrow for record in select(word, results, damage=damage)}
    whole = [word for word in words if word not in narrow]
    for plugin, records in ended(whole if not narrow else [], results, "", damage):
        kept = [r for r in records if not words or plugin.name in whole or r.result.run_key in keys]
        if kept:
            yield plugin, kept


def _is_a_run(word: str, results: Path) -> bool:
    """Say whether a word without marks is a sweep's id, a folder, or the beginning of a run's key."""
    sweep = (results / "sweeps" / f"{word}.jsonl").exists()
    return sweep or Path(word).is_dir() or (len(word) >= 6 and all(c in "0123456789abcdef" for c in word))
