"""Two sides in turn, A B A B, and their ratio with its spread: all that the rows have in common.

Nothing is compared but ratios: a machine's load and speed are then on both sides. Both sides do the same work on
the same data with the same number of threads (one, unless a row says otherwise), and a row checks that their
outcomes agree where they can. The ratio is the median over pairs; low and high are order statistics that hold the
true median in at least 93 of 100 cases: the smallest and the largest of five pairs.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
CACHE = ROOT / "build" / "bench"
Side = Callable[
    [], float | None
]  # does the work once; returns its own seconds, or None: the clock around it counts


@dataclass(frozen=True)
class Target:
    """What a ratio is to be: "at most" is ours / theirs, "at least" is how many times faster ours is."""

    side: str
    value: float | None = None  # None: told for information, nothing is asked
    unit: str = " x"

    def __str__(self) -> str:
        return "" if self.value is None else f"{self.side} {self.value:g}{self.unit}"

    def met(self, ratio: float) -> bool | None:
        """Return whether a ratio is what was asked; None where nothing is."""
        if self.value is None:
            return None
        return ratio <= self.value if self.side == "at most" else ratio >= self.value


@dataclass
class Measured:
    """One comparison: a ratio with its spread, what was asked, and why where it is missed.

    `why` is what a profile showed; it becomes the row's `cause` where the target is missed.
    """

    what: str
    peer: str
    ratio: float
    low: float
    high: float
    target: Target
    why: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        met = self.target.met(self.ratio)
        return {
            "what": self.what,
            "peer": self.peer,
            "ratio": round(self.ratio, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "target": str(self.target),
            "met": met,
            "cause": self.why if met is False else "",
            "detail": self.detail,
        }


@dataclass(frozen=True)
class Pairs:
    """What both sides took, pair by pair, in seconds or bytes."""

    ours: list[float]
    theirs: list[float]

    def against(
        self,
        what: str,
        peer: str,
        target: Target,
        why: str = "",
        ours: float = 1.0,
        theirs: float = 1.0,
        unit: str = "seconds",
        **detail: Any,
    ) -> Measured:
        """Return the comparison; `ours` and `theirs` are how much work each side did in that time."""
        ratios = sorted((a / ours) / (b / theirs) for a, b in zip(self.ours, self.theirs, strict=True))
        if target.side == "at least":
            ratios = sorted(1 / ratio for ratio in ratios)
        low, high = spread(ratios)
        told = {
            f"ours_{unit}": median(self.ours),
            f"theirs_{unit}": median(self.theirs),
            "pairs": len(ratios),
        }
        return Measured(what, peer, median(ratios), low, high, target, why, {**told, **detail})


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the order statistics that hold the median in at least 93 % of cases; all there is below five."""
    ordered = sorted(values)
    n, outside, left = len(ordered), 0, 0.0
    chance = 0.5**n
    while 2 * (left + chance) <= 0.07:
        left += chance
        outside += 1
        chance = chance * (n - outside + 1) / outside
    return ordered[max(outside - 1, 0)], ordered[min(n - outside, n - 1)]


def interleaved(ours: Side, theirs: Side, rounds: int = 5, warm: int = 1) -> Pairs:
    """Let two sides work in turn, `warm` times unmeasured and `rounds` times measured."""
    taken = in_turn({"ours": ours, "theirs": theirs}, rounds, warm)
    return Pairs(taken["ours"], taken["theirs"])


def in_turn(sides: Mapping[str, Side], rounds: int = 5, warm: int = 1) -> dict[str, list[float]]:
    """Return what each side took in every round, all sides of a round one after the other."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-warm, rounds):
        for name, side in sides.items():
            tell(f"{f'round {number + 1} of {rounds}' if number >= 0 else 'warming up'}: {name}")
            spent = seconds(side)
            if number >= 0:
                taken[name].append(spent)
    return taken


def seconds(side: Side) -> float:
    """Return how long a side works, by its own account where it gives one."""
    gc.collect()
    began = time.perf_counter()
    own = side()
    return time.perf_counter() - began if own is None else own


def command(*words: str, cwd: Path | None = None, **environ: str) -> Side:
    """Return a side that runs a command to its end; RuntimeError, with what it said, where it fails."""

    def run() -> None:
        done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environ})
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)[:200]} left with {done.returncode}: {done.stderr[-1500:]}")

    return run


def apart(place: str, **given: Any) -> dict[str, Any]:
    """Call `module:function` of benchmarks in a process of its own; return its dict, with `peak` bytes resident.

    So that what one side leaves in memory is not counted for the other.
    """
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from importlib import import_module\n"
        "module, name = sys.argv[2].split(':')\n"
        "found = getattr(import_module('benchmarks.' + module), name)(**json.loads(sys.argv[3]))\n"
        "from benchmarks.measuring import peak\n"
        "print('\\n' + json.dumps({'peak': peak(), **found}))"
    )
    words = [sys.executable, "-c", code, str(ROOT), place, json.dumps(given)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{place} left with {done.returncode}: {done.stderr[-1500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def peak() -> int:
    """Return the most bytes this process has had resident since `forget_peak`, or ever."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def forget_peak() -> int:
    """Let the peak count from now on, where the system can; return the bytes resident now."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return peak()


def tell(said: str) -> None:
    """Say how far a row is; the runner shows the last line."""
    print(said, file=sys.stderr, flush=True)


def agree(ours: float, theirs: float, within: float, what: str) -> None:
    """Raise RuntimeError where both sides did not come to the same: then their times do not compare."""
    if not abs(ours - theirs) <= within * max(abs(ours), abs(theirs), 1e-12):
        raise RuntimeError(f"the sides disagree on {what}: {ours:.6g} here, {theirs:.6g} there")


def loop_clock() -> Any:
    """Return a callback for transformers' trainers whose `seconds` are those of the training loop alone."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        began = seconds = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.perf_counter() - self.began

    return Clock()


def one_thread() -> None:
    """Keep torch and faiss to one thread (the environment does it for the others)."""
    import torch

    torch.set_num_threads(1)
