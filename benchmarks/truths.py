"""Made-up measurements with a known truth, judged by the rule that judges claims.

Each function returns a draw: one comparison from a generator, judged. `rates` repeats it and counts how often
the interval lies wholly above the truth, wholly below it, or does not exist. The tables of the verdict rule
(verdict.py) and its tests at fewer repetitions draw from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.papers.statement import Items, Metric, difference, level, ratio, share
from harness.verdicts.stats import Cell, Interval, estimate, seeds_interval

Draw = Callable[[np.random.Generator], Interval]

TRUTH = 0.3  # the true difference where there is one
GAP = difference("score", "a", "b")
MEAN, RANK = {"score": Metric("higher", "")}, {"score": Metric("higher", "", reduce="spearman")}


@dataclass(frozen=True)
class Rates:
    """How often an interval lies wholly above the truth, wholly below it, and does not exist, of `times`."""

    above: float
    below: float
    none: float
    times: int

    @property
    def wrong(self) -> float:
        """How often the interval misses the truth."""
        return self.above + self.below

    @property
    def error(self) -> float:
        """The standard error of a rate of 5 %."""
        return float(np.sqrt(0.05 * 0.95 / self.times))


def rates(draw: Draw, truth: float, times: int, seed: int = 0) -> Rates:
    """Judge `times` draws and count."""
    rng = np.random.default_rng([times, seed])
    found = [draw(rng) for _ in range(times)]
    return Rates(
        float(np.mean([one.low > truth for one in found])),
        float(np.mean([one.high < truth for one in found])),
        float(np.mean([np.isnan(one.low) for one in found])),
        times,
    )


@lru_cache(maxsize=32)
def names(n: int) -> list[str]:
    """Return the ids of n items."""
    return [f"q{i}" for i in range(n)]


def cell(
    name: str, scores: np.ndarray, groups: dict[str, np.ndarray] | None = None, contiguous: bool = False
) -> Cell:
    """Return a method's cell from its (seeds, items) scores; one of a single row is deterministic."""
    items = {
        seed: Items({"x": row}, names(scores.shape[1]), groups or {}, (), contiguous)
        for seed, row in enumerate(scores)
    }
    return Cell(name, "score", dict(enumerate(scores.mean(axis=1))), lambda: items, len(scores) == 1)


def told(name: str, values: Sequence[float] | np.ndarray, fixed: bool = False) -> Cell:
    """Return a method's cell from its values by seed, without items."""
    return Cell(name, "score", {seed: float(value) for seed, value in enumerate(values)}, deterministic=fixed)


NOISES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(0, 1, n),
    "heavy tails (t, 3 df)": lambda rng, n: rng.standard_t(3, n),
    "a lattice (accuracy on 50 items)": lambda rng, n: (
        (rng.binomial(50, 0.7, n) - rng.binomial(50, 0.7, n)) / 50
    ),
    "a long tail (exponential)": lambda rng, n: rng.exponential(1, n) - 1,
    "a longer tail (lognormal, s = 1)": lambda rng, n: rng.lognormal(0, 1, n) - np.exp(0.5),
    "ten deviations lost in 1 seed of 5": lambda rng, n: rng.normal(2, 1, n) - 10 * (rng.random(n) < 0.2),
    "ten deviations lost in 1 seed of 10": lambda rng, n: rng.normal(1, 1, n) - 10 * (rng.random(n) < 0.1),
}


def over_seeds(seeds: int, noise: str = "normal") -> Draw:
    """Return paired differences of mean 0.3 with one of NOISES."""
    return lambda rng: seeds_interval(TRUTH + NOISES[noise](rng, seeds))


def against_fixed(seeds: int) -> Draw:
    """Return a method with seeds against a deterministic one, 0.3 apart."""
    return lambda rng: estimate(GAP, MEAN, [told("a", rng.normal(TRUTH, 1, seeds)), told("b", [0.0], True)])


def over_items(n: int, noise: Callable[[np.random.Generator, int], np.ndarray] | None = None) -> Draw:
    """Return two deterministic methods on n shared items, 0.3 apart in the mean."""

    def draw(rng: np.random.Generator) -> Interval:
        hard = rng.normal(0, 1, n)
        a = hard + TRUTH + (rng.normal(0, 1, n) if noise is None else noise(rng, n))
        b = hard + rng.normal(0, 1, n) if noise is None else hard
        return estimate(GAP, MEAN, [cell("a", a[None]), cell("b", b[None])])

    return draw


def over_ranks(n: int) -> Draw:
    """Return two rank correlations with one gold column that are equal in truth."""

    def draw(rng: np.random.Generator) -> Interval:
        gold = rng.normal(0, 1, n)
        cells = []
        for name in "ab":
            items = Items({"x": gold + rng.normal(0, 1, n), "g": gold}, names(n))
            cells.append(Cell(name, "score", {0: 0.0}, lambda items=items: {0: items}, True))
        return estimate(GAP, RANK, cells)

    return draw


def over_both(seeds: int, of_seed: float, of_item: float, n: int = 200) -> Draw:
    """Return methods 0.3 apart that vary with the seed and have a taste in items."""

    def draw(rng: np.random.Generator) -> Interval:
        hard = rng.normal(0, 1, n)
        cells = []
        for name, height in (("a", TRUTH), ("b", 0.0)):
            scores = height + hard + rng.normal(0, of_item, n) + rng.normal(0, of_seed, (seeds, 1))
            cells.append(cell(name, scores + rng.normal(0, 0.3, (seeds, n))))
        return estimate(GAP, MEAN, cells)

    return draw


def documents(number: int, each: int, alike: float, declared: bool = True, seeds: int = 0) -> Draw:
    """Return equal methods on documents of `each` items; `alike` is the share of variance that is a document's."""
    groups = {"document": np.repeat(np.arange(number), each)} if declared else {}

    def draw(rng: np.random.Generator) -> Interval:
        cells = []
        for name in "ab":
            luck = np.repeat(rng.normal(0, alike**0.5, number), each)
            scores = luck + rng.normal(0, (1 - alike) ** 0.5, number * each)
            blur = rng.normal(0, 0.01, (seeds, 1)) if seeds else 0.0
            cells.append(cell(name, np.atleast_2d(scores + blur), groups))
        return estimate(GAP, MEAN, cells)

    return draw


def crossed(rows: int, columns: int, of_row: float, of_column: float, declared: Sequence[str]) -> Draw:
    """Return equal methods on documents x systems whose difference has the luck of either."""
    row, column = (index.ravel() for index in np.indices((rows, columns)))
    groups = {name: {"document": row, "system": column}[name] for name in declared}
    nothing = np.zeros((1, rows * columns))

    def draw(rng: np.random.Generator) -> Interval:
        gap = rng.normal(0, of_row, (rows, 1)) + rng.normal(0, of_column, (1, columns))
        gap = gap + rng.normal(0, 1, (rows, columns))
        return estimate(GAP, MEAN, [cell("a", gap.reshape(1, -1), groups), cell("b", nothing, groups)])

    return draw


def one_text(n: int, alike: float, declared: bool = True) -> Draw:
    """Return equal methods on n pieces of one text, each `alike` its neighbour (autoregressive)."""
    from scipy.signal import lfilter

    def draw(rng: np.random.Generator) -> Interval:
        gap = lfilter([1.0], [1.0, -alike], rng.normal(0, 1, n + 200))[200:]
        cells = [cell(name, row[None], contiguous=declared) for name, row in (("a", gap), ("b", 0 * gap))]
        return estimate(GAP, MEAN, cells)

    return draw


def answers(n: int, right: float, seeds: int = 1, of_seed: float = 0.0) -> Draw:
    """Return the level of a method whose answers are right with a chance that moves with the seed."""
    claim = level("score", "a", at_least=right)

    def draw(rng: np.random.Generator) -> Interval:
        hard = rng.random(n)
        chances = right + rng.normal(0, of_seed, (seeds, 1)) if of_seed else np.full((seeds, 1), right)
        return estimate(claim, MEAN, [cell("a", (hard < chances).astype(float))])

    return draw


def paired_answers(n: int, right: float, discordant: float) -> Draw:
    """Return equal methods that are right on most items alike and differ on a share of them."""

    def draw(rng: np.random.Generator) -> Interval:
        which, base = rng.random(n), rng.random(n) < right
        a = np.where(which < discordant / 2, 1.0, np.where(which < discordant, 0.0, base))
        b = np.where(which < discordant / 2, 0.0, np.where(which < discordant, 1.0, base))
        return estimate(GAP, MEAN, [cell("a", a[None]), cell("b", b[None])])

    return draw


def shares(seeds: int, gap: float, true: float, by: float) -> Draw:
    """Return a method that goes `true` of the way from a start to a full method, `gap` deviations apart."""
    claim = share("score", "a", of=("start", "full"), at_least=by)

    def draw(rng: np.random.Generator) -> Interval:
        heights = {"a": true * gap, "start": 0.0, "full": gap}
        return estimate(claim, MEAN, [told(m, rng.normal(h, 1, seeds)) for m, h in heights.items()])

    return draw


def shares_of_items(n: int, gap: float) -> Draw:
    """Return a deterministic method that goes half the way; the gap is in standard errors."""
    claim = share("score", "a", of=("start", "full"), at_least=0.5)
    heights = {"a": gap / 2, "start": 0.0, "full": gap}

    def draw(rng: np.random.Generator) -> Interval:
        cells = [cell(m, (h * (2 / n) ** 0.5 + rng.normal(0, 1, n))[None]) for m, h in heights.items()]
        return estimate(claim, MEAN, cells)

    return draw


def ratios(seeds: int, spread: float, below: str = "normal") -> Draw:
    """Return two equal methods of mean 1 whose seeds spread so far; `below` may be lognormal."""
    claim = ratio("score", "a", than="b", at_least=1.0)
    s = np.log(1 + spread**2) ** 0.5

    def draw(rng: np.random.Generator) -> Interval:
        quiet = below != "normal"
        over = rng.normal(1, 0.01 if quiet else spread, seeds)
        under = rng.lognormal(-(s**2) / 2, s, seeds) if quiet else rng.normal(1, spread, seeds)
        return estimate(claim, MEAN, [told("a", over), told("b", under)])

    return draw


def one_base(seeds: int, of_base: float, fixed: bool = False) -> Draw:
    """Return seeds that share what was drawn once: a base, a task, or a `fixed` rival that is one random run."""

    def draw(rng: np.random.Generator) -> Interval:
        shared = rng.normal(0, of_base)
        own = rng.normal(0, 1 if fixed else 0.3, seeds)
        return seeds_interval(own + shared)

    return draw
