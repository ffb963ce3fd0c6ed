"""From what a model wrote after the template to an instruction: where to cut, and what was cut by which rule.

`official` does what the released scripts do: everything ends at the first line break, and at the word
"assistant" wherever it stands ("I want to build a virtual"). `whole` keeps all lines; it cuts where a line
is the name of a role, and where the model begins to answer itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import regex

from harness.errors import UsageError, nearest
from harness.nn.turns import ending

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

    `stop_texts` are the words that end a turn in templates without role tokens ("[/INST]", "ASSISTANT:", "### 응답:";
    `harness.nn.turns`). Raises UsageError.
    """
    if mode not in MODES:
        raise UsageError(f"mode={mode} is not known: {nearest(mode, MODES)}")
    body = text.lstrip() if mode == "whole" else text.lstrip(" ")
    places = [(ending(body, stop_texts), "stop text")]
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

    In scripts other than Latin one word fewer is enough: without articles and copulas three words say what four do
    in English. A sentence ends with a mark of its script (quotation marks and brackets may close behind it), in
    Thai and Lao without one. Nine in ten signs are letters, digits or marks.
    """
    latin = sum(_latin(sign) for sign in text if sign.isalpha()) * 2 >= sum(map(str.isalpha, text))
    if not ended or not least - (not latin) <= words(text) <= most:
        return False
    readable = sum(sign.isalnum() or sign.isspace() or sign in MARKS or _marks(sign) for sign in text)
    return bool(ENDED.search(text)) and readable >= 0.9 * len(text)


def words(text: str) -> int:
    """Return how many words a text has; where a script has no blanks between them, about how many.

    There a word is so many letters: 1.5 Chinese characters, 2.5 kana, 3.5 letters of Thai, Lao, Khmer or Burmese,
    2.3 of Tibetan (marks above and below not counted). A text with blanks alone has as many words as `str.split` finds.
    """
    number = 0.0
    for part in text.split():
        dense = Counter(script for sign in part if sign.isalpha() for script in (_dense(sign),) if script)
        if not dense:
            number += 1
            continue
        number += sum(count / LETTERS[script] for script, count in dense.items())
        number += len(RUN.findall("".join(" " if _dense(sign) else sign for sign in part)))
    return int(number)


# Letters a word, by the first word of a letter's name in Unicode: scripts that put no blanks between words.
LETTERS = {
    "CJK": 1.5, "HIRAGANA": 2.5, "KATAKANA": 2.5, "KATAKANA-HIRAGANA": 2.5, "BOPOMOFO": 2.5, "THAI": 3.5,
    "LAO": 3.5, "KHMER": 3.5, "MYANMAR": 3.5, "TIBETAN": 2.3,
}  # fmt: skip
RUN = re.compile(r"\w+")  # a word of another script amid such letters
MARKS = set(".,;:?!'\"()-/%$+=*&@#<>[]_`’“”—…。、？！«»¿¡")
CLOSING = re.escape("\"'`*)]}>’”»」』】）］｣〉》〕")
ENDED = regex.compile(  # Greek asks with a semicolon
    rf"(?:\p{{Sentence_Terminal}}|[།༎]|(?<=\p{{Greek}})[;\u037e]|(?:\p{{Thai}}|\p{{Lao}}|ฯ|ๆ))[{CLOSING}]*\Z"
)


def _dense(sign: str) -> str:
    script = unicodedata.name(sign, "").partition(" ")[0]
    return script if script in LETTERS else ""


def _latin(sign: str) -> bool:
    return unicodedata.name(sign, "").startswith("LATIN")


def _marks(sign: str) -> bool:
    """Say whether a sign belongs to writing as letters do: a vowel sign, or a mark of another script."""
    kind = unicodedata.category(sign)
    return kind[0] == "M" or (kind[0] == "P" and ord(sign) >= 0x370)
