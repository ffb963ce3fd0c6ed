"""Cells -> claims: each claim's estimate, its verdict in one of six words, and what stands beside it.

`holds`, `fails` and `open` are where the interval lies. A claim that names a margin may be `no difference` worth
it; one without a finished run is `not tested`; one whose control does not hold `cannot be shown here`. Holm's
family are the claims that were tested: controls, whose sign is known, are none, and counts that chance does not
touch take no part in it. Everything is plain data, which `reports` puts into words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from math import exp, hypot, isfinite, isnan, nan
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.numbers import number
from harness.papers.statement import Claim, Contrast, Metric, Paper, Reported, Seen
from harness.verdicts.collapse import better, far, interquartile_mean
from harness.verdicts.origin import prototype_saw
from harness.verdicts.pairs import only
from harness.verdicts.power import answer, values
from harness.verdicts.rows import UNTUNED
from harness.verdicts.stats import LEVEL, OVER, Cell, Interval, cells_of, equivalent, estimate, holm, verdict

NO_GRIDS: Mapping[str, Mapping[str, Any]] = {}

WORDS = ("holds", "fails", "no difference", "open", "not tested", "cannot be shown here")
DECIDED = ("holds", "fails", "no difference")
ONE_SIDED = 0.9  # the interval of two one-sided tests at 5 % each
Cells = Callable[[str, str], Cell]


Rule = Callable[[Claim, Mapping[str, Metric], Sequence[Cell]], Interval]


def usual(claim: Claim, metrics: Mapping[str, Metric], cells: Sequence[Cell]) -> Interval:
    """Return a claim's interval where this is the only look."""
    return estimate(claim.contrast, metrics, cells)


def claims_of(
    paper: Paper,
    budget: str,
    cell: Cells,
    judged: Collection[str],
    rule: Rule = usual,
    grids: Mapping[str, Mapping[str, Any]] = NO_GRIDS,
) -> list[dict[str, Any]]:
    """Return every claim with its estimate and verdict; `judged` are the names of the data that judge it.

    `rule` makes the interval; of several looks it may judge some of the seeds. `grids` is what the grids
    of methods chose, of those that have one (`origin.chosen_of`).
    """
    found = [_claim(paper, claim, budget, cell, judged, rule, grids) for claim in paper.claims]
    tested = [one for one in found if one["verdict"] != "not tested" and not one["is_control"]]
    for one, mark in zip(tested, holm([one["p"] for one in tested]), strict=True):
        one["holm"] = mark and one["verdict"] in DECIDED
    for one in found:
        del one["p"]
    return found


def _claim(
    paper: Paper,
    claim: Claim,
    budget: str,
    cell: Cells,
    judged: Collection[str],
    rule: Rule,
    grids: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    contrast = claim.contrast
    contrasts = [contrast, *([claim.control] if claim.control else [])]
    cell, untuned = _alike(paper, contrasts, cell)
    interval = _estimate(paper, claim, cell, rule)
    cell = _seen(cell, interval.at)
    control = _control(paper, claim.control, cell)
    equal = _equivalence(paper, claim, cell, interval)
    said = _word(claim, interval, budget, cell, control, equal)
    tuned = [name for name in _methods(contrasts) if name in grids and not untuned and said != "not tested"]
    return {
        "text": claim.text,
        "source": claim.source,
        "counter": claim.counter,
        "is_control": claim.is_control,
        **_stated(contrast),
        "bound": _bound(claim, judged),
        "margin": claim.margin,
        "value": _finite(interval.value),
        "low": _finite(interval.low),
        "high": _finite(interval.high),
        "error": _error(interval),
        "p": interval.p,
        "seeds": interval.seeds,
        "items": interval.items,
        "rule": interval.rule,
        "groups": dict(interval.groups),
        "design": _finite(interval.design),
        "drawn": _finite(interval.drawn),
        "scope": interval.scope,
        "step": interval.step,
        "verdict": said,
        "holm": False,
        "reason": _reason(claim, interval, said, budget),
        "looks": interval.looks,
        "untuned": untuned,
        "edges": [name for name in tuned if grids[name]["ends"]],
        "mixed": [name for name in tuned if grids[name]["others"]],
        "control": control,
        "equivalence": equal,
        "reported": _reported(claim.reported),
        **_strength(paper, claim, cell, interval),
        **by_seed(paper.metrics, contrast, cell),
        "far": far_seeds(paper.metrics, contrast, cell, interval.items),
    }


def _error(interval: Interval) -> float | None:
    """Return the estimate's standard error, of seeds and items together (of a ratio a relative one)."""
    return None if isnan(interval.low) else _finite(hypot(interval.seed_error, interval.item_error))


def _alike(paper: Paper, contrasts: Sequence[Contrast], cell: Cells) -> tuple[Cells, bool]:
    """Return cells in which methods that have a grid stand with their default settings, where all of them do.

    `contrasts` are a claim's own and its control's. Where some methods were tuned and others not, the runs of the
    others judge nothing, and the cell says so.
    """
    metrics = _methods(contrasts)
    grids = [name for name in metrics if paper.methods[name].tune]
    plain = {name: UNTUNED.format(name) for name in grids}
    default = [
        name
        for name in grids
        if not cell(name, metrics[name]).values and cell(plain[name], metrics[name]).values
    ]

    def found(method: str, metric: str) -> Cell:
        names = method.split(OVER)
        if not set(names) & set(default):
            return cell(method, metric)
        if default == grids:
            return dataclasses.replace(
                cell(OVER.join(plain.get(name, name) for name in names), metric), method=method
            )
        absent = "it has only runs with tuned=false beside tuned ones of the others: run it without"
        return Cell(method, metric, {}, absent=absent)

    return found, bool(default) and default == grids


def _methods(contrasts: Sequence[Contrast]) -> dict[str, str]:
    """Return every method that contrasts read, with a metric of it that they read."""
    read = [pair for contrast in contrasts for pair in cells_of(contrast)]
    return {name: metric for names, metric in read for name in names.split(OVER)}


def _stated(contrast: Contrast) -> dict[str, Any]:
    plain = {k: v for k, v in dataclasses.asdict(contrast).items() if k != "of"}
    return {**plain, "of": [name for name in contrast.of if name]}


def _seen(cell: Cells, seeds: tuple[int, ...]) -> Cells:
    """Return cells as a look saw them; all seeds where that was the only one."""
    return (lambda method, metric: only(cell(method, metric), seeds)) if seeds else cell


def _estimate(paper: Paper, claim: Claim, cell: Cells, rule: Rule) -> Interval:
    try:
        return rule(claim, paper.metrics, [cell(*pair) for pair in cells_of(claim.contrast)])
    except HarnessError as error:  # other items: this claim cannot be judged, the others can
        return Interval(nan, reason=str(error))


def _tested(contrast: Contrast, cell: Cells) -> bool:
    return all(cell(*pair).values for pair in cells_of(contrast))


def _word(
    claim: Claim,
    interval: Interval,
    budget: str,
    cell: Cells,
    control: Mapping[str, Any] | None,
    equal: Mapping[str, Any] | None,
) -> str:
    """Return the verdict: what was not run or cannot be seen comes before where the interval lies."""
    if not _tested(claim.contrast, cell):
        return "not tested"
    if budget == "smoke":
        return "open"
    if control and control["verdict"] != "holds":
        return "cannot be shown here"
    said = verdict(interval, claim.contrast.by, claim.contrast.side)
    return "no difference" if said == "open" and equal and equal["within"] else said


def _reason(claim: Claim, interval: Interval, said: str, budget: str) -> str:
    """Say in words where the interval lies, or why there is none."""
    contrast = claim.contrast
    if said == "not tested" and claim.needs:
        return f"{interval.reason}: it takes {claim.needs}"
    if budget == "smoke" and said != "not tested":
        return "smoke runs only show that the code works: they are no evidence"
    if interval.reason:
        return interval.reason
    bound, word = number(contrast.by), verdict(interval, contrast.by, contrast.side)
    if word == "open":
        return f"the interval includes {bound}"
    above = (word == "holds") == (contrast.side == "above")
    what = "the count" if interval.rule == "exact" else "the whole interval"
    return f"{what} lies {'above' if above else 'below'} {bound}"


# What a claim names besides its contrast


def _bound(claim: Claim, judged: Collection[str]) -> dict[str, Any] | None:
    """Return where the bound is from; of a prototype's, whether it saw the data that judge the claim."""
    if claim.bound is None:
        return None
    origin = claim.bound.origin
    seen = prototype_saw(claim.bound, judged)
    return {"origin": origin.name.lower(), "why": claim.bound.why, "data": claim.bound.data, "seen": seen}


def _control(paper: Paper, contrast: Contrast | None, cell: Cells) -> dict[str, Any] | None:
    """Return the contrast of known sign that shows whether the experiment can tell, judged as a claim is."""
    if contrast is None:
        return None
    found = _estimate(paper, Claim("", contrast, ""), cell, usual)
    said = verdict(found, contrast.by, contrast.side) if _tested(contrast, cell) else "not tested"
    known = {"value": _finite(found.value), "low": _finite(found.low), "high": _finite(found.high)}
    return {**_stated(contrast), **known, "verdict": said, "reason": found.reason}


def _equivalence(paper: Paper, claim: Claim, cell: Cells, interval: Interval) -> dict[str, Any] | None:
    """Return whether there is no difference worth the claim's margin; None without margin or interval."""
    if claim.margin is None or isnan(interval.low):
        return None
    cells = [cell(*pair) for pair in cells_of(claim.contrast)]
    return equivalence(claim.contrast, paper.metrics, cells, claim.margin, interval.level)


def equivalence(
    contrast: Contrast,
    metrics: Mapping[str, Metric],
    cells: Sequence[Cell],
    margin: float,
    level: float = LEVEL,
) -> dict[str, Any]:
    """Return the 90 % interval, whether it lies `within` the margin, and whether it is `not_worse` by it.

    These are two one-sided tests at 5 % each, and one of them alone; at a look, each at the look's `level`.
    What is no difference lies around zero, a ratio of 1, or the bound of a level or a share.
    """
    found = estimate(contrast, metrics, cells, level=ONE_SIDED if level == LEVEL else 2 * level - 1)
    around = {"difference": 0.0, "order": 0.0, "ratio": 1.0}.get(contrast.kind, contrast.by)
    return {
        "margin": margin,
        "low": _finite(found.low),
        "high": _finite(found.high),
        "within": equivalent(found, margin, around),
        "not_worse": found.low > around - margin,
    }


def _reported(reported: Reported | None) -> dict[str, Any] | None:
    """Return how we know the paper's number, with it where it is the claim's own quantity.

    Any other number, and one known from memory only, is left out.
    """
    if reported is None:
        return None
    known = {"setting": reported.setting, "source": reported.source, "seen": reported.seen.value}
    shown = {"value": reported.value} if reported.same and reported.seen is not Seen.MEMORY else {}
    return {**shown, **known, "same": reported.same}


def _strength(paper: Paper, claim: Claim, cell: Cells, interval: Interval) -> dict[str, Any]:
    """Return a claim's effect size towards its side, and what its runs could have detected.

    Beside that stands the paper's own distance from the bound, where it is of the same quantity.
    """
    if interval.rule == "exact":
        return {"effect": None, "power": None}
    contrast = claim.contrast
    wanted = (_reported(claim.reported) or {}).get("value", nan)
    per_seed = values(contrast, paper.metrics, [cell(*pair) for pair in cells_of(contrast)])
    apart = claim.counter or reaches(contrast, wanted)
    return answer(contrast, interval, per_seed, wanted if apart else nan)


def reaches(contrast: Contrast, value: float) -> bool:
    """Say whether a value lies on the claimed side of the bound."""
    return value > contrast.by if contrast.side == "above" else value < contrast.by


# Seed by seed


def by_seed(metrics: Mapping[str, Metric], contrast: Contrast, cell: Cells) -> dict[str, Any]:
    """Return the contrast of each seed, how often it reaches the bound, and the mean of the middle half."""
    cells = [cell(*pair) for pair in cells_of(contrast)]
    seeded = [set(c.values) for c in cells if not c.deterministic]
    found = values(contrast, metrics, cells) if seeded else np.empty(0)
    ratio = contrast.kind == "ratio"
    shown = [exp(v) if ratio and isfinite(v) else float(v) for v in found]
    seeds = sorted(set.intersection(*seeded)) if seeded and len(found) else []
    return {
        "by_seed": [[seed, _finite(value)] for seed, value in zip(seeds, shown, strict=True)],
        "reached": _reached(contrast, shown),
        "middle": interquartile_mean(shown) if all(map(isfinite, shown)) else None,
    }


def _reached(contrast: Contrast, known: list[float]) -> dict[str, Any] | None:
    """Return with how many seeds the bound is reached, and the exact interval of that chance; None of none."""
    if not known or not all(map(isfinite, known)):
        return None
    sign = 1.0 if contrast.side == "above" else -1.0
    seeds, of, low, high = better([sign * (value - contrast.by) for value in known])
    return {"seeds": seeds, "of": of, "low": low, "high": high}


def far_seeds(
    metrics: Mapping[str, Metric], contrast: Contrast, cell: Cells, items: int
) -> list[dict[str, Any]]:
    """Return the seeds of any of the contrast's methods that lie too far from that method's others."""
    found = []
    for one in (cell(*pair) for pair in dict.fromkeys(cells_of(contrast))):
        values, metric = [one.at(seed) for seed in one.values], metrics[one.metric]
        if not values or one.deterministic or metric.exact or not all(map(isfinite, values)):
            continue
        a_share = metric.range is not None and metric.reduce == "mean" and items
        grain = (metric.range[1] - metric.range[0]) / items if metric.range and a_share else 0.0
        known = {"method": one.method, "metric": one.metric, "median": float(np.median(values))}
        for place in far(values, grain):
            found.append({**known, "seed": list(one.values)[place], "value": values[place]})
    return found


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None
