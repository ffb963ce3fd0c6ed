"""Stored scorecards: read them, whatever words they were written in.

A card without a `schema` called the estimate `difference` and the places `ranks`, and showed any number of the
paper beside ours. Read today, such a number is told in words: nobody said that it is of the claim's own quantity.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.papers.statement import Contrast, Metric
from harness.verdicts.claims import Cells, by_seed, far_seeds
from harness.verdicts.stats import Cell

SINCE: dict[str, Any] = {  # what a claim holds since schema 2, and what an older one is read as
    "is_control": False,
    "error": None,
    "bound": None,
    "margin": None,
    "control": None,
    "equivalence": None,
    "groups": {},
    "design": None,
    "drawn": None,
    "step": "",
    "scope": "",
    "looks": "",
    "untuned": False,
    "edges": [],
    "mixed": [],
}


def read_cards(folder: Path) -> list[dict[str, Any]]:
    """Return the scorecards of a folder's JSON files, file by file, in today's words."""
    paths = sorted(folder.glob("*.json"))
    return [upgraded(card) for path in paths for card in json.loads(path.read_text(encoding="utf-8"))]


def upgraded(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scorecard in today's words; one that is in them already comes back as it is."""
    if card.get("schema", 1) >= 2:
        return dict(card)
    renamed = {"places" if key == "ranks" else key: value for key, value in card.items()}
    return {**renamed, "schema": 2, "claims": [_claim(card, claim) for claim in card["claims"]]}


def contrast_of(claim: Mapping[str, Any]) -> Contrast:
    """Return the contrast that a scorecard's claim was judged by."""
    names = ("kind", "metric", "method", "than", "over", "by", "side")
    return Contrast(**{name: claim[name] for name in names}, of=tuple(claim["of"]) or ("", ""))  # type: ignore[arg-type]


def metrics_of(card: Mapping[str, Any]) -> dict[str, Metric]:
    """Return a scorecard's metrics, as far as it tells of them."""
    return {name: Metric(m["better"], m["text"], m["unit"]) for name, m in card["metrics"].items()}


def cells_in(card: Mapping[str, Any]) -> Cells:
    """Return what makes a method's cell from a scorecard: every value, without the items behind it."""
    methods = {method["method"]: method for method in card["methods"]}

    def cell(method: str, metric: str) -> Cell:
        row = methods.get(method)
        known = (row["metrics"].get(metric) or {}).get("values", []) if row else []
        if row is None or len(known) != len(row["seeds"]):
            return Cell(method, metric, {})
        return Cell(
            method, metric, dict(zip(row["seeds"], known, strict=True)), deterministic=row["deterministic"]
        )

    return cell


def _claim(card: Mapping[str, Any], claim: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {"value" if key == "difference" else key: value for key, value in claim.items()}
    renamed["reason"] = claim["reason"].removesuffix(": more seeds or items would decide")
    if claim["verdict"] == "open" and re.match(r"\S+ has no \S+: ", claim["reason"]):
        renamed["verdict"] = "not tested"
    if claim["reported"]:
        renamed["reported"] = {k: v for k, v in claim["reported"].items() if k != "value"} | {"same": False}
    if claim["rule"] == "exact":  # no chance touches a count: no correction takes its mark
        renamed["holm"] = claim["verdict"] != "open"
    power = claim.get("power")
    if power and power["target_is"] == "reported":  # a distance to a number that may be of another quantity
        renamed["power"] = None
    effect = claim.get("effect")
    if effect and claim["side"] == "below":
        ahead = effect["ahead"]
        turned = None if ahead is None else claim["seeds"] - ahead
        renamed["effect"] = {**effect, "size": -effect["size"], "ahead": turned}
    told = metrics_of(card), contrast_of(claim), cells_in(card)
    return {**SINCE, **renamed, **by_seed(*told), "far": far_seeds(*told, claim["items"])}
