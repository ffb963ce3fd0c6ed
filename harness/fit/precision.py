"""What to compute in where nothing is trained: bfloat16 where this machine multiplies it fast, else float32.

    dtypes("auto", "cpu")   # torch.bfloat16, which weights are rounded to, and torch.float32 for the products

"auto" means the numbers of bfloat16 weights on every machine. A processor without instructions for bfloat16 makes such
products slower than float32's: there the rounded weights are computed with in float32. Which is faster is measured once
and remembered by machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch

from harness.fit.loop import pick_device, pick_precision

WORTH = 1.1  # times faster that bfloat16 must be: its sums are the rougher ones
ROWS, WIDTH, TIMES = 256, 1024, 5


def dtypes(precision: str, device: str) -> tuple[torch.dtype, torch.dtype]:
    """Return what weights are rounded to and what products are made in. Raises UsageError for another precision."""
    if precision != "auto":
        dtype: torch.dtype = getattr(torch, pick_precision(precision, torch.device("cpu")))
        return dtype, dtype
    return torch.bfloat16, getattr(torch, fastest(device))


def for_writing(model_class: Any, folder: str | Path, precision: str, device: str) -> Any:
    """Return a model of transformers' from a folder, on its device, ready to write, in a precision of `dtypes`."""
    weights, products = dtypes(precision, device)
    return model_class.from_pretrained(folder, dtype=weights).to(device, products).eval()


def fastest(device: str) -> str:
    """Return "bfloat16" or "float32", whichever products this device makes faster; a processor is asked once."""
    where = pick_device(device)
    if where.type != "cpu":
        return pick_precision("auto", where)
    found = _remembered()
    return "bfloat16" if found["float32"] / found["bfloat16"] >= WORTH else "float32"


@cache
def _remembered() -> dict[str, float]:
    """Return the seconds of a product by precision, of this processor, torch and number of threads."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "paper-harness"
    machine = f"{platform.node()} {_processor()} torch {torch.__version__} {torch.get_num_threads()} threads"
    path, known = home / "precision.json", {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_text(encoding="utf-8"))
    if machine in known:
        return dict(known[machine])
    found = {name: measured(getattr(torch, name)) for name in ("float32", "bfloat16")}
    speeds = ", ".join(f"{name} at {2 * ROWS * WIDTH**2 / s / 1e9:.0f} GFLOP/s" for name, s in found.items())
    print(f"harness: this processor multiplies {speeds}; remembered in {path}", file=sys.stderr)
    with contextlib.suppress(OSError):  # a home that may only be read: measured again next time
        home.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".precision.{os.getpid()}")
        unfinished.write_text(json.dumps({**known, machine: found}, indent=1), encoding="utf-8")
        unfinished.replace(path)
    return found


def measured(dtype: torch.dtype) -> float:
    """Return the seconds of a product of a layer's size: the quickest of a few."""
    rows, weights = torch.ones(ROWS, WIDTH, dtype=dtype), torch.ones(WIDTH, WIDTH, dtype=dtype)
    seconds = []
    with torch.inference_mode():
        for _ in range(TIMES):
            start = time.perf_counter()
            rows @ weights
            seconds.append(time.perf_counter() - start)
    return min(seconds)


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
