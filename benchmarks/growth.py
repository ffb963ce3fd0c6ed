"""How time and memory grow: each step at 1, 4 and 16 times a size, in a process of its own, and the fitted exponent.

The exponent is the slope of log time (or of the memory that the step adds to what was resident before it) over log
size: 1 is linear. Time is the fastest of a few repetitions, compiled and warmed up before. What a step holds
before it begins (imports, its input) is not counted as its memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Measured, Target, apart, forget_peak, peak, tell

SIZES = (1, 4, 16)
WHY = {
    "walk": "each edge is read once, so it is linear in them; but 60,000 documents fit the cache and 960,000 do not "
    "(0.8 and 1.3 us a document): the slope is that of memory"
}
STEPS: dict[str, tuple[int, int, str]] = {  # step -> (size at 1x, at toy size, of what)
    "walk": (60_000, 40, "documents"),
    "packing": (1_250_000, 1000, "tokens"),
    "tables": (4000, 700, "tokens a table"),
    "encoding": (300, 4, "sentences"),
    "compare": (50, 6, "runs"),
    "report": (50, 6, "runs"),
}


def walk(size: int, room: Path) -> Callable[[], Any]:
    """Return the walk through `size` documents."""
    from harness_iclm.walk import path

    from benchmarks.walking import neighbourhood

    path(*neighbourhood(50))
    given = neighbourhood(size)
    return lambda: path(*given)


def packing(size: int, room: Path) -> Callable[[], Any]:
    """Return the packing of `size` tokens."""
    from benchmarks.packing import documents, interleaved_windows

    docs = documents(size, 100 if size < 20_000 else 1000)
    return lambda: interleaved_windows(docs, 64 if size < 20_000 else 8192)


def tables(size: int, room: Path) -> Callable[[], Any]:
    """Return the making and checking of three tables of `size` tokens."""
    from benchmarks.tables import with_synl

    with_synl(1, (700, 701), 2)
    return lambda: with_synl(3, (size, size + 1), 8)


def encoding(size: int, room: Path) -> Callable[[], Any]:
    """Return the encoding of `size` sentences."""
    from benchmarks.measuring import one_thread
    from benchmarks.sentences import encoder_folder, sentences
    from harness.nn.encoder import load_encoder

    one_thread()
    encoder = load_encoder(encoder_folder(1, 16, 500) if size < 100 else encoder_folder(2, 128))
    texts = sentences(size)
    encoder.encode(texts[:64])
    return lambda: encoder.encode(texts)


def ledger(size: int, room: Path, precisions: tuple[str, ...]) -> tuple[Path, Any]:
    """Write `size` runs of two methods with twenty metrics; return the results folder and the paper."""
    from dataclasses import replace

    from benchmarks.reports import write_runs
    from harness.papers.statement import Claim, Method, Metric, difference
    from tests.records import PAPER, Config

    names = {f"m{i}": Metric("higher", f"metric {i}") for i in range(20)}
    methods = {f"method{i}": Method(Config(float(i)), "made up", baseline=i > 0) for i in range(2)}
    claims = [Claim(f"Better by {m}", difference(m, "method0", "method1"), "nowhere") for m in names]
    write_runs(room / "results", 2, size // 2 // len(precisions), 20, precisions)
    return room / "results", replace(PAPER, metrics=names, methods=methods, claims=claims, figures=[])


def compare(size: int, room: Path) -> Callable[[], Any]:
    """Return the comparison of two settings with `size` runs in all, read from their folders."""
    from harness.verdicts.comparison import compare as compared
    from harness.verdicts.rows import select

    results, paper = ledger(size, room, ("fp32", "bf16"))
    one, other = (f"ledger,precision={precision}" for precision in ("fp32", "bf16"))
    return lambda: compared(select(one, results), select(other, results), {"ledger": paper})


def report(size: int, room: Path) -> Callable[[], Any]:
    """Return the judging of `size` runs, read from their folders, and the writing of the page."""
    from harness.reports.html import to_html
    from harness.runs.results import find_runs
    from harness.verdicts.scorecard import judge

    results, paper = ledger(size, room, ("fp32",))

    def run() -> None:
        records = list(find_runs(results, "ledger"))
        to_html(judge("ledger", paper, records), records)

    return run


def grown(step: str, size: int, repeat: int) -> dict[str, Any]:
    """Return the seconds of one step at one size, and the bytes it adds at its peak."""
    with tempfile.TemporaryDirectory() as room:
        run = globals()[step](size, Path(room))
        gc.collect()  # what making the input left free would be used by the step, and not counted as its memory
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        before = forget_peak()
        taken = []
        for _ in range(repeat):
            began = time.perf_counter()
            run()
            taken.append(time.perf_counter() - began)
        return {"seconds": min(taken), "bytes": max(peak() - before, 1)}


def exponent(sizes: list[int], values: list[float]) -> float:
    """Return the slope of log value over log size."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def measure(toy: bool) -> Iterator[Measured]:
    """Fit an exponent of time and one of memory for every step."""
    for step, (first, least, unit) in STEPS.items():
        base = least if toy else first
        sizes = [base * times for times in (SIZES[:2] if toy else SIZES)]
        found = []
        for size, repeat in zip(sizes, (1, 1) if toy else (5, 3, 2), strict=True):
            tell(f"{step}: {size:,} {unit}")
            given = {"step": step, "size": size, "repeat": repeat}
            found.append(grown(**given) if toy else apart("growth:grown", **given))  # type: ignore[arg-type]
        seconds, memory = ([one[name] for one in found] for name in ("seconds", "bytes"))
        steps = [exponent(sizes[i : i + 2], seconds[i : i + 2]) for i in range(len(sizes) - 1)]
        detail = {"sizes": sizes, "of": unit, "seconds": seconds, "bytes": memory}
        what = f"{step}: exponent of time over {sizes[0]:,} to {sizes[-1]:,} {unit}"
        yield Measured(
            what,
            "linear growth",
            exponent(sizes, seconds),
            min(steps),
            max(steps),
            Target("at most", 1.15, ""),
            WHY.get(step, ""),
            detail=detail,
        )
        steps = [exponent(sizes[i : i + 2], memory[i : i + 2]) for i in range(len(sizes) - 1)]
        what = f"{step}: exponent of the memory it adds"
        yield Measured(
            what,
            "linear growth",
            exponent(sizes, memory),
            min(steps),
            max(steps),
            Target("at most"),
            detail={"bytes": memory},
        )
