"""Korean edits whose effect on the meaning is known: what should cost a summary little, and what should cost much.

`particles` keeps the meaning; `swap`, `negation`, `number` and `entity` break a fact. All are made by rules from
Kiwi's analysis, so they are constructed: cheap, exact, and no replacement for judgments by people.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from harness_rdass.overlap import kiwi, normal

# Subject and topic particles stand for each other; object and genitive ones can be left out; some adverbial ones
# have a twin, or can take a topic particle. Tags: Sejong's.
PARTICLES = {
    ("이", "JKS"): "은", ("가", "JKS"): "는", ("은", "JX"): "이", ("는", "JX"): "가",
    ("을", "JKO"): "", ("를", "JKO"): "", ("의", "JKG"): "", ("에게", "JKB"): "한테",
    ("에", "JKB"): "에는", ("에서", "JKB"): "에서는", ("와", "JKB"): "하고", ("과", "JKB"): "하고",
    ("와", "JC"): "하고", ("과", "JC"): "하고",
}  # fmt: skip
STEMS = ("VV", "VA", "VX", "XSV", "XSA")
NAMES = ("NNP", "SL")  # proper nouns, words in Latin letters


def particles(text: str) -> str:
    """Change or drop particles only: another way to say the same."""
    text = normal(text)
    tokens = kiwi().tokenize(text)
    for i in reversed(range(len(tokens))):
        token, before, after = tokens[i], tokens[i - 1], tokens[min(i + 1, len(tokens) - 1)]
        if (token.form, token.tag) not in PARTICLES or text[token.start : token.end] != token.form:
            continue
        changed = PARTICLES[token.form, token.tag]
        if token.tag == "JX" and before.tag.startswith("J"):
            changed = ""  # 에서는 -> 에서
        elif after.tag == "JX" and after.start == token.end:
            changed = token.form  # its topic particle goes
        text = text[: token.start] + changed + text[token.end :]
    return text


def negation(text: str) -> str:
    """Negate the last verb of a sentence, or its copula; unchanged where it ends without one."""
    text = normal(text)
    tokens = kiwi().tokenize(text)
    last = max((i for i, t in enumerate(tokens) if t.tag == "EF"), default=-1)
    stem = last - 1
    while stem >= 0 and tokens[stem].tag == "EP":  # tense and honorifics stand between stem and ending
        stem -= 1
    if stem < 0:
        return text
    tag = tokens[stem].tag.split("-")[0]  # -R and -I tell regular from irregular
    tail = [(t.form, t.tag) for t in tokens[stem + 1 : last + 1]]
    if tag == "VCP" and stem > 0:
        stem -= 1  # the noun decides between 이 and 가
        parts = [(tokens[stem].form, tokens[stem].tag), ("이", "JKS"), ("아니", "VCN"), *tail]
    elif tag in STEMS:
        parts = [(tokens[stem].form, tokens[stem].tag), ("지", "EC"), ("않", "VX"), *tail]
    else:
        return text
    return text[: tokens[stem].start] + kiwi().join(parts) + text[tokens[last].end :]


def number(text: str, random: Random) -> str:
    """Change every digit, so that every number is another one."""

    def another(digit: re.Match[str]) -> str:
        first = digit.start() == 0 or not text[digit.start() - 1].isdigit()
        return random.choice([d for d in "0123456789"[first:] if d != digit[0]])  # no leading zero

    return re.sub(r"[0-9]", another, text)


def names(text: str) -> list[str]:
    """Return the distinct proper nouns and foreign words of a text, in order."""
    text = normal(text)
    found = [text[t.start : t.end] for t in kiwi().tokenize(text) if t.tag in NAMES]
    return list(dict.fromkeys(name for name in found if len(name) > 1))


def entity(text: str, others: Sequence[str], random: Random) -> str:
    """Replace the first name wherever it stands by one of `others`; unchanged where there is none."""
    text = normal(text)
    own = names(text)
    choices = [name for name in others if name not in own]
    return text.replace(own[0], random.choice(choices)) if own and choices else text


def swap(text: str, others: Sequence[str], share: float, random: Random) -> str:
    """Replace a share of the words by words of another text, and change all numbers."""
    words = text.split()
    for place in random.sample(range(len(words)), max(1, round(share * len(words)))):
        words[place] = random.choice(others)
    return number(" ".join(words), random)


def exchanged(text: str, first: str, second: str) -> str:
    """Let two names change places."""
    both = {first.lower(): second, second.lower(): first}
    pattern = rf"\b({re.escape(first)}|{re.escape(second)})\b"
    return re.sub(pattern, lambda name: both[name[0].lower()], text, flags=re.IGNORECASE)
