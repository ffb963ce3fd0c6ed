"""Looks: judging again after more seeds, without more errors than one look has.

A 95 % interval that is looked at after every few seeds is wrong three times as often as it says. Two rules keep
the promise. Declared looks (a `Plan`, written down before the first run) share out the 5 %: each look asks for
the nominal level that the joint null distribution of the t statistics gives it, which no variance enters; a plan
of one look is the usual rule. Looks that nobody declared are judged by the e-process of the t statistic (a
normal mixture, invariant in scale), which holds at all looks together, however many. Seeds and items
are judged as ever, at the look's nominal level. `Memory` knows a results folder's plans and former looks.
"""

from harness.verdicts.looks.memory import Memory, plan_file, read_lines, read_plan, setting_of, signed
from harness.verdicts.looks.null import (
    ALPHA,
    LOOKS,
    PATHS,
    anytime,
    calibrated,
    checked,
    critical,
    evidence,
    levels,
    sequential,
    shares,
    statistics,
)
from harness.verdicts.looks.rules import Plan, by_plan, chance, decided, planned, unplanned

__all__ = [
    "ALPHA",
    "LOOKS",
    "PATHS",
    "Memory",
    "Plan",
    "anytime",
    "by_plan",
    "calibrated",
    "chance",
    "checked",
    "critical",
    "decided",
    "evidence",
    "levels",
    "plan_file",
    "planned",
    "read_lines",
    "read_plan",
    "sequential",
    "setting_of",
    "shares",
    "signed",
    "statistics",
    "unplanned",
]
