"""Which rows are kept: the paper's six filters and two others as named presets, and what each rule drops.

A preset is a set of rules on a row's tags, and then the longest answers (by characters). Rules that need no
answer can be applied before answering, where nearly all the cost is. The paper's sizes (300,000 longest of
1,000,000) are kept as shares of the raw set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError, nearest

Row = Mapping[str, Any]
QUALITY = ("very poor", "poor", "average", "good", "excellent")
DIFFICULTY = ("very easy", "easy", "medium", "hard", "very hard")
TAU_1, TAU_2 = -12.0, 0.0  # Table 5


@dataclass(frozen=True)
class Preset:
    """Rules on a row's tags; None asks for nothing. `share` is the part of the raw set that is kept, longest first."""

    text: str
    share: float | None = None
    quality: str | None = None  # this or better
    difficulty: str | None = None  # this or harder
    distance: float | None = None  # above this
    reward: float | None = None  # above this
    reward_difference: float | None = None  # above this
    first_of_group: bool = False
    no_colon: bool = False
    valid: bool = False
    half_easy: bool = False
    language: str | None = None


PRESETS: dict[str, Preset] = {
    "none": Preset("everything that was cleaned"),
    "valid": Preset(
        "sentences of 4 to 60 words that ended, each once: what a small model's set needs",
        valid=True,
        first_of_group=True,
    ),
    # Table 5, in the paper's order.
    "air": Preset("Air-Filter", 0.1, "good", "medium", 0.0, reward_difference=TAU_2),
    "pro": Preset("Pro-Filter: Magpie-Pro-300K-Filtered", 0.3, "average", None, 0.0, reward=TAU_1),
    "pro2": Preset("Pro-Filter2", 0.3, "good", "easy", 0.0, reward=TAU_1),
    "pro3": Preset("Pro-Filter3", 0.3, distance=0.0, reward=TAU_1),
    "pro4": Preset("Pro-Filter4", 0.3, "good", "easy", 0.0, reward_difference=TAU_2),
    "pro5": Preset("Pro-Filter5: no cut by length", None, "good", "easy", 0.0, reward=TAU_1),
    "pro6": Preset("Pro-Filter6: half easy, half harder", 0.2, distance=0.0, reward=TAU_1, half_easy=True),
    # The released notebook for Qwen2, which differs from the paper.
    "qwen2": Preset("the later notebook's", 0.3, "good", reward=-10.0, first_of_group=True, no_colon=True),
}

Rule = tuple[str, str, Callable[[Any, Row], bool]]  # (its name, the tag it reads, whether a row passes)


def rules(preset: Preset) -> list[Rule]:
    """Return the preset's rules, those that need no answer first."""
    found: list[Rule] = []
    if preset.valid:
        found.append(("valid", "valid", lambda value, row: bool(value)))
    if preset.no_colon:
        found.append(("ends with a colon", "instruction", lambda value, row: not value.endswith(":")))
    if preset.language is not None:
        found.append(("language", "language", lambda value, row: value == preset.language))
    if preset.first_of_group:
        found.append(("repeat", "first", lambda value, row: value == row["id"]))
    if preset.distance is not None:
        found.append(("distance", "distance", _above(preset.distance)))
    if preset.quality is not None:
        found.append(("quality", "quality", _at_least(QUALITY, preset.quality)))
    if preset.difficulty is not None:
        found.append(("difficulty", "difficulty", _at_least(DIFFICULTY, preset.difficulty)))
    if preset.half_easy:
        found.append(("difficulty", "difficulty", lambda value, row: value in DIFFICULTY))
    if preset.reward is not None:
        found.append(("reward", "reward", _above(preset.reward)))
    if preset.reward_difference is not None:
        found.append(("reward difference", "reward_difference", _above(preset.reward_difference)))
    return found


AFTER = ("reward", "reward_difference")  # tags of an answer


def select(
    rows: Iterable[Row],
    preset: str | Preset,
    *,
    when: str = "always",
    raw: int | None = None,
    dropped: Counter[str] | None = None,
) -> list[Row]:
    """Return the rows that a preset keeps, in their order.

    `when` is "before" (rules that need no answer), "after" (the others, and the longest) or "always".
    `raw` is the size of the set before anything was dropped (default: of `rows`); the kept share is of it.
    A row whose tag is null fails the rule; `dropped` counts rows by the first rule they failed. Ties in
    length fall to the earlier row. Raises UsageError for a tag that no row has.
    """
    rows = list(rows)
    chosen = preset_of(preset)
    counted: Counter[str] = Counter() if dropped is None else dropped
    wanted = [rule for rule in rules(chosen) if when == "always" or (rule[1] in AFTER) == (when == "after")]
    for name, tag, _ in wanted:
        if rows and all(row.get(tag) is None for row in rows):
            fix = FIX.get(tag, "tag the rows first")
            raise UsageError(
                f"the filter {chosen.text!r} asks for {name}, and no row has the tag {tag!r}: {fix}"
            )
    kept = []
    for row in rows:
        failed = next((name for name, tag, passes in wanted if not _passes(passes, row, tag)), None)
        if failed is None:
            kept.append(row)
        else:
            counted[failed] += 1
    if when != "before" and chosen.share is not None:
        size = round(chosen.share * (len(rows) if raw is None else raw))
        longest = _halves(kept, size) if chosen.half_easy else _longest(kept, size)
        counted["not among the longest"] += len(kept) - len(longest)
        kept = longest
    return kept


FIX = {
    "quality": "name a judge",
    "difficulty": "name a judge",
    "reward": "name a reward model",
    "reward_difference": "name the base model that the answers are compared with",
}


def preset_of(preset: str | Preset) -> Preset:
    """Return a preset by its name; UsageError for an unknown one."""
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise UsageError(f"no filter is called {preset!r}: {nearest(preset, PRESETS)}")
    return PRESETS[preset]


def _passes(passes: Callable[[Any, Row], bool], row: Row, tag: str) -> bool:
    return row.get(tag) is not None and passes(row[tag], row)


def _above(bound: float) -> Callable[[Any, Row], bool]:
    return lambda value, row: value > bound


def _at_least(scale: Sequence[str], label: str) -> Callable[[Any, Row], bool]:
    return lambda value, row: value in scale and scale.index(value) >= scale.index(label)


def _longest(rows: Sequence[Row], size: int) -> list[Row]:
    order = sorted(range(len(rows)), key=lambda i: (-len(rows[i].get("answer") or ""), i))
    return [rows[i] for i in sorted(order[:size])]


def _halves(rows: Sequence[Row], size: int) -> list[Row]:
    """Return the longest, half of them easy or very easy and half harder, in their order."""
    easy = {id(row) for row in rows if row.get("difficulty") in DIFFICULTY[:2]}
    harder = {id(row) for row in rows if row.get("difficulty") in DIFFICULTY[2:]}
    half = min(size // 2, len(easy), len(harder))
    chosen = {
        id(row)
        for group in (easy, harder)
        for row in _longest([row for row in rows if id(row) in group], half)
    }
    return [row for row in rows if id(row) in chosen]
