"""A sweep as the driver sees it go: progress bars, the mirror to MLflow, and the journal of ended jobs.

Everything is read from run folders, so it works the same whatever launched the jobs, and wherever.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.errors import said
from harness.runs.journal import Sweep, read_journal
from harness.runs.results import PROGRESS, read_progress


@contextlib.contextmanager
def watched(sweep: Sweep, level: bool = False) -> Iterator[list[str]]:
    """Show and mirror a sweep's runs, from threads of the driver, for as long as they go on.

    `level` says that the store holds all there is to mirror, so that it need not be opened.
    What is yielded holds, after leaving, why the mirror is behind the folders, if it is.
    """
    import filelock

    os.environ["HARNESS_DRIVER"] = str(os.getpid())
    over = threading.Event()
    behind: list[str] = []
    mirror = threading.Thread(target=_mirror, args=(sweep, over, behind), daemon=True)
    mirrored = bool(sweep.uri) and not level
    if mirrored:
        mirror.start()
    bars = threading.Thread(target=_show, args=(sweep, over), daemon=True)
    bars.start()
    sweep.lock.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(sweep.lock):  # held as long as this driver lives
        try:
            yield behind
        finally:
            over.set()
            bars.join()
            if mirrored:
                mirror.join()
    sweep.lock.unlink(missing_ok=True)


def running(sweep: Sweep) -> list[dict[str, Any]]:
    """Return what the sweep's running runs last said of their progress, with their folders."""
    found = []
    for path in sorted((sweep.results / "runs").glob(f"*/*/*/{PROGRESS}")):
        state = read_progress(path.parent)
        if state and state.get("sweep") == sweep.id:
            found.append({**state, "folder": path.parent})
    return found


def _show(sweep: Sweep, over: threading.Event) -> None:
    """Draw a bar per running run and a line per ended one; without a terminal, only the lines."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    total = len(sweep.specs) or None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    shown = 0
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        whole = progress.add_task("runs", total=total, note="")
        bars: dict[str, Any] = {}
        while True:
            last = over.is_set()
            lines = read_journal(sweep.journal)
            for line in lines[shown:]:
                console.print(_told(line), highlight=False)
            shown = len(lines)
            progress.update(whole, completed=shown, total=total or max(shown, 1))
            states = {state["title"]: state for state in running(sweep)}
            for title in set(bars) - set(states):
                progress.remove_task(bars.pop(title))
            for title, state in states.items():
                loss = f"loss {state['loss']:.3f}" if isinstance(state.get("loss"), float) else ""
                if title not in bars:
                    bars[title] = progress.add_task(title, total=state["total"], note=loss)
                progress.update(bars[title], completed=state["done"], total=state["total"], note=loss)
            if last:
                return
            over.wait(0.5)


def _told(line: dict[str, Any]) -> str:
    marks = {"finished": "[green]done[/]", "skipped": "[dim]had[/]", "failed": "[red]FAILED[/]"}
    tail = f"{line['seconds']:.1f} s" if line["outcome"] == "finished" else ""
    if line["error"]:
        from rich.markup import escape

        tail = escape(f"{line['error']['type']}: {line['error']['message']}")
    return f"{marks[line['outcome']]} {line['title']} {tail}"


def _mirror(sweep: Sweep, over: threading.Event, behind: list[str]) -> None:
    """Keep the tracking store level with the run folders; an outage costs nothing but a warning."""
    from harness.runs.mirror import Mirror

    done: set[str] = set()
    store: Mirror | None = None
    parents: dict[str, str] = {}
    warned = False

    def parent_of(paper: str) -> Callable[[], str]:
        def opened() -> str:
            if paper not in parents and store is not None:
                parents[paper] = store.open_sweep(paper, sweep.id, sweep.command)
            return parents[paper]

        return opened

    while True:
        last = over.is_set()
        try:
            store = store or Mirror(sweep.uri)
            lines = read_journal(sweep.journal)
            states = running(sweep)
            for state in states:
                store.copy(state["folder"], parent_of(state["folder"].parts[-3]))
            for line in lines:
                if line["folder"] not in done:
                    store.copy(Path(line["folder"]), parent_of(line["paper"]))
                    done.add(line["folder"])
            if last:
                for paper, parent in parents.items():
                    failed = any(x["outcome"] == "failed" for x in lines if x["paper"] == paper)
                    files, about = _summary(sweep, paper)
                    store.close_sweep(parent, failed, files, about)
                store.end_killed({*sweep.papers, *parents}, sweep.results)
                return
        except Exception as error:
            reason = said(error)[:400]
            if last:
                behind.append(reason)
                return
            if not warned:
                print(f"harness: {reason}; the runs go on", file=sys.stderr)
            warned = True
        over.wait(2.0)


def _summary(sweep: Sweep, paper: str) -> tuple[list[Path], str]:
    """Return the files and the description for a sweep's parent run; a report that fails costs only itself."""
    if not sweep.journal.exists():
        return [], ""
    from harness.reports.summary import description, summary

    try:
        files = summary(sweep.journal, paper)
    except Exception as error:
        print(f"harness: the sweep's report of {paper} was not written: {error}", file=sys.stderr)
        files = []
    return [sweep.journal, *files], description(files)
