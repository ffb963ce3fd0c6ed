"""How often the verdict rule is right, by simulation: coverage, false verdicts, power, places in a ranking.

    python -m benchmarks.verdict            # prints the tables, about three minutes on one core
    python -m benchmarks.verdict --write    # and puts them into docs/verdict.md

Everything is drawn from known distributions, so the truth is known (truths.py); the rule is the one that judges
claims.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.truths import (
    MEAN,
    NOISES,
    TRUTH,
    Draw,
    Rates,
    against_fixed,
    answers,
    crossed,
    documents,
    one_base,
    one_text,
    over_both,
    over_items,
    over_ranks,
    over_seeds,
    paired_answers,
    rates,
    ratios,
    shares,
    shares_of_items,
    told,
)
from harness.verdicts.collapse import far, threshold
from harness.verdicts.intervals import Errors
from harness.verdicts.places import places_of
from harness.verdicts.power import Noise, detects, noise
from harness.verdicts.stats import equivalent, seeds_interval

PAGE = Path(__file__).parent.parent / "docs" / "verdict.md"
ALIKE = (0.0, 0.05, 0.2, 0.5)  # the share of the variance that is a document's


def main() -> None:
    """Print every table; with --write put them into the page between its marks."""
    began = time.process_time()
    parts = []
    for one in (
        *(coverage, seeds_and_items, groups, crossings, texts, ends, parts_of_a_gain, off_nominal),
        *(collapses, margins, bootstraps, power, spreads, places),
    ):
        parts.append("\n".join(one()) + "\n")
        print(parts[-1], flush=True)
    text = "\n".join(parts)
    text += f"\n(`make bench-verdict`, numpy's generator with fixed seeds, {time.strftime('%Y-%m-%d')})\n"
    print(f"{time.process_time() - began:.0f} s of one core", file=sys.stderr)
    if "--write" in sys.argv:
        page = PAGE.read_text(encoding="utf-8")
        marks = r"(<!-- simulation -->\n).*?(<!-- /simulation -->)"
        PAGE.write_text(re.sub(marks, lambda m: m[1] + text + m[2], page, flags=re.S), encoding="utf-8")


def table(*rows: tuple[object, ...]) -> list[str]:
    """Return rows as a Markdown table, the first its head."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return [lines[0], "| " + " | ".join("---" for _ in rows[0]) + " |", *lines[1:]]


def percent(flags: list[bool] | np.ndarray | float) -> str:
    """Return a share as `94.8 %`."""
    return f"{100 * float(np.mean(flags)):.1f} %"


def counted(kinds: list[tuple[str, Draw, float, int]]) -> list[str]:
    """Return how often each kind's interval holds the truth, and how often it lies to either side."""
    rows = []
    for name, draw, truth, times in kinds:
        found = rates(draw, truth, times)
        held = 1 - found.wrong - found.none
        sides = f"{percent(found.above)} / {percent(found.below)}"
        rows.append((name, percent(held), sides, f"{times:,}"))
    return table(("rule and data", "interval holds the truth", "too high / too low", "repetitions"), *rows)


def coverage() -> Iterator[str]:
    """Tell how often each rule's 95 % interval holds the truth where its assumptions do."""
    mild = list(NOISES)[:3]
    kinds: list[tuple[str, Draw, float, int]] = [
        *((f"{s} seeds, {kind}", over_seeds(s, kind), TRUTH, 6000) for kind in mild for s in (3, 5, 10)),
        *((f"{s} seeds against a deterministic method", against_fixed(s), TRUTH, 4000) for s in (3, 5, 10)),
        *((f"{s} seeds, a ratio, cv {cv}", ratios(s, cv), 1.0, 4000) for cv in (0.1, 0.3) for s in (3, 10)),
        *((f"{s} seeds, a share, gap of 4", shares(s, 4, 0.5, 0.5), 0.5, 4000) for s in (3, 10)),
        ("200 items, a mean", over_items(200), TRUTH, 1000),
        ("1,400 items, a mean", over_items(1400), TRUTH, 500),
        ("1,400 items, exponential", over_items(1400, NOISES["a long tail (exponential)"]), TRUTH, 500),
        ("300 items, a rank correlation", over_ranks(300), 0.0, 500),
        ("400 items, a share, gap of 40 se", shares_of_items(400, 40), 0.5, 500),
        ("400 items, a share, gap of 4 se", shares_of_items(400, 4), 0.5, 500),
    ]
    yield "**Coverage.** 95 % is promised; beyond it too high / too low: 2.5 % each.\n"
    yield from counted(kinds)


def seeds_and_items() -> Iterator[str]:
    """Tell what adding squared half-widths gives and costs, the items' standard error being .05."""
    rows = []
    for seeds, of_seed in (
        (3, 0.001),
        (3, 0.05),
        (3, 0.1),
        (3, 0.2),
        (3, 0.3),
        (3, 2),
        (5, 0.05),
        (5, 0.2),
        (10, 0.1),
    ):
        times, n = 10_000, 400
        rng = np.random.default_rng([seeds, int(1000 * of_seed)])
        drawn = rng.normal(0, of_seed, (times, seeds))
        means = drawn.mean(axis=1) + rng.normal(0, 0.05, times)
        of_items = 0.05**2 * rng.chisquare(n - 1, times) / (n - 1)
        of_seeds = drawn.var(axis=1, ddof=1) / seeds
        one = np.array([1.0])
        half = np.array(
            [
                Errors(np.zeros(1), [[(np.array([[s]]), seeds - 1, 1), (np.array([[v]]), n - 1, 1)]]).half(
                    one, 0.05
                )
                for s, v in zip(of_seeds, of_items, strict=True)
            ]
        )
        distance = 3 * (of_seed**2 / seeds + 0.05**2) ** 0.5
        rows.append((seeds, of_seed, percent(np.abs(means) > half), percent(means + distance > half)))
    yield "**Seeds and items together**, items' standard error .05: equal methods called different, where 5 % are"
    yield "promised, and a difference of three standard errors found (10,000 repetitions).\n"
    yield from table(("seeds", "a seed's deviation", "false", "found"), *rows)
    yield "\nThe same from drawn items, end to end:\n"
    kinds: list[tuple[str, Draw, float, int]] = [
        (f"{s} seeds and 200 items, mostly {what}", over_both(s, of_seed, of_item), TRUTH, 1000)
        for s in (3, 5)
        for what, of_seed, of_item in (("seeds", 0.3, 0.1), ("items", 0.02, 1.0))
    ]
    yield from counted(kinds)


def pair_of(found: Rates) -> str:
    """Return the rates of false `holds` and `fails`."""
    return f"{100 * found.above:.1f} / {100 * found.below:.1f}"


def groups() -> Iterator[str]:
    """Tell how often items of one document lead astray, declared and not."""
    rows: list[tuple[object, ...]] = []
    for number, each in ((100, 13), (20, 20), (50, 4)):
        for alike in ALIKE:
            with_seeds = rates(documents(number, each, alike, seeds=5), 0.0, 1000)
            rows.append(
                (
                    *(f"{number} x {each}", alike),
                    pair_of(rates(documents(number, each, alike, declared=False), 0.0, 500)),
                    pair_of(rates(documents(number, each, alike), 0.0, 4000)),
                    pair_of(with_seeds),
                )
            )
    yield "**Items of one document.** Equal methods: false `holds` / `fails` in %, where 2.5 / 2.5 are promised."
    yield "`alike` is the share of the variance that a document's items have in common.\n"
    head = ("documents x items", "alike", "undeclared", "whole documents", "5 seeds and whole documents")
    yield from table(head, *rows)


def crossings() -> Iterator[str]:
    """Tell what two crossed factors need."""
    rows = []
    shapes = (
        (100, 13, 0.45, 0.45),
        (100, 13, 0.3, 0.15),
        (20, 20, 0.45, 0.45),
        (20, 20, 0, 0.45),
        (100, 13, 0, 0),
    )
    for one, other, of_one, of_other in shapes:
        kinds = (("document",), ("system",), ("document", "system"))
        found = [rates(crossed(one, other, of_one, of_other, kind), 0.0, 3000) for kind in kinds]
        rows.append((f"{one} x {other}", of_one, of_other, *(percent(f.wrong) for f in found)))
    yield "**Documents and systems crossed.** Equal methods called different, where 5 % are promised.\n"
    head = (
        "documents x systems",
        "a document's sd",
        "a system's sd",
        "documents alone",
        "systems alone",
        "both",
    )
    yield from table(head, *rows)


def texts() -> Iterator[str]:
    """Tell what cutting one text into stretches gives."""
    rows = []
    for n, alike in ((512, 0.0), (512, 0.2), (512, 0.5), (1400, 0.5), (1400, 0.8)):
        found = rates(one_text(n, alike), 0.0, 2000)
        plain = rates(one_text(n, alike, declared=False), 0.0, 300)
        rows.append((n, alike, percent(plain.wrong), percent(found.wrong), percent(found.none)))
    yield "**Pieces of one text**, each `alike` its neighbour. Equal methods called different, where 5 % are"
    yield "promised; `no verdict` where fewer than ten stretches are left.\n"
    yield from table(("pieces", "alike", "as if independent", "stretches", "no verdict"), *rows)


def ends() -> Iterator[str]:
    """Tell how the rule does near the ends of a range."""
    kinds: list[tuple[str, Draw, float, int]] = [
        *(
            (f"level, {n:,} answers, {p} right", answers(n, p), p, 4000)
            for n, p in ((200, 0.98), (200, 0.99), (200, 0.9), (1400, 0.995))
        ),
        *(
            (f"level, 5 seeds of 200 answers, {p} right", answers(200, p, 5, 0.002), p, 2000)
            for p in (0.98, 0.9)
        ),
        (
            "level, 3 seeds of 200 answers, 0.9 right, seeds differ by 0.02",
            answers(200, 0.9, 3, 0.02),
            0.9,
            2000,
        ),
        *(
            (f"difference, {n:,} answers, 0.99 right, {d:.0%} differ", paired_answers(n, 0.99, d), 0.0, 4000)
            for n, d in ((200, 0.02), (1400, 0.02))
        ),
        ("difference, 200 answers, 0.7 right, 20% differ", paired_answers(200, 0.7, 0.2), 0.0, 4000),
    ]
    yield "**Near 0 and 1**, at the bound.\n"
    yield from counted(kinds)


def parts_of_a_gain() -> Iterator[str]:
    """Tell how often a share of a noisy gain is decided."""
    rows = []
    for gap in (3, 2, 1):
        for seeds in (3, 5, 10, 20):
            draw = shares(seeds, gap, 0.2, 0.93)
            rng = np.random.default_rng([gap, seeds])
            found = [draw(rng) for _ in range(2000)]
            fails = [one.high < 0.93 for one in found]
            tested = [np.isfinite(one.p) for one in found]
            at = rates(shares(seeds, gap, 0.93, 0.93), 0.93, 2000)
            rows.append((gap, seeds, percent(tested), percent(fails), pair_of(at)))
    yield "**A share of a gain**, the gain being so many deviations of a seed; true share .2, .93 asked; and false"
    yield "`holds` / `fails` in % at the bound, where 2.5 / 2.5 are promised.\n"
    yield from table(("gain", "seeds", "tested", "`fails` found", "false"), *rows)


def off_nominal() -> Iterator[str]:
    """Tell where the rule is not what it says, and by how much."""
    lognormal = lambda rng, n: rng.lognormal(0, 1.5, n) - np.exp(1.125)  # noqa: E731
    pareto = lambda rng, n: rng.pareto(2.1, n) - 1 / 1.1  # noqa: E731
    tails = list(NOISES)[3:]
    kinds: list[tuple[str, Draw, float, int]] = [
        *((f"{s} seeds, {kind}", over_seeds(s, kind), TRUTH, 4000) for kind in tails for s in (3, 5, 10)),
        *((f"{n:,} items, lognormal (s = 1.5)", over_items(n, lognormal), TRUTH, 500) for n in (200, 1400)),
        *((f"{n:,} items, Pareto 2.1", over_items(n, pareto), TRUTH, 500) for n in (200, 1400)),
        ("3 seeds, a ratio over a lognormal of cv 0.6", ratios(3, 0.6, "lognormal"), 1.0, 4000),
        *(
            (f"{s} seeds against one random run called deterministic", one_base(s, 1, True), 0.0, 4000)
            for s in (3, 5, 10)
        ),
        *((f"{s} seeds of one drawn base (sd 1 against .3)", one_base(s, 1), 0.0, 4000) for s in (3, 5, 10)),
    ]
    yield "**Where the rule is not what it says.** 2.5 % to either side are promised.\n"
    yield from counted(kinds)


def collapses() -> Iterator[str]:
    """Tell how far is too far, and how often a collapse that was seen is named."""
    rows = []
    for seeds in (3, 4, 5, 8, 10):
        rng = np.random.default_rng(seeds)
        normal = rng.normal(size=(4000, seeds))
        lost = rng.normal(size=(2000, seeds))
        lost[:, 0] -= 10
        named = [0 in far(row) for row in lost]
        rows.append(
            (seeds, f"{threshold(seeds):.0f}", percent([bool(far(row)) for row in normal]), percent(named))
        )
    yield "**A seed too far from the others**, in median absolute deviations, and how often it is named: among"
    yield "normal seeds, and where one of them lost ten deviations.\n"
    yield from table(("seeds", "too far", "normal seeds", "one collapsed"), *rows)


def margins() -> Iterator[str]:
    """Tell how often two methods are called alike that differ by just the margin."""
    rows = []
    for seeds in (3, 5, 10):
        for of_seed in (0.1, 0.3):
            rng = np.random.default_rng([seeds, int(10 * of_seed)])
            edge, middle = (
                [
                    equivalent(seeds_interval(rng.normal(true, of_seed, seeds), level=0.9), 0.3)
                    for _ in range(4000)
                ]
                for true in (0.3, 0.0)
            )
            rows.append((seeds, of_seed, percent(edge), percent(middle)))
    yield "**No difference worth .3**, said where the true difference is .3 (5 % are promised) and where it is 0.\n"
    yield from table(("seeds", "a seed's deviation", "said at .3", "said at 0"), *rows)


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
    for seeds, of_seed, of_item in ((3, 0.3, 0.1), (3, 0.1, 1.0), (5, 0.02, 1.0)):
        known = Noise(
            np.sqrt(2 * (of_seed**2 + 0.09 / 200)),
            np.sqrt(2 * (of_item**2 + 0.09 / seeds) / 200),
            seeds,
            200,
            199,
        )
        distance = detects(known)
        rng, draw = np.random.default_rng(seeds), over_both(seeds, of_seed, of_item)
        found = []
        for _ in range(1000):
            one = draw(rng)
            found.append(one.low + distance - TRUTH > 0)  # the same draw, moved to be `distance` apart
        kind = {0.3: "mostly seeds", 0.1: "both", 0.02: "mostly items"}[of_seed]
        rows.append((f"{seeds} seeds and 200 items, {kind}", f"{distance:.2f}", percent(found)))
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
            apart, ends = [], []
            for _ in range(1000):
                cells = {str(m): told(str(m), rng.normal(size=seeds)) for m in range(methods)}
                found = places_of(MEAN["score"], cells)
                apart.append(any(place != (1, methods) for place in found.values()))
                ends.append(sum(place == (1, 1) for place in found.values()) == 1)
            rows.append((methods, seeds, percent(apart), percent(ends)))
    yield "**Equal methods in a ranking.** Each pair is judged at 5 %, so with many methods some pair is told apart by"
    yield "chance; a lone first is rarer.\n"
    yield from table(("methods", "seeds", "some pair told apart", "a lone first"), *rows)


if __name__ == "__main__":
    main()
