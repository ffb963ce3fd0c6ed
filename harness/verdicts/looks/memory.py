"""What a results folder remembers of looks: plans that were declared, and the seeds that `report` has judged."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.papers.statement import Claim, Metric
from harness.runs.files import digest
from harness.verdicts.claims import usual
from harness.verdicts.looks.null import anytime, levels
from harness.verdicts.looks.rules import Plan, by_plan, unplanned
from harness.verdicts.pairs import paired
from harness.verdicts.stats import LEVEL, SEEDS, Cell, Interval


def setting_of(config: Mapping[str, Any]) -> str:
    """Return the name of the setting that a run was made in: what one scorecard holds."""
    return digest([config[key] for key in ("paper", "budget", "device", "precision", "task_digest")])[:16]


class Memory:
    """The plans and the former looks of a results folder; without a folder, none."""

    def __init__(self, results: Path | None = None) -> None:
        self.results = results
        self.new: list[dict[str, Any]] = []
        self.plans: dict[str, Plan | None] = {}
        self.before: dict[tuple[str, str], list[list[int]]] = {}
        for line in read_lines(results / "looks.jsonl") if results else ():
            self.before.setdefault((line["setting"], line["claim"]), []).append(line["seeds"])

    def estimate(
        self,
        config: Mapping[str, Any],
        claim: Claim,
        metrics: Mapping[str, Metric],
        cells: Sequence[Cell],
    ) -> Interval:
        """Return a claim's interval in the setting of `config`, by the rule that its looks allow."""
        if self.results is None or config["budget"] == "smoke":
            return usual(claim, metrics, cells)
        setting = setting_of(config)
        plan = self.plan(setting)
        if plan is not None and claim.text in plan.claims:
            return by_plan(plan, claim, metrics, cells)
        before = self.before.get((setting, claim.text), [])
        found = unplanned(before, claim, metrics, cells)
        self._note(config, setting, claim, cells, before)
        return found

    def level(self, config: Mapping[str, Any], seeds: int) -> float:
        """Return the level of intervals over so many seeds in a setting, of places and comparisons.

        That of the latest look which a plan allows them; after looks that nobody declared, the e-process's.
        """
        if self.results is None or config["budget"] == "smoke":
            return LEVEL
        plan = self.plan(setting_of(config))
        if plan is not None and not plan.changed:
            nominal = levels(plan.looks, plan.spending)
            look = max((k for k, n in enumerate(plan.looks) if n <= seeds), default=0)
            return 1 - nominal[look]
        setting = setting_of(config)
        fewer = [
            s for (name, _), looks in self.before.items() if name == setting for s in looks if len(s) < seeds
        ]
        return 1 - anytime(seeds) if fewer or plan is not None else LEVEL

    def plan(self, setting: str) -> Plan | None:
        """Return a setting's declared plan."""
        if setting not in self.plans and self.results is not None:
            self.plans[setting] = read_plan(plan_file(self.results, setting))
        return self.plans.get(setting)

    def _note(
        self,
        config: Mapping[str, Any],
        setting: str,
        claim: Claim,
        cells: Sequence[Cell],
        before: Sequence[Sequence[int]],
    ) -> None:
        """Keep that a claim was looked at now, unless these seeds were looked at before."""
        now = list(paired(cells))
        if len(now) >= SEEDS and now not in before:
            about = {key: config[key] for key in ("paper", "budget")}
            date = datetime.date.today().isoformat()
            self.new.append({"date": date, **about, "setting": setting, "claim": claim.text, "seeds": now})

    def write(self) -> None:
        """Append the new looks to the folder's log; a folder that may only be read stays as it is."""
        if self.results is None or not self.new:
            return
        try:
            with (self.results / "looks.jsonl").open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self.new))
        except OSError as error:
            print(
                f"harness: this look is not remembered: {self.results / 'looks.jsonl'} cannot be written "
                f"({error.strerror})",
                file=sys.stderr,
            )
        self.new = []


def plan_file(results: Path, setting: str) -> Path:
    """Return where a setting's declared plan is."""
    return results / "plans" / f"{setting}.json"


def read_plan(path: Path) -> Plan | None:
    """Return a declared plan, or None where there is none. One edited by hand counts as changed."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    changed = [f"the plan was changed on {c['date']}, after a look: {c['what']}" for c in found["changed"]]
    if found["digest"] != signed(found):
        changed.append("the plan's file is not as it was declared")
    return Plan(
        tuple(found["looks"]),
        found["spending"],
        found["first_seed"],
        tuple(found["claims"]),
        found["date"],
        tuple(changed),
    )


def signed(declared: Mapping[str, Any]) -> str:
    """Return the digest of all that a plan declares."""
    return digest({k: v for k, v in declared.items() if k not in ("digest", "changed")})


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a log of one JSON value a line; a torn last line is left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines
