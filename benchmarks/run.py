"""Measure every row side by side with its peer: `make bench`, or

    python benchmarks/run.py                     # the whole table, whose rows have an hour of two cores
    python benchmarks/run.py --only walk lora    # some rows, put into the table that is there
    python benchmarks/run.py --toy               # every row in small, to see that it runs; nothing is published

A row runs in a process of its own, pinned to one core (where it may use more: to all), with a limit on its time. It
is kept as soon as it is done: repeat the command after a stop and only what is missing is measured. When every
row is there, `results/benchmarks.json` and the tables in README.md and docs/performance.md are whole.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # not this folder: a module here must not hide a library

from benchmarks.rows import ROWS, Row  # noqa: E402
from benchmarks.table import publish  # noqa: E402

ALONE = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")},
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "",  # what was compiled is kept, as for users
}
SLOWER = 4  # a row is stopped when it takes so many times the minutes it should


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked and missing; return 0 when every row was measured."""
    asked = parser().parse_args(arguments)
    if asked.child:
        return child(asked.child, asked.toy, asked.into)
    chosen = [row for row in ROWS if not asked.only or row.name in asked.only]
    kept = ROOT / "build" / "bench" / ("rows-toy" if asked.toy else "rows")
    kept.mkdir(parents=True, exist_ok=True)
    done = {name for name, found in gathered(kept).items() if not found["error"]}
    todo = [row for row in chosen if asked.only or asked.toy or row.name not in done]
    if len(todo) < len(chosen):
        print(f"{len(chosen) - len(todo)} rows are kept from a run that was stopped", file=sys.stderr)
    for row in shown(todo):
        found = measured(row, asked.toy)
        write(kept / f"{row.name}.json", found)
        if not asked.toy:
            publish(ROOT, {row.name: found}, machine())
    rows = gathered(kept)
    from benchmarks.table import to_terminal

    to_terminal([entry for row in chosen for entry in rows.get(row.name, {}).get("rows", [])])
    failed = [row.name for row in chosen if rows[row.name]["error"]]
    for name in failed:
        print(f"{name} was not measured whole: {rows[name]['error']}", file=sys.stderr)
    if not failed and not asked.toy:
        for row in chosen:  # all is published: the next call measures anew
            (kept / f"{row.name}.json").unlink()
    return 1 if failed else 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    words = argparse.ArgumentParser(description="The harness side by side with what one would use instead.")
    words.add_argument(
        "--only", nargs="+", metavar="NAME", choices=[row.name for row in ROWS], help="these rows"
    )
    words.add_argument(
        "--toy", action="store_true", help="in small: shows that each row runs, measures nothing"
    )
    words.add_argument("--child", help=argparse.SUPPRESS)
    words.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    return words


def shown(rows: Sequence[Row]) -> Any:
    """Yield rows behind a progress bar by minutes; without a terminal a line each."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(30),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        whole = progress.add_task("rows", total=sum(row.minutes for row in rows), said="")
        Said.show = lambda said: progress.update(whole, said=said[:70])
        for number, row in enumerate(rows, 1):
            progress.update(whole, description=f"{number}/{len(rows)} {row.name}", said="")
            began = time.monotonic()
            yield row
            progress.advance(whole, row.minutes)
            console.print(f"{row.name}: {time.monotonic() - began:.0f} s", highlight=False)


class Said:
    """Where a row's last words go."""

    show: Any = staticmethod(lambda said: None)


def measured(row: Row, toy: bool) -> dict[str, Any]:
    """Measure one row in a process of its own; what it had told when it failed is kept, with the reason."""
    began = time.time()
    with tempfile.NamedTemporaryFile("w+", suffix=".jsonl") as into:
        words = [sys.executable, str(Path(__file__).resolve()), "--child", row.name, "--into", into.name]
        words += ["--toy"] if toy else []
        process = subprocess.Popen(
            words, cwd=ROOT, env={**os.environ, **ALONE}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
        last: list[str] = []
        listener = threading.Thread(target=listen, args=(process.stderr, last), daemon=True)
        listener.start()
        error = ""
        try:
            if process.wait(timeout=row.minutes * 60 * SLOWER):
                listener.join(5)
                error = " ".join("\n".join(last[-12:]).split())[-700:] or f"exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            error = f"stopped after {row.minutes * SLOWER:g} minutes"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)  # with whatever it started
            process.wait()
        rows = [json.loads(line) for line in Path(into.name).read_text(encoding="utf-8").splitlines()]
    if error and not toy:
        rows.append(unmeasured(row, error))
    about = {"row": row.number, "name": row.name, "date": time.strftime("%Y-%m-%d", time.gmtime(began))}
    about |= {"commit": commit(), "threads": threads(row)}
    seconds = round(time.time() - began, 1)
    return {"name": row.name, "error": error, "seconds": seconds, "rows": [{**about, **one} for one in rows]}


def unmeasured(row: Row, error: str) -> dict[str, Any]:
    """Return what stands in the table for a row that failed."""
    empty = dict.fromkeys(("ratio", "low", "high"))
    told = {
        "what": row.name,
        "peer": "",
        "target": "",
        "met": False,
        "cause": f"not measured: {error}",
        "detail": {},
    }
    return {**told, **empty}


def listen(stream: Any, last: list[str]) -> None:
    """Show a row's words as they come, and keep the last ones."""
    for line in stream:
        if line.strip():
            last.append(line.rstrip())
            del last[:-40]
            Said.show(last[-1])


def child(name: str, toy: bool, into: Path) -> int:
    """Measure one row here, and write each comparison as a line when it is done."""
    (row,) = (row for row in ROWS if row.name == name)
    if row.cores == 1 and not row.cuda and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    measure = getattr(importlib.import_module(f"benchmarks.{row.module}"), row.function)
    with into.open("a", encoding="utf-8") as file:
        for found in measure(toy):
            file.write(json.dumps(found.row()) + "\n")
            file.flush()
    return 0


def gathered(kept: Path) -> dict[str, Any]:
    """Return every row that is kept, by name, in the table's order."""
    found = {}
    for row in ROWS:
        path = kept / f"{row.name}.json"
        if path.exists():
            found[row.name] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    part = path.with_name(f".{path.name}")
    part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def threads(row: Row) -> str:
    """Say how many threads each side of a row has."""
    return "a thread a process, on all cores" if row.cores > 1 else "1"


def commit() -> str:
    """Return the commit, with a mark where what is measured differs from it; "" where there is no git."""

    def ask(*words: str) -> str:
        return subprocess.run(
            ("git", *words), cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        changed = ask(
            "status", "--porcelain", "-uno", "--", "harness", "plugins", "benchmarks", "constraints.txt"
        )
        return ask("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")
    return ""


def machine() -> dict[str, Any]:
    """Return the machine, the day and the versions that count."""
    versions = {}
    for name in (
        "torch", "transformers", "accelerate", "numpy", "scipy", "pandas", "scikit-learn", "mlflow", "hydra-core",
        "hydra-joblib-launcher", "peft", "sentence-transformers", "bert-score", "faiss-cpu", "numba", "duckdb", "Faker",
        "trl",
    ):  # fmt: skip
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{platform.system()} {platform.machine()}, {cores} cores",
        "python": platform.python_version(),
        "threads": "1 a process",
        "versions": versions,
    }


if __name__ == "__main__":
    raise SystemExit(main())
