"""What MLflow's page of a paper's runs shows when it opens: the comparison that the paper's claims ask for.

Runs stand by method with their means, the claims' metrics are the columns, curves and claims' metrics the charts.
Runs are in one mean only where they can be compared: each setting in which they differ parts them. The form is that
of MLflow 3.17: its page saves a view as a tag of the experiment, and its names are those of the page's own state.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from harness.papers.statement import Paper
from harness.runs.mirror import RUNS, stored

TAG = "mlflow.sharedViewState."
NAME = "claims"  # what MLflow's list of saved views calls it
PAGE = 100  # runs that MLflow's page loads at once
WIDTH = 220  # of a column, in pixels: a mean to MLflow's sixteen digits, or a longer name
NAMES, WIDEST = "attributes.`Run Name`", 600  # the column of groups and runs
OF_METHOD = "method."
SETTINGS = ("budget", "model", "precision", "device", "task.", "data.")
ENDED = ("test/", "validation/", "measured/", "seconds/", "consumed/")  # what is no curve
TESTED = ("test/", "measured/")  # where a claim's metric may stand


def view(paper: Paper, runs: Sequence[Any]) -> dict[str, Any]:
    """Return the state of MLflow's page for the runs of a paper's experiment, as the store returns them.

    Best method by the first claim's metric first; where MLflow's page loads only a part of the runs, the newest
    first, since a part that was chosen by its values would have other means.
    """
    known = {name for run in runs for name in run.data.metrics}
    names = dict.fromkeys(name for claim in paper.claims for name in claim.contrast.metrics)
    shown = {
        key: paper.metrics[name]
        for name in names or paper.metrics
        for key in (f"{prefix}{stored(name)}" for prefix in TESTED)
        if key in known
    }
    curves = sorted(
        (name for name in known if not name.startswith(ENDED)), key=lambda n: ("loss" not in n, n)
    )
    first = next(iter(shown), "")
    by_value = first and len(runs) <= PAGE
    groups = _groups(runs)
    widths = {_column(key): max(WIDTH, 40 + 8 * len(key)) for key in shown}
    return {
        "searchFilter": RUNS,
        "orderByKey": _column(first) if by_value else "attributes.start_time",
        "orderByAsc": bool(by_value) and shown[first].better == "lower",
        "selectedColumns": [_column(key) for key in shown],
        "columnOrder": [NAMES, *widths],  # those that are not named follow
        "columnWidths": {NAMES: min(WIDEST, 120 + 7 * _longest(runs, groups)), **widths},
        "groupBy": {"aggregateFunction": "average", "groupByKeys": groups},
        "runsHiddenMode": "FIRST_20_RUNS",
        "hideEmptyCharts": True,
        "isAccordionReordered": True,  # or it would put its own sections before these
        "compareRunSections": [
            {"uuid": name, "name": name, "display": True, "isReordered": True}
            for name in ("Curves", "Claims")
        ],
        "compareRunCharts": [
            *(_chart("LINE", name, "Curves") for name in curves),
            *(_chart("BAR", name, "Claims") for name in shown),
        ],
    }


def saved(state: Mapping[str, Any], before: str = "", now: int = 0) -> str:
    """Return the tag's value for a view's state: `before`, its value until now, where that shows the same.

    `now` is the time in milliseconds.
    """
    text = json.dumps(state, sort_keys=True, separators=(",", ":"))
    packed = "deflate;" + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    try:
        was = json.loads(before)
        created = int(was["createdAt"])
        if was["state"] == packed:
            return before
    except (ValueError, TypeError, KeyError):  # there was none, or one that a person made
        created = now
    return json.dumps({"name": NAME, "createdAt": created, "updatedAt": now, "state": packed})


def _groups(runs: Sequence[Any]) -> list[dict[str, str]]:
    """Return what parts the runs: the method, the settings in which runs differ, and its own in which its runs do."""
    every: dict[str, set[str]] = {}
    own: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        for name, value in run.data.params.items():
            if name.startswith(SETTINGS):
                every.setdefault(name, set()).add(value)
            elif name.startswith(OF_METHOD):
                own.setdefault((name, run.data.tags.get("method", "")), set()).add(value)
    differ = {name for name, values in every.items() if len(values) > 1}
    differ |= {name for (name, _), values in own.items() if len(values) > 1}
    return [
        {"mode": "tag", "groupByData": "method"},
        *({"mode": "param", "groupByData": name} for name in sorted(differ)),
    ]


def _longest(runs: Sequence[Any], groups: Sequence[Mapping[str, str]]) -> int:
    """Return how many letters the longest name of a group has: `method: alibi, budget: small`."""
    said = [{**run.data.params, **run.data.tags} for run in runs]
    names = [key["groupByData"] for key in groups]
    return max((len(", ".join(f"{name}: {one.get(name)}" for name in names)) for one in said), default=0)


def _column(metric: str) -> str:
    return f"metrics.`{metric}`"


def _chart(kind: str, metric: str, section: str) -> dict[str, Any]:
    """Return a chart as MLflow's page makes one for a metric; its page reads a chart without defaults."""
    chart = {
        "uuid": f"{section} {metric}",
        "type": kind,
        "metricKey": metric,
        "metricSectionId": section,
        "displayName": metric,
        "runsCountToCompare": 10,
        "deleted": False,
        "isGenerated": True,
    }
    if kind == "BAR":
        return chart
    return chart | {
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
