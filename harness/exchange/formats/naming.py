"""How runs, trained models and data sets are called outside: names that are paths, ids and times there."""

from __future__ import annotations

import datetime
import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.papers.families import members
from harness.papers.statement import Metric, Paper
from harness.runs.results import Record
from harness.verdicts.origin import date
from harness.verdicts.rows import label_of

DEVELOPER = "paper-harness"  # of a model that a run trained: it is on no hub yet
HUB = re.compile(r"hub:(\w[\w.-]*(?:/\w[\w.-]*)?)(?:@([^#?]+))?(?:#([^?]*))?(?:\?.*)?", re.ASCII)
KEPT = 96  # characters of a name


@dataclass(frozen=True)
class HubSet:
    """A data set of the hub as a source names it."""

    id: str
    revision: str = ""
    part: str = ""  # config/split


def slug(text: str) -> str:
    """Return a name that is a file name on any system; two that would become one stay apart by a digest."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:KEPT]
    if (
        plain
        and plain == text
        and not re.fullmatch(r"(?i)con|prn|aux|nul|data|com\d|lpt\d", plain.split(".")[0])
    ):
        return plain
    return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}".lstrip("-")


def model_of(config: Mapping[str, Any]) -> str:
    """Return what the model of a run's method is called: `<paper>-<method>`."""
    return slug(f"{config['paper']}-{label_of(config)}")


def hub_set(source: str) -> HubSet | None:
    """Return which data set of the hub a source names; None for any other source, a local folder included."""
    found = HUB.fullmatch(source)
    return HubSet(*(part or "" for part in found.groups())) if found else None


def uuid_of(run_key: str) -> str:
    """Return a run's key as a UUID of version 4, the same at every export."""
    return str(uuid.UUID(hex=hashlib.sha256(run_key.encode()).hexdigest()[:32], version=4))


def moment(record: Record) -> datetime.datetime:
    """Return when a run ended, in UTC: as it says itself, else as its file does."""
    told = str(record.result.environment.get("date") or "")
    try:
        found = datetime.datetime.fromisoformat(told)
    except ValueError:
        found = datetime.datetime.fromisoformat(date(record))
    return found.replace(tzinfo=datetime.UTC) if found.tzinfo is None else found.astimezone(datetime.UTC)


def metrics_of(paper: Paper, config: Mapping[str, Any]) -> dict[str, Metric]:
    """Return the metrics of a run, those included that stand for one at each value of a setting."""
    single = {name: metric for name, metric in paper.metrics.items() if not metric.over}
    return {**single, **members(paper.metrics, config["task"])}
