"""Time comparing 500 runs x 20 metrics from their folders, in a process of its own, import included.

    python benchmarks/compare.py

Two settings of 25 methods with ten seeds each, made up; once with numbers alone, once with 200 test items
behind every metric. Prints wall and processor seconds, the fastest of three; nothing is kept.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from harness.paper import Items
from tests.records import write_run

METHODS, SEEDS, METRICS, ITEMS = 25, 10, 20, 200

CODE = """
import sys
from dataclasses import replace
from pathlib import Path
from harness.compare import compare
from harness.paper import Metric
from harness.select import select
from tests.records import PAPER
paper = replace(PAPER, metrics={f"m{i}": Metric("higher", "") for i in range(int(sys.argv[2]))})
results = Path(sys.argv[1])
found = compare(select("toy,precision=fp32", results), select("toy,precision=bf16", results), {"toy": paper})
assert all(len(pair["metrics"]) == int(sys.argv[2]) for pair in found["pairs"])
print(len(found["pairs"]), sum(m["verdict"] != "open" for p in found["pairs"] for m in p["metrics"].values()))
"""


def made(results: Path, with_items: bool) -> None:
    """Write the runs' folders."""
    rng = np.random.default_rng(0)
    ids = [f"q{i}" for i in range(ITEMS)]
    for method in range(METHODS):
        for precision in ("fp32", "bf16"):
            for seed in range(SEEDS):
                items = {f"m{i}": Items({"x": rng.normal(size=ITEMS)}, ids) for i in range(METRICS)}
                metrics = {name: float(np.mean(item.columns["x"])) for name, item in items.items()}
                write_run(
                    results,
                    f"method{method}",
                    seed,
                    metrics,
                    items=items if with_items else {},
                    precision=precision,
                )


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Time each kind three times and print the fastest."""
    root = Path(__file__).parent.parent
    for with_items in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            made(Path(folder), with_items)
            seconds = []
            for _ in range(3):
                began, spent = time.perf_counter(), _spent()
                words = [sys.executable, "-c", CODE, folder, str(METRICS)]
                done = subprocess.run(words, cwd=root, capture_output=True, text=True)
                seconds.append((time.perf_counter() - began, _spent() - spent))
                assert done.returncode == 0, done.stderr
            kind = f"{ITEMS} items a metric" if with_items else "numbers alone"
            runs = 2 * METHODS * SEEDS
            wall, processor = (min(column) for column in zip(*seconds, strict=True))
            print(f"{runs} runs x {METRICS} metrics, {kind}: {wall:.2f} s, of a processor {processor:.2f} s")


if __name__ == "__main__":
    main()
