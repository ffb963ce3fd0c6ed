"""A claim's interval after several looks: by the plan that declared them, or by the e-process if none did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan, nan, sqrt

import numpy as np

from harness.papers.statement import Claim, Metric
from harness.verdicts.claims import equivalence, usual
from harness.verdicts.looks.null import LOOKS, anytime, critical, evidence, levels, sequential
from harness.verdicts.pairs import only, paired
from harness.verdicts.stats import Cell, Interval, estimate, verdict


@dataclass(frozen=True)
class Plan:
    """Looks declared for the claims of one setting, judged on `first` and the seeds that follow it."""

    looks: tuple[int, ...] = LOOKS
    spending: str = "even"
    first: int = 0
    claims: tuple[str, ...] = ()  # by their text
    date: str = ""
    changed: tuple[str, ...] = ()  # what was changed after the first look, and when

    def seeds(self, look: int) -> range:
        """Return the seeds that a look, counted from 0, judges."""
        return range(self.first, self.first + self.looks[look])


def planned(plan: Plan, claim: Claim, metrics: Mapping[str, Metric], cells: Sequence[Cell]) -> Interval:
    """Return a claim's interval at the look that decided it, else at the latest that its runs allow.

    `p` is the one over all looks so far. A look is taken when all its seeds are there.
    """
    if not _seeded(cells):
        return usual(claim, metrics, cells)
    nominal = levels(plan.looks, plan.spending)
    taken: list[float] = []
    found = None
    for look, level in enumerate(nominal):
        seeds = plan.seeds(look)
        lacking = [
            (cell.method, seed) for cell in _seeded(cells) for seed in seeds if seed not in cell.values
        ]
        if lacking:
            method, seed = lacking[0]
            why = next((cell.absent for cell in cells if cell.method == method and cell.absent), "")
            waits = f"{method} has no seed {seed} yet" if not why else f"{method}: {why}"
            waits = f"look {look + 1} of {len(plan.looks)} waits for {plan.looks[look]} seeds: {waits}"
            if found is None:
                return Interval(nan, seeds=len(paired(cells)), reason=waits)
            return replace(found, looks=_said(plan, look, waits))
        seen = [only(cell, seeds) for cell in cells]
        found = estimate(claim.contrast, metrics, seen, level=1 - level)
        taken.append(found.p)
        p = sequential(taken, plan.looks, plan.spending) if len(plan.looks) > 1 else found.p
        p = p if isfinite(found.p) else nan
        found = replace(found, p=p, looks=_said(plan, look + 1), at=tuple(seeds))
        if found.rule == "exact" or decided(found, claim, metrics, seen):
            return found
    assert found is not None
    return found


def by_plan(plan: Plan, claim: Claim, metrics: Mapping[str, Metric], cells: Sequence[Cell]) -> Interval:
    """Return a claim's interval by its plan; one changed after a look is none, and its looks count as undeclared."""
    if not plan.changed:
        return planned(plan, claim, metrics, cells)
    there = set(paired(cells))
    taken = [plan.seeds(k) for k in range(len(plan.looks)) if set(plan.seeds(k)) <= there]
    found = unplanned(taken, claim, metrics, cells, first=anytime)
    return replace(found, looks="; ".join(filter(None, (found.looks, *plan.changed))))


def decided(found: Interval, claim: Claim, metrics: Mapping[str, Metric], cells: Sequence[Cell]) -> bool:
    """Say whether an interval leaves nothing open: also where no difference is worth the claim's margin."""
    if verdict(found, claim.contrast.by, claim.contrast.side) != "open":
        return True
    if claim.margin is None or isnan(found.low):
        return False
    return bool(equivalence(claim.contrast, metrics, cells, claim.margin, found.level)["within"])


def unplanned(
    before: Sequence[Collection[int]],
    claim: Claim,
    metrics: Mapping[str, Metric],
    cells: Sequence[Cell],
    first: Callable[[int], float] | None = None,
) -> Interval:
    """Return a claim's interval where it was looked at `before`, each time at those seeds, and nobody declared it.

    The first look was judged by the usual rule and keeps its verdict; whatever follows, by the e-process. Where
    it was known beforehand that more would follow, `first` gives the level that the first was judged at.
    """
    now = paired(cells)
    looks = [tuple(seeds) for seeds in before if set(seeds) <= set(now) and tuple(seeds) != now]
    found = usual(claim, metrics, cells)
    if not now or found.rule in ("exact", "items") or not (looks or first):
        return found
    counts = [len(seeds) for seeds in (*looks, now)]
    times = f"looked {len(counts)} times, at {_and(counts)} seeds" if looks else f"looked at {len(now)} seeds"
    said = f"{times}: judged by the rule for looks"
    if first is None:
        seen = [only(cell, looks[0]) for cell in cells]
        found = usual(claim, metrics, seen)
        if decided(found, claim, metrics, seen):
            return replace(found, looks=f"{times}: decided at the first, which it keeps", at=looks[0])
        looks = looks[1:]
        said += ", which with the first makes an error up to 7 %"
    p = 1.0
    for seeds in (*looks, now):
        level, seen = anytime(len(seeds)), [only(cell, seeds) for cell in cells]
        if level:
            found = estimate(claim.contrast, metrics, seen, level=1 - level)
            p = min(p, _anytime_p(found))
            found = replace(found, p=p if isfinite(found.p) else nan, looks=said, at=seeds)
            if decided(found, claim, metrics, seen):
                return found
        else:
            reason = f"{times}, and the rule for looks decides nothing below five seeds"
            known = usual(claim, metrics, seen)
            found = replace(known, low=nan, high=nan, p=nan, reason=known.reason or reason, at=seeds)
    return found


def _anytime_p(found: Interval) -> float:
    """Return the p value of an interval's e-process: one over it."""
    from scipy.special import stdtrit

    if not isfinite(found.p):
        return 1.0
    return min(1.0, 1 / float(evidence(-float(stdtrit(found.seeds - 1, found.p / 2)), found.seeds)))


def _seeded(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if not cell.deterministic]


def _said(plan: Plan, taken: int, waits: str = "") -> str:
    if len(plan.looks) == 1:
        return waits
    said = f"look {taken} of {len(plan.looks)}, at {plan.looks[taken - 1]} seeds, as declared on {plan.date}"
    return f"{said}; {waits}" if waits else said


def _and(counts: Sequence[int]) -> str:
    *rest, last = map(str, counts)
    return f"{', '.join(rest)} and {last}" if rest else last


def chance(
    plan: Plan,
    taken: int,
    per_seed: np.ndarray,
    by: float,
    items: float = 0.0,
    number: int = 0,
    draws: int = 4000,
) -> float:
    """Return the chance that a look still to come decides, the truth being drawn from what the seeds so far tell.

    `per_seed` are the contrast's values, (seeds,); `items` is the standard error over `number` items, which no
    seed lowers. The spread and the mean are drawn as their posterior has them (Jeffreys' prior): at three seeds
    little is excluded.
    """
    rng = np.random.default_rng(len(per_seed))
    seeds, freedom = len(per_seed), len(per_seed) - 1
    spread = per_seed.std(ddof=1) * np.sqrt(freedom / rng.chisquare(freedom, draws))
    truth = per_seed.mean() - by + spread / sqrt(seeds) * rng.standard_normal(draws)
    total = np.full(draws, (per_seed - by).sum())
    squares = np.full(draws, ((per_seed - by) ** 2).sum())
    found = np.zeros(draws, dtype=bool)
    nominal = levels(plan.looks, plan.spending)
    for look in range(taken, len(plan.looks)):
        while seeds < plan.looks[look]:
            drawn = truth + spread * rng.standard_normal(draws)
            total, squares, seeds = total + drawn, squares + drawn**2, seeds + 1
        error = np.sqrt(np.maximum(squares - total**2 / seeds, 0) / (seeds - 1) / seeds)
        half = critical(seeds, nominal[look]) * error
        if number:
            half = np.hypot(half, critical(number, nominal[look]) * items)
        found |= np.abs(total / seeds) > half
    return float(found.mean())
