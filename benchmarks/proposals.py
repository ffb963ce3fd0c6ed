"""What the referee costs: a gate beside a plain loop of the same programs, and looks beside a fixed number of seeds.

The programs answer at once, so that what is left of a gate's time is the gate's. The looks are simulated with the code
that decides claims: how many seeds it takes on average, beside the one look that decides as many claims at equal error.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.measuring import Measured, Target, command, spread, tell

PROGRAM = """
import json, random, sys
change, seed = sys.argv[1:]
print(json.dumps({"acc": float(change) + random.Random(f"{change} {seed}").gauss(0, 0.1)}))
"""
EFFECTS = (0.5, 1.0, 1.5, 2.0, 3.0)  # of claims, in deviations of a seed


def gate(toy: bool) -> Iterator[Measured]:
    """Take from a proposal's time that of its programs: every seed of base and candidate, one after the other."""
    harness = str(Path(sys.executable).with_name("harness"))
    took = []
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room)
        (folder / "train.py").write_text(PROGRAM, encoding="utf-8")
        run = f"{sys.executable} -S train.py {{change}} {{seed}}"
        words = ("--run", run, "--better", "higher", "--campaign", "bench", "--json")
        for number in range(2 if toy else 6):
            tell(f"proposal {number + 1}")
            proposal = ("gate", "0", f"1.{number}", *words, "--results", f"results-{number}")
            began = time.perf_counter()
            command(harness, *proposal, cwd=folder, HARNESS_LEASES=str(folder / "leases"))()
            whole = time.perf_counter() - began
            runs = [*(folder / f"results-{number}").rglob("runs/*/*.json")]
            began = time.perf_counter()
            for seed, _ in enumerate(runs):
                command(sys.executable, "-S", "train.py", "0", str(seed), cwd=folder)()
            took.append(whole - (time.perf_counter() - began))
    low, high = spread(took[1:])
    yield Measured(
        f"harness gate, what it adds to a proposal of {len(runs)} runs, seconds",
        "the same programs in a loop",
        float(np.median(took[1:])),
        low,
        high,
        Target("at most", 5, " s"),
    )


def looks(toy: bool) -> Iterator[Measured]:
    """Let looks at 3 to 20 seeds decide claims of several effects, and find the one look that equals them."""
    from benchmarks.referee import drawn
    from harness.verdicts.looks import LOOKS, levels

    times = 2000 if toy else 100_000
    share, seeds = _decided(drawn, LOOKS, levels(LOOKS), times)
    alone = {n: _decided(drawn, (n,), (0.05,), times)[0] for n in range(3, LOOKS[-1] + 1)}
    equal = next((n for n, decided in alone.items() if decided >= share), LOOKS[-1])
    told = f"{100 * share:.0f} % of claims of {', '.join(f'{e:g}' for e in EFFECTS)} deviations decided"
    yield Measured(
        f"harness decide, mean seeds a claim ({told}; five seeds decide {100 * alone[5]:.0f} %)",
        f"a fixed sweep of {equal} seeds, which decides as many at equal error",
        seeds / equal,
        seeds / equal,
        seeds / equal,
        Target("at most"),
        detail={"seeds": seeds, "fixed": equal, "decided": share, "decided_by_five": alone[5]},
    )


def _decided(
    drawn: Callable[..., np.ndarray], looks: tuple[int, ...], asked: tuple[float, ...], times: int
) -> tuple[float, float]:
    """Return the share of claims that looks at these nominal levels decide, and the mean seeds that it takes."""
    from benchmarks.referee import means
    from harness.verdicts.looks import critical

    decided, seeds = [], []
    for effect in EFFECTS:
        values = drawn(effect, looks[-1])[:times]
        open_, taken = np.ones(len(values), dtype=bool), np.full(len(values), looks[-1])
        for (mean, error), n, nominal in zip(means(values, looks), looks, asked, strict=True):
            now = open_ & (mean > critical(n, nominal) * error)
            taken[now] = n
            open_ &= ~now
        decided.append(1 - open_.mean())
        seeds.append(taken.mean())
    return float(np.mean(decided)), float(np.mean(seeds))
