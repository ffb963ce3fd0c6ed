"""The published scorecards judged anew, as far as their JSON allows: which verdicts change, and why.

    python benchmarks/anew.py            # every claim of results/scorecard/*.json by today's rule and words

A scorecard holds each seed's value but not the items. Their part of the variance is taken from the interval that was
published, whose rule is known; so items count as independent, with as many degrees of freedom. What needs the items
themselves cannot be told and is listed: groups, exact counts, resampled items of a deterministic method. Controls,
margins and what is the same quantity are those that the installed plugins state for a claim of the same words.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite, log, nan
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtr

from harness.numbers import number, span
from harness.papers.plugins import load
from harness.papers.statement import Claim, Contrast, Metric
from harness.reports.stored import cells_in, contrast_of, metrics_of, read_cards
from harness.verdicts.claims import ONE_SIDED, Cells
from harness.verdicts.intervals import Errors, against, forms, quantile
from harness.verdicts.stats import (
    ITEMS,
    ROUNDING,
    Interval,
    _ended,
    _over_seeds,
    cells_of,
    equivalent,
    estimate,
    holm,
    verdict,
)

FOLDER = Path(__file__).parent.parent / "results" / "scorecard"


@dataclass(frozen=True)
class Change:
    """A claim whose verdict or mark is another one now, with both, and the cause."""

    claim: str
    was: str
    now: str
    interval: str
    cause: str


def main() -> None:
    """Print every change, what could not be judged, and the sums before and after."""
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    published = [
        card for path in sorted(FOLDER.glob("*.json")) for card in json.loads(path.read_text("utf-8"))
    ]
    for card, once in zip(read_cards(FOLDER), published, strict=True):
        print(f"\n{card['paper']}, {card['date']}, {card['command'].partition('budget=')[2]}")
        rows = list(judged(card, once))
        before.update(claim["was"] for claim, _, _ in rows)
        after.update(now for _, now, _ in rows)
        for one in changes(rows):
            print(f"  {one.claim}\n    {one.was} -> {one.now}; {one.interval}; {one.cause}")
        kept = [claim["text"] for claim, _, _ in rows if claim["rule"] == "items"]
        if kept:
            print(f"  by items alone, whose interval stands as published: {len(kept)} claims")
    print(f"\nbefore: {_sums(before)}\nafter:  {_sums(after)}")


def _sums(found: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(found.items(), key=lambda pair: -pair[1]))


Row = tuple[Mapping[str, Any], str, Interval]


def judged(card: Mapping[str, Any], once: Mapping[str, Any]) -> Iterator[Row]:
    """Yield each claim, with what was published `once`, and its verdict and interval by today's rule."""
    paper = load(card["paper"]).paper
    assert paper is not None
    stated = {claim.text: claim for claim in paper.claims}
    metrics = {**metrics_of(card), **paper.metrics}
    cell = cells_in(card)
    for claim, then in zip(card["claims"], once["claims"], strict=True):
        contrast = contrast_of(claim)
        found = interval(claim, contrast, metrics, cell)
        now = _word(claim, contrast, metrics, cell, found, stated.get(claim["text"]))
        p = _published_p(claim, contrast)
        yield {**claim, "was": then["verdict"], "holm": then["holm"], "p": p}, now, found


def interval(
    claim: Mapping[str, Any],
    contrast: Contrast,
    metrics: Mapping[str, Metric],
    cell: Cells,
    level: float = 0.95,
) -> Interval:
    """Return a claim's interval from its seeds and, out of the published interval, its items' variance."""
    cells = [cell(*pair) for pair in cells_of(contrast)]
    found = estimate(contrast, metrics, cells, level=level)
    if claim["rule"] == "items" or "item" not in claim["rule"] or claim["low"] is None:
        known = {"low": claim["low"], "high": claim["high"]} if claim["rule"] == "items" else {}
        return replace(found, **known, rule=claim["rule"] or found.rule, items=claim["items"])
    seeds = sorted(set.intersection(*(set(c.values) for c in cells if not c.deterministic)))
    per_seed = forms(contrast, metrics[contrast.metric].better) @ np.array(
        [[c.at(seed) for seed in seeds] for c in cells]
    )
    means = per_seed.mean(axis=1)
    part = np.zeros((len(means), len(means)))
    part[0, 0] = _items(claim, contrast, per_seed) * (1 if len(means) == 1 else means[0] ** 2)
    if contrast.kind == "share":
        part[0, 0] *= (means[1] / means[0]) ** 2
    value = float(means[0] if len(means) == 1 else means[0] / means[1])
    weights, _ = against(value, len(means))
    vary = float((weights @ per_seed).std()) > ROUNDING * np.abs(per_seed).max()
    parts = [_over_seeds(per_seed)] if vary else []
    errors = Errors(means, [[*parts, (part, max(claim["items"], ITEMS) - 1, 1)]])
    start = Interval(value, rule="seeds+items" if vary else "items", seeds=len(seeds), level=level)
    limits = metrics[contrast.metric].range
    return _ended(replace(start, items=claim["items"]), contrast, weights, limits, errors)


def _items(claim: Mapping[str, Any], contrast: Contrast, per_seed: np.ndarray) -> float:
    """Return the items' variance in a published interval: its half-width by t, less the seeds' part."""
    ends = claim["low"], claim["high"]
    low, high = map(log, ends) if contrast.kind == "ratio" else ends
    with np.errstate(divide="ignore", invalid="ignore"):
        known = per_seed[0] if len(per_seed) == 1 else per_seed[0] / per_seed[1]
        known = np.log(known) if contrast.kind == "ratio" else known
    error = (high - low) / 2 / quantile(0.05, len(known) - 1)
    return max(0.0, error**2 - float(known.var(ddof=1)) / len(known))


def _published_p(claim: Mapping[str, Any], contrast: Contrast) -> float:
    """Return the p that a published t interval stood for."""
    if "seeds" not in claim["rule"] or claim["low"] is None:
        return nan
    numbers = (claim["value"], claim["low"], claim["high"], contrast.by)
    value, low, high, by = map(log, numbers) if contrast.kind == "ratio" else numbers
    error = (high - low) / 2 / quantile(0.05, claim["seeds"] - 1)
    return 2 * float(stdtr(claim["seeds"] - 1, -abs(value - by) / error))


def _word(
    claim: Mapping[str, Any],
    contrast: Contrast,
    metrics: Mapping[str, Metric],
    cell: Cells,
    found: Interval,
    stated: Claim | None,
) -> str:
    if claim["verdict"] == "not tested":
        return "not tested"
    if stated and stated.control:
        pairs = [cell(*pair) for pair in cells_of(stated.control)]
        if (
            verdict(estimate(stated.control, metrics, pairs), stated.control.by, stated.control.side)
            != "holds"
        ):
            return "cannot be shown here"
    said = verdict(found, contrast.by, contrast.side)
    if said == "open" and stated and stated.margin:
        around = {"difference": 0.0, "ratio": 1.0}.get(contrast.kind, contrast.by)
        if equivalent(interval(claim, contrast, metrics, cell, ONE_SIDED), stated.margin, around):
            return "no difference"
    return said


def changes(rows: list[Row]) -> Iterator[Change]:
    """Yield what is another verdict now, or has Holm's mark where it had none or the other way round."""
    tested = [row for row in rows if row[1] != "not tested" and not row[0]["is_control"]]

    def marks(p: Callable[[Row], float]) -> dict[int, bool]:
        found = holm([0.0 if row[2].rule == "exact" else p(row) for row in tested])
        return {id(row[0]): mark for row, mark in zip(tested, found, strict=True)}

    by_family, by_rule = marks(lambda row: row[0]["p"]), marks(lambda row: row[2].p)
    for claim, now, found in rows:
        was = span(claim["value"], claim["low"], claim["high"])
        here = span(*(v if isfinite(v) else None for v in (found.value, found.low, found.high)))
        if now != claim["was"]:
            yield Change(claim["text"], claim["was"], now, f"{was} -> {here}", _cause(claim, now, found))
        kept = by_rule.get(id(claim), False)
        if (
            now in ("holds", "fails")
            and now == claim["was"]
            and claim["rule"] != "items"
            and kept != claim["holm"]
        ):
            marked = f"{now}, {'survives' if kept else 'no longer survives'} Holm"
            family = by_family[id(claim)] == kept
            cause = "a count falls out of no family" if found.rule == "exact" else _cause(claim, now, found)
            cause = (
                "the family are the claims that were tested" if family and found.rule != "exact" else cause
            )
            yield Change(claim["text"], now, marked, f"{was} -> {here}", f"{cause}; p {number(found.p)}")


def _cause(claim: Mapping[str, Any], now: str, found: Interval) -> str:
    if now == "not tested":
        return "words: it has no finished run"
    if now == "cannot be shown here":
        return "its control does not hold"
    if now == "no difference":
        return "the margin: two one-sided tests"
    if claim["rule"] == "seeds+items" and found.rule == "items":
        return "the seeds agree: no spread, judged by items"
    if claim["rule"] == "seeds+items":
        return f"degrees of freedom: half-widths of {found.seeds} seeds and {found.items:,} items add squared"
    if claim["kind"] in ("share", "ratio"):
        return "a linear contrast, Fieller's interval"
    return "the metric's range: its interval stays inside" if claim["kind"] == "level" else "the rule"


if __name__ == "__main__":
    main()
