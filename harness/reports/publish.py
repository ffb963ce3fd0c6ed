"""`harness report`, and the tracked scorecard that `make scorecard` writes.

A report goes to `results/reports/`, which git ignores. Only `publish` writes what is tracked:
`results/scorecard/*.json`, the pictures and the README's table. It refuses smoke runs, runs made
by other code and a dirty tree, so that a published number can be made again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.reports.figures import draw
from harness.reports.phrases import (
    asked,
    choices,
    counted,
    counts,
    flags,
    judged_on,
    ours,
    said,
    setting,
    stance,
    tally,
    theirs,
)
from harness.reports.stored import read_cards
from harness.reports.text import table
from harness.runs.files import write_json, write_text
from harness.runs.provenance import stale
from harness.verdicts.looks import Memory
from harness.verdicts.register import NAME, entered
from harness.verdicts.rows import Damage, ended
from harness.verdicts.scorecard import judge
from harness.verdicts.versus import Versus


def publish(results: Path, root: Path, papers: Sequence[str] = ()) -> list[Path]:
    """Write the tracked scorecard of every paper with runs in `results`, or of `papers`; return what was written.

    The cards of other papers stay as they were, under their own date.

    Raises HarnessError for a dirty tree, smoke runs only, runs made by other code, or data named by a path that
    only this machine has.
    """
    if subprocess.run(
        ["git", "status", "--porcelain", "-uno"], cwd=root, capture_output=True, text=True
    ).stdout:
        raise HarnessError(
            "the tree has uncommitted changes: commit them, so that the numbers belong to a commit"
        )
    written = []
    damage = Damage()
    for plugin, records in ended(papers, results, "", damage):
        assert plugin.paper is not None
        kept = [record for record in records if record.result.config["budget"] != "smoke"]
        cards = judge(plugin.name, plugin.paper, kept, stale, Memory(results), Versus(plugin, results))
        if not cards:
            raise HarnessError(
                f"{plugin.name} has smoke runs only, which are no evidence: run its experiment"
            )
        if any(card["stale"] for card in cards):
            raise HarnessError(
                f"some runs of {plugin.name} were made by other code: run them again with rerun=true"
            )
        if damage.told:
            raise HarnessError(
                f"{len(damage.told)} files of runs are damaged: repeat the commands that made them"
            )
        cards = json.loads(portable(json.dumps(cards, default=str)))
        if lies := only_here(cards):
            raise HarnessError(
                f"{plugin.name} read {lies}, a path of this machine: set HARNESS_DATA to the folder of the data sets"
            )
        cards = entered(cards, root / "results" / "scorecard" / NAME)
        path = root / "results" / "scorecard" / f"{plugin.name}.json"
        write_json(path, cards)
        written.append(path)
        for index, figure in enumerate(plugin.paper.figures):
            picture = root / "results" / "scorecard" / f"{plugin.name}-{index + 1}.svg"
            draw(figure, cards[0], picture)
            written.append(picture)
    cards = read_cards(root / "results" / "scorecard")
    for path in (root / "README.md", root / "results" / "README.md"):
        write_text(path, with_table(path.read_text(encoding="utf-8"), cards))
        written.append(path)
    return written


def portable(text: str) -> str:
    """Return text with this machine's folder of data sets written as $HARNESS_DATA."""
    home = os.environ.get("HARNESS_DATA")
    return (
        text.replace(str(Path(home).resolve()), "$HARNESS_DATA").replace(home, "$HARNESS_DATA")
        if home
        else text
    )


def only_here(cards: Sequence[dict[str, Any]]) -> str:
    """Return the first data set named by an absolute path, or ""."""
    named = (str(source) for card in cards for source in card["data"].values())
    return next((source for source in named if Path(source).is_absolute()), "")


def with_table(text: str, cards: Sequence[dict[str, Any]]) -> str:
    """Return a page with the lines between its scorecard marks replaced: a row a paper, or every claim."""
    for mark, made in (("three verdicts", three), ("scorecard in short", short), ("scorecard", whole)):
        marks = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
        text = re.sub(marks, lambda m, made=made: m[1] + made(cards) + m[2], text, flags=re.S)  # type: ignore[misc]
    return text


def three(cards: Sequence[dict[str, Any]]) -> str:
    """Return one claim of each verdict, of as many papers as can be: what a reader sees first."""
    rows: list[tuple[Any, ...]] = [("a claim", "asked", "measured [95 %]", "verdict")]
    seen: set[str] = set()
    for word in ("holds", "fails", "open"):
        found = [
            (card["paper"] in seen, not claim["holm"], n, card, claim)
            for n, card in enumerate(cards)
            for claim in card["claims"]
            if claim["verdict"] == word and not claim["counter"]
        ]
        for *_, card, claim in sorted(found, key=lambda one: one[:3])[:1]:
            seen.add(card["paper"])
            rows.append(
                (f"{card['paper']}: {claim['text']}", asked(claim), ours(claim), _verdict(card, claim))
            )
    return "\n".join(table(rows, _in_a_cell)) + "\n"


def short(cards: Sequence[dict[str, Any]]) -> str:
    """Return a row for each scorecard: how its claims fared, and the first of them with its interval."""
    rows: list[tuple[Any, ...]] = [
        (
            "paper",
            "data",
            "its claims",
            "claims against it",
            "controls",
            "the first claim",
            "the paper",
            "here [95 %]",
            "verdict",
        )
    ]
    for card in cards:
        first = card["claims"][0]
        link = f"[{card['paper']}](plugins/{card['paper']}/README.md)"
        number = theirs(first).split(" (")[0]
        kinds = [counted(n) for n in counts(card).values()]
        rows.append(
            (link, judged_on(card), *kinds, first["text"], number, ours(first), _verdict(card, first))
        )
    return "\n".join([*table(rows, _in_a_cell), "", *_made(cards)]) + "\n"


def whole(cards: Sequence[dict[str, Any]]) -> str:
    """Return every claim: a table for each scorecard, under its data, machine, date and command."""
    head = ("claim", "the paper", "here [95 %]", "asked", "verdict", "seeds × items")
    lines: list[str] = []
    for card in cards:
        lines += [
            f"### {card['paper']}: {card['title']}",
            "",
            f"{tally(card)}. {setting(card)}.",
            "",
            f"    {card['command']}",
            "",
        ]
        rows: list[tuple[Any, ...]] = [head]
        for claim in card["claims"]:
            pairs = f"{claim['seeds']} × {claim['items']:,}" if claim["items"] else claim["seeds"]
            text = claim["text"] + (f" ({stance(claim)})" if stance(claim) else "")
            rows.append((text, theirs(claim), ours(claim), asked(claim), _verdict(card, claim), pairs))
        chosen = [f"- {line}" for line in choices(card)]
        lines += [*table(rows, _in_a_cell), "", *chosen, *([""] if chosen else [])]
    return "\n".join([*lines, *_made(cards)]) + "\n"


def _verdict(card: dict[str, Any], claim: dict[str, Any]) -> str:
    return ", ".join([f"**{said(card, claim)}**", *flags(claim)])


def _in_a_cell(text: str) -> str:
    """Return text of our own, which may hold links and emphasis, as a cell."""
    return text.replace("|", "\\|")


def _made(cards: Sequence[dict[str, Any]]) -> list[str]:
    made = sorted({f"{card['date']} on {card['machine']}, budget={card['budget']}" for card in cards})
    return [f"Runs of {line}." for line in made]


if __name__ == "__main__":
    try:
        for path in publish(Path(sys.argv[1]).resolve(), Path.cwd(), sys.argv[2:]):
            print(path)
    except HarnessError as error:
        raise SystemExit(f"harness: {error}") from None
