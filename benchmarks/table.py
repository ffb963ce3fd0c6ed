"""From measured rows to what is tracked: the file, three lines in README, the table of docs/performance.md."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.runs.files import write_text

MARK = "benchmarks"


def publish(root: Path, found: Mapping[str, Any], machine: Mapping[str, Any]) -> None:
    """Write the rows into the file, over those of the same name that are there, and renew the tables."""
    from benchmarks.rows import ROWS

    path = root / "results" / "benchmarks.json"
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    old: dict[str, list[Any]] = {}
    for row in before:
        old.setdefault(row["name"], []).append(row)
    rows = [
        one
        for row in ROWS
        for one in (found[row.name]["rows"] if row.name in found else old.get(row.name, []))
    ]
    page = {**machine, "met": tally(rows), "rows": rows}
    write_text(path, json.dumps(page, indent=1) + "\n")
    for name in ("README.md", "docs/performance.md"):
        text = (root / name).read_text(encoding="utf-8")
        write_text(root / name, with_table(text, page))


def tally(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how many of the comparisons with a target meet it."""
    met = [row["met"] for row in rows if row["met"] is not None]
    return f"{sum(met)} of {len(met)}"


def with_table(text: str, page: Mapping[str, Any]) -> str:
    """Return a page with what stands between its marks made anew: all rows, or those in short."""
    for mark, made in ((f"{MARK} in short", short), (MARK, whole)):
        marks = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
        text = re.sub(marks, lambda m, made=made: m[1] + made(page) + m[2], text, flags=re.S)  # type: ignore[misc]
    return text


def short(page: Mapping[str, Any]) -> str:
    """Return three lines: how many targets are met, which are missed, and what was measured where."""
    missed = [row for row in page["rows"] if row["met"] is False]
    lines = [f"{page['met']} comparisons meet their target."]
    if missed:
        told = (
            r["what"] + (" (not measured)" if r["ratio"] is None else f" ({r['ratio']:.3g}, {r['target']})")
            for r in missed
        )
        lines.append(f"Missed: {'; '.join(told)}.")
    days = sorted({row["date"] for row in page["rows"]})
    lines.append(f"Measured {' and '.join(days)} on {page['machine']}, one thread a process.")
    return "\n".join(lines) + "\n"


def whole(page: Mapping[str, Any]) -> str:
    """Return every row, with the cause where a target is missed."""
    head = ("what", "against", "ratio [spread]", "target", "met", "cause")
    lines = table([head, *((*cells(r), r["target"] or "none", said(r), r["cause"]) for r in page["rows"])])
    return "\n".join([*lines, "", about(page)]) + "\n"


def cells(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what, against what, and the ratio with its spread."""
    if row["ratio"] is None:
        return row["what"], row["peer"], "not measured"
    return row["what"], row["peer"], f"{row['ratio']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"


def said(row: Mapping[str, Any]) -> str:
    """Say whether a target is met."""
    return {True: "**yes**", False: "**no**", None: ""}[row["met"]]


def about(page: Mapping[str, Any]) -> str:
    """Say what was measured where, and how many rows meet their target."""
    versions = ", ".join(f"{name} {version}" for name, version in page["versions"].items())
    days = sorted({row["date"] for row in page["rows"]})
    return (
        f"{page['met']} comparisons meet their target. Measured {' and '.join(days)} on {page['machine']}, "
        f"Python {page['python']}, one thread a process. At most: ours / theirs; at least: how many times faster "
        f"ours is. {versions}."
    )


def table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return rows as a Markdown table, the first its head."""
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [lines[0], "| " + " | ".join("---" for _ in rows[0]) + " |", *lines[1:]]


def to_terminal(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows."""
    from rich.console import Console
    from rich.table import Table

    shown = Table("what", "against", "ratio [spread]", "target", "met", box=None, pad_edge=False)
    for row in rows:
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[row["met"]]
        shown.add_row(*(cell.replace("[", "\\[") for cell in cells(row)), row["target"], met)
    console = Console()
    console.print(shown)
    if tally(rows) != "0 of 0":
        console.print(f"{tally(rows)} comparisons meet their target")
