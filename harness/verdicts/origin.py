"""Where a scorecard's runs and bounds come from: the command, the day, the machine, the scale, the data seen."""

from __future__ import annotations

import dataclasses
import re
import shlex
import time
from collections.abc import Iterable, Mapping
from typing import Any

from harness.papers.statement import Bound, Origin, Paper
from harness.runs.results import RESULT, Record

INSIDE = 3  # values of a setting, from which on its grid has more than ends


def command(paper_name: str, paper: Paper, config: Mapping[str, Any]) -> str:
    """Return the command that makes runs of this setting: the experiment, and what differs from it."""
    overlay = paper.budgets.get(config["budget"], {})
    words = ["harness", "run", "-m", f"+experiment={paper_name}", f"budget={config['budget']}"]
    for group, cls in (("data", paper.data), ("task", paper.task)):
        stated = {f.name: getattr(cls(), f.name) for f in dataclasses.fields(cls)} | dict(
            overlay.get(group, {})
        )
        for name, value in config[group].items():
            if name in stated and not _same(value, stated[name]):
                words.append(f"{group}.{name}={_plain(value)}")
    if config["model"] and config["model"] != paper.model:
        words.append(f"model={config['model']}")
    return shlex.join(words)


def _same(recorded: Any, stated: Any) -> bool:
    return _plain(recorded) == _plain(getattr(stated, "name", stated))


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_plain, value))}]"
    return "null" if value is None else str(value)


def note(budget: str) -> str:
    """Return the sentence that keeps a verdict at one scale from being read as another's."""
    if budget == "smoke":
        return "Smoke runs: tiny models that show that the code works. They are no evidence for or against a claim."
    if budget == "full":
        return "Measured at full scale, with the settings that the plugin takes from the paper."
    return (
        f"Measured at {budget} scale: the verdicts are about the direction of each claim at this scale. "
        "This is not a reproduction of the paper's numbers."
    )


def date(record: Record) -> str:
    """Return the day a run ended: as it says itself, else as its file does."""
    known = record.result.environment.get("date")
    if known:
        return str(known)[:10]
    return time.strftime("%Y-%m-%d", time.gmtime((record.folder / RESULT).stat().st_mtime))


def machine(record: Record) -> str:
    """Return the machine in a few words: processor or device, cores, Python and torch."""
    environment = record.result.environment
    packages = environment.get("packages", {})
    parts = [
        str(environment.get("processor") or environment.get("device") or environment.get("machine") or ""),
        f"{environment['cores']} cores" if environment.get("cores") else "",
        f"Python {environment['python']}" if environment.get("python") else "",
        f"torch {packages['torch']}" if packages.get("torch") else "",
    ]
    return ", ".join(part for part in parts if part)


def sources(data: Mapping[str, str], digests: Mapping[str, str], command: str) -> set[str]:
    """Return every name by which the judged data go: source, file, digest, and what the command sets."""
    names = {str(source) for source in data.values() if source}
    files = {re.split(r"[/:]", name.rstrip("/"))[-1] for name in names}
    stems = {file.rpartition(".")[0] for file in files}
    drawn = {word for word in shlex.split(command) if word.startswith("task.")}
    return {name for name in {*names, *files, *stems, *drawn, *digests.values()} if name}


def prototype_saw(bound: Bound, judged: Iterable[str]) -> bool:
    """Say whether a prototype's bound names data that now judge the claim, by a name or a digest."""
    if bound.origin is not Origin.PROTOTYPE:
        return False
    told = f" {_words(bound.data)} "
    digests = re.findall(r"\b[0-9a-f]{8,64}\b", bound.data)
    return any(
        f" {_words(name)} " in told or any(name.startswith(digest) for digest in digests) for name in judged
    )


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def chosen_of(runs: Mapping[int, Record], better: str) -> dict[str, Any] | None:
    """Return what a method's grid chose by its newest run, as `chosen`, and which seeds have another choice.

    `others` lists settings with their `seeds`, none where all seeds have one: a grid may have been widened between two.
    """
    newest = max(runs.values(), key=date).result.config
    found = chosen(newest.get("tuned") or {}, better)
    if found is None:
        return None
    others: list[dict[str, Any]] = []
    for seed, record in sorted(runs.items()):
        setting = (record.result.config.get("tuned") or {}).get("chosen")
        if not setting or setting == found["setting"]:
            continue
        same = next((one for one in others if one["setting"] == setting), None)
        if same is None:
            others.append(same := {"setting": setting, "seeds": []})
        same["seeds"].append(seed)
    return {**found, "others": others}


def chosen(tuned: Mapping[str, Any], better: str) -> dict[str, Any] | None:
    """Return a grid's choice as plain data, from what a run keeps of its tuning; None where there was none.

    `by` is the metric that chose, `setting` what it chose and `value` its validation score; `next` is the best other
    setting and `next_value` its score, None where no other one ended well. `ends` maps each setting whose choice
    lies at an end of its grid to the values that were tried, in order: what lies beyond may be better. `better` says
    which scores are.
    """
    setting, scores = tuned.get("chosen"), tuned.get("scores")
    if not setting or not scores:
        return None
    points = [({name: point.get(name) for name in setting}, point.get("validation")) for point in scores]
    others = [(value, point) for point, value in points if point != setting and _number(value)]
    best = max if better == "higher" else min
    after, beside = best(others, key=lambda scored: scored[0], default=(None, None))
    tried = {
        name: sorted({point[name] for point, _ in points})
        for name in setting
        if all(_number(point[name]) for point, _ in points)
    }
    return {
        "by": tuned.get("by", ""),
        "setting": setting,
        "value": next((value for point, value in points if point == setting and _number(value)), None),
        "next": beside,
        "next_value": after,
        "ends": {
            name: values
            for name, values in tried.items()
            if len(values) >= INSIDE and setting[name] in (values[0], values[-1])
        },
    }


def _number(value: Any) -> bool:
    return type(value) in (int, float)
