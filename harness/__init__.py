"""A benchmark harness for methods: a paper's claims, judged on your machine, model and data.

What a plugin author imports is here, and importing it is cheap.
"""

import os
from typing import TYPE_CHECKING

from harness.moved import follow
from harness.papers.hookspecs import hookimpl
from harness.papers.lazy import lazy
from harness.papers.statement import (
    Bound,
    Claim,
    Contrast,
    Figure,
    Items,
    Method,
    Metric,
    Origin,
    Paper,
    Plan,
    Reported,
    Seen,
    difference,
    level,
    order,
    ratio,
    setting,
    share,
    source,
    wins,
)

if TYPE_CHECKING:
    from harness.runs.run import Run

__getattr__ = lazy(__name__, {"Run": "runs.run"})

__all__ = [
    "Bound",
    "Claim",
    "Contrast",
    "Figure",
    "Items",
    "Method",
    "Metric",
    "Origin",
    "Paper",
    "Plan",
    "Reported",
    "Run",
    "Seen",
    "difference",
    "hookimpl",
    "lazy",
    "level",
    "order",
    "ratio",
    "setting",
    "share",
    "source",
    "wins",
]

for _name in ("MLFLOW_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_name, "true")  # nothing that reports home has been imported yet

follow()
