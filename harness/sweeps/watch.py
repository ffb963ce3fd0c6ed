"""A sweep as the driver sees it go: progress bars, the mirror to MLflow, and the journal of ended jobs.

Everything is read from run folders, so it works the same whatever launched the jobs, and wherever.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import said
from harness.runs.journal import Sweep, read_journal
from harness.runs.results import PROGRESS, read_progress
from harness.runs.spec import AGAIN

if TYPE_CHECKING:
    from harness.runs.mirror import Mirror

Heard = Callable[
    [Mapping[str, Any]], None
]  # is given what a program may want to know while a command goes on


@contextlib.contextmanager
def watched(sweep: Sweep, up_to_date: bool = False, heard: Heard | None = None) -> Iterator[list[str]]:
    """Show and mirror a sweep's runs, from threads of the driver, for as long as they go on.

    `up_to_date` says that the store holds all there is to mirror, so that it need not be opened. `heard` is given
    an object for each run that ended.
    What is yielded holds, after leaving, why the mirror is behind the folders, if it is.
    """
    import filelock

    over = threading.Event()
    mirroring = Mirroring(sweep) if sweep.uri and not up_to_date else None
    watchers = [threading.Thread(target=_show, args=(sweep, over, heard), daemon=True)]
    if mirroring:
        watchers.append(threading.Thread(target=_mirror, args=(mirroring, over), daemon=True))
    behind: list[str] = []
    sweep.lock.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(sweep.lock):  # held as long as this driver lives
        for watcher in watchers:
            watcher.start()
        try:
            yield behind
        finally:
            over.set()
            for watcher in watchers:
                watcher.join()
            if mirroring and mirroring.behind:
                behind.append(mirroring.behind)
    sweep.lock.unlink(missing_ok=True)


def running(sweep: Sweep) -> list[dict[str, Any]]:
    """Return what the sweep's running runs last said of their progress, with their folders."""
    found = []
    runs = sweep.results / "runs"
    for path in sorted([*runs.glob(f"*/*/*/{PROGRESS}"), *runs.glob(f"*/*/*/{AGAIN}/{PROGRESS}")]):
        state = read_progress(path.parent)
        if state and state.get("sweep") == sweep.id:
            found.append({**state, "folder": path.parent})
    return found


def _show(sweep: Sweep, over: threading.Event, heard: Heard | None) -> None:
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
                if heard:
                    heard({"event": "run", **line})
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
    marks = {"finished": "[green]done[/]", "skipped": "[dim]kept[/]", "failed": "[red]FAILED[/]"}
    tail = f"{line['seconds']:.1f} s" if line["outcome"] == "finished" else ""
    if line["error"]:
        from rich.markup import escape

        tail = escape(f"{line['error']['type']}: {line['error']['message']}")
    return f"{marks[line['outcome']]} {line['title']} {tail}"


class Mirroring:
    """Keeps the tracking store up to date with a sweep's run folders; an outage costs nothing but a warning."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.behind = ""  # why the store lacks something, since the last look
        self._store: Mirror | None = None
        self._parents: dict[str, str] = {}  # paper -> the sweep's run in the store
        self._done: set[str] = set()  # folders of ended runs that the store has
        self._warned = False

    def once(self) -> None:
        """Copy what is new; say so the first time that this cannot be."""
        with self._told():
            self._copy()

    def close(self) -> None:
        """Copy what is left, and end the sweep in the store; `behind` says why, where this cannot be."""
        with self._told(last=True):
            store, lines = self._copy()
            for paper, parent in self._parents.items():
                failed = any(line["outcome"] == "failed" for line in lines if line["paper"] == paper)
                store.close_sweep(parent, failed, *_summary(self.sweep, paper))
            store.end_killed({*self.sweep.papers, *self._parents}, self.sweep.results)

    def _copy(self) -> tuple[Mirror, list[dict[str, Any]]]:
        """Bring running and ended runs to the store; return it, and the journal's lines."""
        from harness.runs.mirror import Mirror

        self._store = self._store or Mirror(self.sweep.uri)
        lines = read_journal(self.sweep.journal)
        for state in running(self.sweep):
            if state["folder"].name == AGAIN:  # the store has the result of before, until there is another
                continue
            self._store.copy(state["folder"], partial(self._parent, state["folder"].parts[-3]))
        for line in lines:
            if line["folder"] not in self._done:
                self._store.copy(Path(line["folder"]), partial(self._parent, line["paper"]))
                self._done.add(line["folder"])
        return self._store, lines

    def _parent(self, paper: str) -> str:
        """Return the sweep's run in the store under which the runs of `paper` stand, opened when it is needed."""
        assert self._store is not None
        if paper not in self._parents:
            self._parents[paper] = self._store.open_sweep(paper, self.sweep.id, self.sweep.command)
        return self._parents[paper]

    @contextlib.contextmanager
    def _told(self, last: bool = False) -> Iterator[None]:
        self.behind = ""
        try:
            yield
        except Exception as error:
            self.behind = said(error)[:400]
            if not (last or self._warned):
                print(f"harness: {self.behind}; the runs go on", file=sys.stderr)
                self._warned = True


def _mirror(mirroring: Mirroring, over: threading.Event) -> None:
    while not over.is_set():
        mirroring.once()
        over.wait(2.0)
    mirroring.close()


def _summary(sweep: Sweep, paper: str) -> tuple[list[Path], str, dict[str, float]]:
    """Return files, description and means for a sweep's parent run; a report that fails costs only itself."""
    if not sweep.journal.exists():
        return [], "", {}
    from harness.reports.summary import description, means, summary

    try:
        files = summary(sweep.journal, paper)
    except Exception as error:
        print(f"harness: the sweep's report of {paper} was not written: {error}", file=sys.stderr)
        files = []
    return [sweep.journal, *files], description(files), means(files)
