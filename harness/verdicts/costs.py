"""Quality against cost: what each method takes in time and memory, and which of them nothing beats on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COSTS = (
    ("timings", "train", "seconds of training"),
    ("timings", "evaluate", "seconds of evaluation"),
    ("measured", "train_peak_memory", "peak memory in training, bytes"),
    ("measured", "gpu_peak_memory", "peak memory of the leased GPUs, bytes"),
    ("measured", "gpu_energy", "energy of the leased GPUs, joules"),
)
SECOND = 1.0  # below that a time says nothing


def costs(
    methods: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], quality: str
) -> list[dict[str, Any]]:
    """Return for each cost that was measured where the methods stand, and the Pareto front.

    On the front is a method that no cheaper or equally cheap one equals in `quality`. Evaluation's time is
    left out where training took any; means over seeds, so methods that the rule cannot separate may change
    places.
    """
    found: list[dict[str, Any]] = []
    for group, name, text in COSTS:
        known = [m for m in methods if m[group].get(name) is not None and _mean(m, quality) is not None]
        highest = max((m[group][name] for m in known), default=0.0)
        trained = any(cost["cost"] == "train" for cost in found)
        if len(known) < 2 or (group == "timings" and highest < SECOND) or (name == "evaluate" and trained):
            continue
        points = [
            {"method": m["method"], "cost": m[group][name], "quality": _mean(m, quality)} for m in known
        ]
        ahead = front([(p["cost"], p["quality"]) for p in points], metrics[quality]["better"])
        for point, on in zip(points, ahead, strict=True):
            point["front"] = on
        found.append({"cost": name, "text": text, "quality": quality, "points": points})
    return found


def front(points: Sequence[tuple[float, float]], better: str) -> list[bool]:
    """Return which (cost, quality) points no other one beats or equals on both, strictly on one."""
    sign = 1.0 if better == "higher" else -1.0
    return [
        not any(
            other[0] <= cost
            and sign * other[1] >= sign * quality
            and (other[0] < cost or other[1] != quality)
            for other in points
        )
        for cost, quality in points
    ]


def _mean(method: Mapping[str, Any], metric: str) -> float | None:
    return (method["metrics"].get(metric) or {}).get("mean")
