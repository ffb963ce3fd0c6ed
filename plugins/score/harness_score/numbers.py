"""The number that a text states, exactly: a fraction, never a float.

    stated_number("... so 10 + 2 = 12\\n#### -1,234.50")  # Fraction(-2469, 2)

It is the first after the last of the marks `####`, "answer is" and `\\boxed` that a number follows (after the last
`=` of its sentence, where there is one), or else the last of the text. What is read: any minus sign, but none
within a range (10-20); thousands by commas, blanks, apostrophes or repeated points; decimals, behind a comma where
points or blanks part thousands; fractions, mixed ones and those of LaTeX; 2.5e3 and 2.5 x 10^3; digits of any script.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

MARK = re.compile(r"####|answer\s+is\b:?|\\boxed\b", re.IGNORECASE)
MOST = 4000  # digits of a number, about what Python reads at once
SIGNS = (
    dict.fromkeys("−‐‑‒–﹣˗➖", "-")
    | dict.fromkeys("⁄∕÷", "/")
    | dict.fromkeys("⋅·∙✕", "×")
    | {"﹢": "+", "٬": ",", "٫": ".", "٪": "%"}
)
RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+", strict=True))
WHOLE = (
    r"\d{1,3}(?:,\d{3})+(?![\d,]*\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d{1,3}(?:['’_]\d{3})+(?!\d)"
    r"|\d{1,3}(?:\.\d{3}){2,}(?!\d)|\d{1,3}(?:[ ]\d{3})+(?![\d/])(?![ ]?/)|\d+"
)
CONTINENTAL = re.compile(  # 1.234,56 and 1 234,5, where no other reading has a number
    r"(?<![\d.,])(?<!\d )(\d{1,3}(?:\.\d{3})+(?=,\d)|\d{1,3}(?: \d{3})+(?=,(?!\d{3}(?!\d))\d)),(\d+)(?![\d,]|\.\d)"
)
NUMBER = re.compile(
    rf"""(?<!\d)(?<!\d\.)  # not within a number or a version
    (?P<sign>(?:(?<![\w)\]}}%^.])[-+])?)(?:[$€£¥₩₹฿₽]\s?(?P<second>[-+]?))?
    (?:(?P<mixed>\d+)\s+(?P<over>\d+)\s?/\s?(?P<under>\d+)(?![\d/])
    |(?P<whole>{WHOLE})?(?P<decimals>\.\d+)?(?<=\d)
     (?:[eE](?P<e>[-+]?\d+)(?!\w)
       |\s?[×x*]\s?10\s?\^\s?(?P<ten>[-+]?\d+)
       |\s?\^\s?(?P<power>[-+]?\d+))?
     (?:\s?/\s?(?P<below>[-+]?(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)?)(?!\s?/)(?!\d))?)
    \s?(?P<percent>%?)""",
    re.VERBOSE,
)


def stated_number(text: str) -> Fraction | None:
    """Return the number that a text ends up with; None where it states none."""
    found = _stated(text)
    return found[0] if found else None


def same_number(expected: str, answer: str) -> bool:
    """Say whether an answer states the expected number; 18 % is 18 and 0.18, where the other has no % sign."""
    right, given = _stated(expected), _stated(answer)
    if right is None or given is None:
        return False
    one, other = ({value, value / 100} if percent and not both else {value}
                  for value, percent, both in ((*right, given[1]), (*given, right[1])))  # fmt: skip
    return bool(one & other)


def _stated(text: str) -> tuple[Fraction, bool] | None:
    """Return the stated number as it is written, and whether a % sign stands behind it."""
    text = plain(text)
    marks = [*MARK.finditer(text)]
    ends = [*(mark.start() for mark in marks), len(text)][1:]
    for mark, end in zip(reversed(marks), reversed(ends), strict=True):
        for clause in re.split(r"\n|\.(?=\s|$)", text[mark.end() : end]):
            clause = re.sub(r"^([\s:=(\[{*$]*)([-+])\s+", r"\1\2", clause)  # "#### - 3"
            after = clause.rpartition("=")[2]
            for part, which in ((after, 0), (clause, 0)):
                if found := _numbers(part):
                    return _value(found[which])
    found = _numbers(text)
    return _value(found[-1]) if found else None


def _numbers(text: str) -> list[re.Match[str]]:
    return [found for found in NUMBER.finditer(text) if any(sign.isdecimal() for sign in found[0])]


def _value(found: re.Match[str]) -> tuple[Fraction, bool] | None:
    """Return what a match says; None for a number of thousands of digits, and for one over nothing."""
    part = found.groupdict(default="")
    powers = [
        int(part[name]) if len(part[name]) < 6 else MOST + 1 for name in ("e", "ten", "power") if part[name]
    ]
    size = abs(powers[0]) * (len(part["whole"]) if part["power"] else 1) if powers else 0
    if len(found[0]) + size > MOST:
        return None
    try:
        if part["mixed"]:
            value = int(part["mixed"]) + Fraction(int(part["over"]), int(part["under"]))
        else:
            whole = re.sub(r"\D", "", part["whole"])
            value = Fraction(int(whole or 0))
            if part["decimals"]:
                value += Fraction(int(part["decimals"][1:]), 10 ** len(part["decimals"][1:]))
            if part["power"]:
                value **= powers[0]
            elif powers:
                value *= Fraction(10) ** powers[0]
            if part["below"]:
                value /= _decimal(part["below"])
    except ZeroDivisionError:
        return None
    minus = "-" in (part["sign"], part["second"])
    return -value if minus else value, bool(part["percent"])


def _decimal(text: str) -> Fraction:
    whole, _, rest = text.replace(",", "").partition(".")
    return Fraction(int(whole + rest), 10 ** len(rest))


def plain(text: str) -> str:
    """Return a text with LaTeX, raised digits, written fractions and the many dashes in plain signs."""
    text = "".join(map(_plain, re.sub(r"(?<=\d)(?=[¼-¾⅐-⅞↉])", " ", text)))
    text = CONTINENTAL.sub(lambda found: re.sub(r"[. ]", "", found[1]) + "." + found[2], text)
    text = re.sub(r"(?<=\d)\{,\}(?=\d)", ",", text)
    text = re.sub(r"\\[,;!: ]|~", " ", text)
    text = re.sub(r"\\left|\\right|\\(?=[$%])", "", text)
    text = re.sub(r"\\times|\\cdot", "×", text)
    text = re.sub(r"(?<=\d)\*\*(?=[-+]?\d)", "^", text)
    text = re.sub(r"\d+(?:/\d+){2,}", lambda date: date[0].replace("/", " & "), text)
    text = re.sub(r"\^\s?\{\s*([-+]?\d+)\s*\}", r"^\1", text)
    text = re.sub(
        r"([-+]\s*)?\\[dt]?frac\s*(?:\{\s*([-+]?[\d.,]+)\s*\}\s*\{\s*([-+]?[\d.,]+)\s*\}|(\d)\s*(\d))",
        _fraction,
        text,
    )
    text = re.sub(r"(?<![\w)])\(\s*([-+]?\d[\d.,]*)\s*\)(?=\s?/)", r"\1", text)
    text = re.sub(r"(?<=/)\s?\(\s*([-+]?\d[\d.,]*)\s*\)", r"\1", text)
    text = re.sub(r"([⁻⁺]?[⁰¹²³⁴-⁹]+)", _raised, text)
    return re.sub(r"(?<![\d)%]\s)\b(?:minus|negative)\s+(?=[$€£¥₩₹]?\d)", "-", text, flags=re.IGNORECASE)


def _plain(sign: str) -> str:
    """Return a sign as one of ASCII, where it stands for such."""
    if sign in SIGNS:
        return SIGNS[sign]
    if "！" <= sign <= "～":  # full width
        return chr(ord(sign) - 0xFEE0)
    if unicodedata.category(sign) == "Zs":
        return " "
    if (told := unicodedata.decomposition(sign)).startswith("<fraction>"):
        return "".join(chr(int(code, 16)) for code in told.split()[1:]).replace("⁄", "/")
    return sign


def _fraction(found: re.Match[str]) -> str:
    """Return a fraction of LaTeX as one of signs and slashes, one sign at most before it."""
    sign, over, under = found[1] or "", *((found[2], found[3]) if found[2] else (found[4], found[5]))
    signs = [part[0] for part in (sign, over, under) if part[:1] in ("-", "+")]
    sign = ("-" if signs.count("-") % 2 else "+") if signs else ""
    before = found.string[: found.start()][-1:]
    return f"{' ' if before.isdecimal() and not signs else ''}{sign}{over.lstrip('-+')}/{under.lstrip('-+')}"


def _raised(found: re.Match[str]) -> str:
    """Return a raised number as a power of the number before it; behind a unit (m²) it is no number."""
    before = found.string[: found.start()][-1:]
    return "^" + "".join(RAISED[sign] for sign in found[1]) if before.isdecimal() else ""
