"""Tuning is fair: grids of equal size, chosen on validation with the first seed, then frozen.

Each point of a method's grid is a run of its own under `results/tuning/`, judged on validation
alone; the best becomes the setting of every seed's run, which records what was chosen and why.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from harness.errors import HarnessError
from harness.papers.plugins import Plugin
from harness.papers.statement import Method, Paper
from harness.runs.results import Result
from harness.runs.spec import Spec

FIRST_SEED = 0


def tuned(spec: Spec, plugin: Plugin, bring: Callable[[Spec], Result]) -> Spec:
    """Return `spec` with its method's grid decided; unchanged where there is none, or a setting was given.

    `bring` runs one point of the grid, or finds it done. Raises HarnessError when every point failed.
    """
    paper = plugin.paper
    assert paper is not None
    method = paper.methods[spec.name]
    if not method.tune or spec.changes:
        return spec
    points = list(grid(method))
    start = spec.seed % len(points)  # seeds that tune at the same time begin at different points
    scores: dict[int, float] = {}
    reasons: dict[str, None] = {}
    for index in (*range(start, len(points)), *range(start)):
        result = bring(at(spec, points[index], paper))
        if result.status == "finished":
            scores[index] = result.validation[paper.tuned_by]
        else:
            reasons[(result.error or {}).get("message", "")] = None
    if not scores:
        told = next(iter(reasons)) if len(reasons) == 1 else f"{len(reasons)} reasons"
        raise HarnessError(
            f"no setting of {spec.name}'s grid ended well ({told}): see results/tuning/{spec.paper}/{spec.name}"
        )
    better = max if paper.metrics[paper.tuned_by].better == "higher" else min
    best = better(sorted(scores), key=lambda index: scores[index])
    record = {
        "by": paper.tuned_by,
        "chosen": points[best],
        "scores": [{**points[index], "validation": scores.get(index)} for index in range(len(points))],
    }
    return replace(spec, method={**spec.method, **points[best]}, tuned=record)


def grid(method: Method) -> Iterator[dict[str, Any]]:
    """Yield every setting of a method's grid, in the order it is declared."""
    for values in itertools.product(*method.tune.values()):
        yield dict(zip(method.tune, values, strict=True))


def at(spec: Spec, point: dict[str, Any], paper: Paper) -> Spec:
    """Return the run that judges one point of the grid."""
    return replace(
        spec,
        method={**spec.method, **point},
        seed=FIRST_SEED,
        objective=paper.tuned_by,
        tuning=True,
        keep="metrics",
        changes=point,
    )
