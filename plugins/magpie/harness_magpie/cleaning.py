"""From what a model wrote after the template to an instruction: where to cut, and what was cut by which rule.

`official` does what the released scripts do: everything ends at the first line break, and at the word
"assistant" wherever it stands ("I want to build a virtual"). `whole` keeps all lines; it cuts where a line
is the name of a role, and where the model begins to answer itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import UsageError, nearest

MODES = ("official", "whole")
ROLE_LINE = re.compile(r"^\W*(assistant|user|system|model)\W*$", re.IGNORECASE | re.MULTILINE)
ANSWER = re.compile(
    r"^(answer|response|output|solution|assistant|ai)\s*:|^(sure|certainly|of course|absolutely)\b[,!.]|"
    r"^(here is|here are|here's|i'm sorry|as an ai)\b",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True)
class Cleaned:
    """An instruction, and the rule that cut it: "", "line break", "assistant", "role line", "answer", "stop text"."""

    text: str
    cut: str = ""


def clean(text: str, mode: str = "whole", stop_texts: Sequence[str] = ()) -> Cleaned:
    """Return the instruction in `text` and the rule that cut it, the earliest one where several would.

    `stop_texts` are what ends a turn in templates without role tokens ("[/INST]"). Raises UsageError.
    """
    if mode not in MODES:
        raise UsageError(f"mode={mode} is not known: {nearest(mode, MODES)}")
    body = text.lstrip() if mode == "whole" else text.lstrip(" ")
    places = [(body.find(stop), "stop text") for stop in stop_texts]
    if mode == "official":
        places += [(body.find("\n"), "line break"), (body.find("assistant"), "assistant")]
    else:
        role = ROLE_LINE.search(body)
        # An instruction may begin like an answer; only a later line is the model's own reply.
        second = body.find("\n") + 1
        answer = ANSWER.search(body, second) if second else None
        places += [
            (found.start(), rule) for found, rule in ((role, "role line"), (answer, "answer")) if found
        ]
    found_at = [(place, rule) for place, rule in places if place >= 0]
    if not found_at:
        return Cleaned(body.strip())
    place, rule = min(found_at)
    return Cleaned(body[:place].strip(), rule)


def is_valid(text: str, ended: bool = True, least: int = 4, most: int = 60) -> bool:
    """Return whether this is a usable request: ended, `least` to `most` words, a sentence, in letters one reads.

    The last sign is one of . ? ! (also the full-width ones); nine in ten signs are letters, digits or marks.
    """
    words = len(text.split())
    if not ended or not least <= words <= most:
        return False
    readable = sum(sign.isalnum() or sign.isspace() or sign in MARKS for sign in text)
    return text[-1] in ".?!。？！" and readable >= 0.9 * len(text)


MARKS = set(".,;:?!'\"()-/%$+=*&@#<>[]_`’“”—…。、？！")
