"""How often the verdict rule is right, by simulation: coverage, false verdicts, power, places in a ranking.

    python benchmarks/verdict.py            # prints the tables, about two minutes on one core
    python benchmarks/verdict.py --write    # and puts them into docs/verdict.md

Everything is drawn from known distributions, so the truth is known; the rule is the one that judges claims.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from harness.papers.statement import Items, Metric, difference
from harness.verdicts.places import ranks
from harness.verdicts.power import Noise, detects, noise
from harness.verdicts.stats import Cell, Interval, estimate, seeds_interval

PAGE = Path(__file__).parent.parent / "docs" / "verdict.md"
TRUTH = 0.3  # the true difference where there is one
GAP = difference("score", "a", "b")
MEAN, RANK = {"score": Metric("higher", "")}, {"score": Metric("higher", "", reduce="spearman")}


def main() -> None:
    """Print every table; with --write put them into the page between its marks."""
    began = time.process_time()
    text = "\n".join(
        line for table in (coverage, bootstraps, power, spreads, places) for line in [*table(), ""]
    )
    text += f"\n(`python benchmarks/verdict.py`, numpy's generator with fixed seeds, {time.strftime('%Y-%m-%d')})\n"
    print(text)
    print(f"{time.process_time() - began:.0f} s of one core", file=sys.stderr)
    if "--write" in sys.argv:
        page = PAGE.read_text(encoding="utf-8")
        marks = r"(<!-- simulation -->\n).*?(<!-- /simulation -->)"
        PAGE.write_text(re.sub(marks, lambda m: m[1] + text + m[2], page, flags=re.S), encoding="utf-8")


def table(*rows: tuple[object, ...]) -> list[str]:
    """Return rows as a Markdown table, the first its head."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return [lines[0], "| " + " | ".join("---" for _ in rows[0]) + " |", *lines[1:]]


def percent(flags: list[bool] | np.ndarray) -> str:
    """Return a share as `94.8 %`."""
    return f"{100 * float(np.mean(flags)):.1f} %"


def missed(draw: Callable[[np.random.Generator], Interval], truth: float, times: int) -> tuple[str, str]:
    """Return how often the interval holds the truth, and how often it lies wholly on one side of it."""
    rng = np.random.default_rng(times)
    found = [draw(rng) for _ in range(times)]
    above, below = ([one.low > truth for one in found], [one.high < truth for one in found])
    return percent(
        [not (a or b) for a, b in zip(above, below, strict=True)]
    ), f"{percent(above)} / {percent(below)}"


def cell(name: str, values: np.ndarray, items: list[Items], fixed: bool = False) -> Cell:
    """Return a method's cell from its values by seed and their items."""
    return Cell(name, "score", dict(enumerate(values)), lambda: dict(enumerate(items)), fixed)


def over_seeds(seeds: int, skewed: bool = False) -> Callable[[np.random.Generator], Interval]:
    """Return paired differences with mean 0.3: normal, or with a long tail."""

    def draw(rng: np.random.Generator) -> Interval:
        drawn = rng.exponential(1.0, seeds) - 1.0 if skewed else rng.normal(0, 1, seeds)
        return seeds_interval(TRUTH + drawn)

    return draw


def over_items(n: int) -> Callable[[np.random.Generator], Interval]:
    """Return two deterministic methods on n shared items, 0.3 apart in the mean."""
    ids = [f"q{i}" for i in range(n)]

    def draw(rng: np.random.Generator) -> Interval:
        hard = rng.normal(0, 1, n)
        b, a = hard + rng.normal(0, 1, n), hard + rng.normal(TRUTH, 1, n)
        cells = [cell(m, np.array([x.mean()]), [Items({"x": x}, ids)], True) for m, x in (("a", a), ("b", b))]
        return estimate(GAP, MEAN, cells)

    return draw


def over_ranks(n: int) -> Callable[[np.random.Generator], Interval]:
    """Return two rank correlations with one gold column that are equal in truth."""
    ids = [f"q{i}" for i in range(n)]

    def draw(rng: np.random.Generator) -> Interval:
        gold = rng.normal(0, 1, n)
        sides = [(m, gold + rng.normal(0, 1, n)) for m in "ab"]
        cells = [cell(m, np.array([0.0]), [Items({"x": x, "g": gold}, ids)], True) for m, x in sides]
        return estimate(GAP, RANK, cells)

    return draw


def over_both(
    seeds: int, of_seed: float, of_item: float, n: int = 200
) -> Callable[[np.random.Generator], Interval]:
    """Return methods 0.3 apart that vary with the seed and have a taste in items."""
    ids = [f"q{i}" for i in range(n)]

    def draw(rng: np.random.Generator) -> Interval:
        cells = []
        hard = rng.normal(0, 1, n)
        for name, level in (("a", TRUTH), ("b", 0.0)):
            scores = level + hard + rng.normal(0, of_item, n) + rng.normal(0, of_seed, (seeds, 1))
            scores = scores + rng.normal(0, 0.3, (seeds, n))
            cells.append(cell(name, scores.mean(axis=1), [Items({"x": row}, ids) for row in scores]))
        return estimate(GAP, MEAN, cells)

    return draw


def coverage() -> Iterator[str]:
    """Tell how often each rule's 95 % interval holds the truth."""
    kinds = [
        ("3 seeds", over_seeds(3), TRUTH, 4000),
        ("5 seeds", over_seeds(5), TRUTH, 4000),
        ("10 seeds", over_seeds(10), TRUTH, 4000),
        ("3 seeds, differences with a long tail", over_seeds(3, True), TRUTH, 4000),
        ("5 seeds, differences with a long tail", over_seeds(5, True), TRUTH, 4000),
        ("200 items, a mean", over_items(200), TRUTH, 1000),
        ("1,000 items, a mean", over_items(1000), TRUTH, 1000),
        ("300 items, a rank correlation", over_ranks(300), 0.0, 500),
        ("3 seeds and 200 items, mostly seeds", over_both(3, 0.3, 0.1), TRUTH, 1000),
        ("3 seeds and 200 items, mostly items", over_both(3, 0.02, 1.0), TRUTH, 1000),
        ("5 seeds and 200 items, mostly seeds", over_both(5, 0.3, 0.1), TRUTH, 1000),
        ("5 seeds and 200 items, mostly items", over_both(5, 0.02, 1.0), TRUTH, 1000),
    ]
    yield "**Coverage.** 95 % is promised; beyond it above / below: 2.5 % each.\n"
    rows = [(name, *missed(draw, truth, times), f"{times:,}") for name, draw, truth, times in kinds]
    yield from table(
        ("rule and data", "interval holds the truth", "too high / too low", "repetitions"), *rows
    )


def bootstraps() -> Iterator[str]:
    """Tell what a percentile bootstrap over seeds would do to equal methods."""
    rows = []
    for seeds in (2, 3, 5, 10):
        rng = np.random.default_rng(seeds)
        gaps = rng.normal(size=(4000, seeds))
        means = gaps[:, rng.integers(seeds, size=(2000, seeds))].mean(axis=2)
        low, high = np.quantile(means, [0.025, 0.975], axis=1)
        ours = [one.low > 0 or one.high < 0 for one in map(seeds_interval, gaps)] if seeds > 2 else []
        rows.append((seeds, percent((low > 0) | (high < 0)), percent(ours) if ours else "no verdict"))
    yield "**Equal methods called different**, where 5 % are promised.\n"
    yield from table(("seeds", "percentile bootstrap over seeds", "the rule here"), *rows)


def power() -> Iterator[str]:
    """Tell how often a true difference of the size said to be detected is found."""
    rows = []
    for seeds in (3, 5, 10):
        distance = detects(Noise(1.0, 0.0, seeds))
        gaps = np.random.default_rng(seeds).normal(distance, 1.0, (4000, seeds))
        rows.append(
            (f"{seeds} seeds", f"{distance:.2f}", percent([seeds_interval(row).low > 0 for row in gaps]))
        )
    for seeds, of_seed, of_item in ((3, 0.3, 0.1), (5, 0.02, 1.0)):
        known = Noise(
            np.sqrt(2 * (of_seed**2 + 0.09 / 200)), np.sqrt(2 * (of_item**2 + 0.09 / seeds) / 200), seeds
        )
        distance = detects(known)
        rng, draw = np.random.default_rng(seeds), over_both(seeds, of_seed, of_item)
        found = []
        for _ in range(1000):
            one = draw(rng)
            found.append(one.low + distance - TRUTH > 0)  # the same draw, moved to be `distance` apart
        kind = "seeds" if of_seed > 0.1 else "items"
        rows.append((f"{seeds} seeds and 200 items, mostly {kind}", f"{distance:.2f}", percent(found)))
    yield "**Power.** The difference said to be detected (in units of one seed's deviation, which is known here), and"
    yield "how often it is found, where 80 % are promised.\n"
    yield from table(("runs", "detects", "found"), *rows)


def spreads() -> Iterator[str]:
    """Tell how far the answer moves when the spread itself is estimated from the same few seeds."""
    rows = []
    for seeds in (3, 5, 10):
        gaps = np.random.default_rng(seeds).normal(0, 1.0, (2000, seeds))
        said = []
        for row in gaps:
            known = noise(seeds_interval(row))
            said.append(detects(known) / detects(Noise(1.0, 0.0, seeds)) if known else np.nan)
        low, middle, high = np.nanquantile(said, [0.05, 0.5, 0.95])
        rows.append((seeds, f"{low:.2f}", f"{middle:.2f}", f"{high:.2f}"))
    yield "**What is said against what is so.** The detected difference as told from one sweep's own spread, divided by"
    yield "the true one: the middle 90 of 100 sweeps.\n"
    yield from table(("seeds", "5th percentile", "median", "95th percentile"), *rows)


def places() -> Iterator[str]:
    """Tell how often equal methods get different places."""
    rows = []
    for methods in (2, 5, 8):
        for seeds in (3, 5):
            rng = np.random.default_rng([methods, seeds])
            told, ends = [], []
            for _ in range(1000):
                cells = {str(m): cell(str(m), rng.normal(size=seeds), []) for m in range(methods)}
                found = ranks(MEAN["score"], cells)
                told.append(any(place != (1, methods) for place in found.values()))
                ends.append(sum(place == (1, 1) for place in found.values()) == 1)
            rows.append((methods, seeds, percent(told), percent(ends)))
    yield "**Equal methods in a ranking.** Each pair is judged at 5 %, so with many methods some pair is told apart by"
    yield "chance; a lone first is rarer.\n"
    yield from table(("methods", "seeds", "some pair told apart", "a lone first"), *rows)


if __name__ == "__main__":
    main()
