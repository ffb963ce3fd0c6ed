"""Metrics over a setting: one that is declared stands for a member at each value of a list of the task.

`Metric(..., over="task.temperatures")` called `accuracy` is returned by `evaluate` as
`{"accuracy": {0.7: items, 1.5: items}}`. Its members are called `accuracy@0.7` and `accuracy@1.5` wherever a metric is
named: claims, figures, `tuned_by`, `--metric`, reports, the tracking store. A loaded paper knows the members of its
defaults and budgets; a run, a scorecard and a comparison those of their own task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from typing import Any

from harness.errors import HarnessError
from harness.papers.statement import Metric, Paper

TASK = "task."  # what the name of a family's setting begins with


def member(metric: str, value: Any) -> str:
    """Return what the member of a metric at `value` is called: `accuracy@1.5`; a whole number has no point."""
    whole = isinstance(value, float) and value.is_integer()
    return f"{metric}@{int(value) if whole else value}"


def members(metrics: Mapping[str, Metric], task: Any) -> dict[str, Metric]:
    """Return the metrics that runs of `task`, an instance or plain values, can return: families by their members."""
    found: dict[str, Metric] = {}
    for name, metric in metrics.items():
        if metric.over:
            found |= {member(name, value): _at(metric, value) for value in _values(task, metric)}
        elif not _family(metrics, name):
            found[name] = metric
    return found


def with_members(paper: Paper) -> Paper:
    """Return a paper that also knows its families' members, at the task's default values and at its budgets'."""
    if not is_dataclass(paper.task) or not any(metric.over for metric in paper.metrics.values()):
        return paper
    tasks = [paper.task(), *(overlay.get("task", {}) for overlay in paper.budgets.values())]
    found = dict(paper.metrics)
    for task in tasks:
        found |= members(paper.metrics, task)
    return replace(paper, metrics=found)


def metric_called(metrics: Mapping[str, Metric], name: str) -> Metric | None:
    """Return the metric of this name, also a member at a value that no default has; None where there is none."""
    family = _family(metrics, name)
    return metrics.get(name) or (_at(family, name.rpartition("@")[2]) if family else None)


def named(metrics: Mapping[str, Metric], returned: Mapping[str, Any], task: Any) -> Iterator[tuple[str, Any]]:
    """Yield what `evaluate` returned by the names of single metrics.

    Raises HarnessError for a family without its values, for a value that the setting lacks, and for values of
    what is no family.
    """
    for name, value in returned.items():
        family = metrics.get(name)
        over = family.over if family else ""
        if not isinstance(value, Mapping):
            if over:
                raise HarnessError(
                    f"evaluate returned one {name!r}, which has one for each of {over}: return a dict"
                )
            yield name, value
            continue
        if family is None or not over:
            raise HarnessError(
                f"evaluate returned a dict for {name!r}: declare it with Metric(over='task....')"
            )
        known = {member(name, index) for index in _values(task, family)}
        for index, one in value.items():
            if member(name, index) not in known:
                has = ", ".join(map(str, _values(task, family)))
                raise HarnessError(
                    f"evaluate returned {name!r} at {index}, and {over} has {has or 'no values'}: "
                    "return one at each of them"
                )
            yield member(name, index), one


def spread(metrics: Mapping[str, Metric], reasons: Mapping[str, str], task: Any) -> dict[str, str]:
    """Return reasons by the names of single metrics: one given for a family is that of all its members."""
    found: dict[str, str] = {}
    for name, reason in reasons.items():
        family = metrics.get(name)
        names = [member(name, v) for v in _values(task, family)] if family and family.over else [name]
        found |= dict.fromkeys(names, reason)
    return found


def problems(paper: Paper) -> Iterator[str]:
    """Yield what is wrong with a paper's families, and with what names one instead of a member, each with its fix."""
    default: Any = paper.task() if is_dataclass(paper.task) else {}
    families = {name: metric for name, metric in paper.metrics.items() if metric.over}
    for name, metric in families.items():
        if not _values(default, metric):
            yield f"the metric {name!r} is over {metric.over!r}: name a list of the task, as in task.temperatures"
    asked = [
        (f"the claim {claim.text!r}", metric)
        for claim in paper.claims
        for contrast in filter(None, (claim.contrast, claim.control))
        for metric in contrast.metrics
    ]
    for who, name in [*asked, ("tuned_by", paper.tuned_by)]:
        if name in families and (values := _values(default, families[name])):
            over = families[name].over
            yield f"{who} names {name!r}, which has one value for each of {over}: name {member(name, values[0])!r}"


def _family(metrics: Mapping[str, Metric], name: str) -> Metric | None:
    found = metrics.get(name.rpartition("@")[0])
    return found if found and found.over else None


def _values(task: Any, family: Metric) -> Sequence[Any]:
    """Return the values of a family's setting, none where the task has no such list."""
    if not family.over.startswith(TASK):
        return ()
    name = family.over.removeprefix(TASK)
    found = task.get(name) if isinstance(task, Mapping) else getattr(task, name, None)
    return found if isinstance(found, Sequence) and not isinstance(found, str) else ()


def _at(family: Metric, value: Any) -> Metric:
    return replace(family, over="", text=f"{family.text} ({family.over.removeprefix(TASK)}: {value})")
