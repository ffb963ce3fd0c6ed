"""A report in Korean: `korean.yaml` has each sentence that the harness says, with what it is in Korean.

A text is taken sentence by sentence; names, numbers and what a paper says itself stay as they are, and so does
a sentence that is not here. A blank in braces is what varies; it is looked up as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from harness.errors import UsageError, nearest

BLANK = re.compile(r"\\\{(\w+)\\\}")
BLANKS = {
    "count": "[0-9,]+",
    "target": r"(?:a factor of )?\S+",
    "metric": r"\S+",
    "method": r"\S+",
    "than": r"\S+",
}
END = r"\. (?=[A-Z0-9“‘])"  # of a sentence within a text
Say = Callable[[str], str]


def language(name: str) -> Say:
    """Return what says a text in a language: "en" as it is, "ko" in Korean. Raises UsageError for another one."""
    known: dict[str, Say] = {"en": str, "ko": korean}
    if name not in known:
        raise UsageError(f"--lang {name}: {nearest(name, known)}")
    return known[name]


def korean(text: str) -> str:
    """Return a text in Korean, sentence by sentence; what is not known stays."""
    parts = re.split(rf"(?<=\.){END[2:]}", text)
    if len(parts) > 1:
        return " ".join(map(korean, parts))
    if text.endswith("."):
        return f"{korean(text[:-1])}."
    said = _said(text)
    if said != text or not re.match(r"\d+ [a-z ]+(, |$)", text):
        return said
    return ", ".join(map(_counted, text.split(", ")))


def _counted(text: str) -> str:
    """Return `3 hold` as `성립 3`."""
    found = re.fullmatch(r"(\d+) (.+)", text)
    return f"{_said(found[2])} {found[1]}" if found and found[2] in _sentences() else text


def _said(text: str) -> str:
    """Return one sentence in Korean, as it is where it is not known."""
    if text in _sentences():
        return _sentences()[text]
    for pattern, said in _patterns():
        if found := pattern.fullmatch(text):
            return said.format(**{name: korean(value) for name, value in found.groupdict().items()})
    return text


def _blank(found: re.Match[str]) -> str:
    """Return what may stand in a blank: something within one sentence, or what its name says."""
    return f"(?P<{found[1]}>{BLANKS.get(found[1], f'(?:(?!{END}).)+?')})"


@cache
def _sentences() -> dict[str, str]:
    import yaml

    text = Path(__file__).with_name("korean.yaml").read_text(encoding="utf-8")
    return dict(yaml.load(text, yaml.CSafeLoader))


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Return the sentences with blanks, those with most of their own words first."""
    with_blanks = sorted(
        (key for key in _sentences() if "{" in key), key=lambda key: -len(re.sub(r"\{\w+\}", "", key))
    )
    return [
        (re.compile(BLANK.sub(_blank, re.escape(key)), re.IGNORECASE), _sentences()[key])
        for key in with_blanks
    ]
