"""Errors meant for a person: one sentence that names the thing and the fix, "what is wrong: what to do".

What a sentence quotes may come from data, from a library or from a command line: it reaches a terminal
or a file without control codes, and without the user and password of an address.
"""

import re

from harness.numbers import printable

# A user may have typed a password with a slash in it; `host:5000/` is no user.
USER = re.compile(r"(?<=://)(?:[^\s/?#]*|[^\s/@:]+:(?!\d+/)\S*)@")
MANY, FEW = 16, 5  # names that are no longer all listed, and how many then are
FIX = re.compile(r": ((?:known: |the nearest of [\d,]+: )?(?:(?!: ).)*)$")  # all that follows the last colon
SECRET = re.compile(r"(?<=[?&])((?:ssl)?password|passwd|pwd|token)=[^&\s'\"]*", re.IGNORECASE)


class HarnessError(Exception):
    """A run could not go on. Shown as its message alone, without a traceback; exit code 1."""

    exit_code = 1
    kind = ""  # what a failed run's result calls it; "" is the name of the class

    def __str__(self) -> str:
        return printable(masked(super().__str__()))

    @property
    def fix(self) -> str:
        """What to do: what the sentence says after its last colon, a list of what is known included."""
        found = FIX.search(str(self))
        return found.group(1) if found else ""


class UsageError(HarnessError):
    """What was typed cannot be done as it stands; exit code 2."""

    exit_code = 2


class Stopped(BaseException):
    """A signal asks this command to end: it passes whatever handles failures, up to the command line.

    `stands` says what is done by now, `fix` how to go on.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.stands = "what is finished is kept"
        self.fix = "repeat the command; it takes up what it had kept, if anything"


def masked(text: str) -> str:
    """Return text without the user part and the passwords of the addresses in it."""
    return SECRET.sub(r"\1=***", USER.sub("***@", text))


def said(error: BaseException) -> str:
    """Return any error's message as one line that is fit for a terminal and for a file."""
    return printable(masked(" ".join(str(error).split())))


def nearest(name: str, known: object) -> str:
    """Return "did you mean X?" or what is known, of many names the nearest few: the tail of an error message."""
    import difflib

    names = sorted(str(k) for k in known)  # type: ignore[attr-defined]
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    if len(names) > MANY:
        few = difflib.get_close_matches(name, names, n=FEW, cutoff=0)
        return f"the nearest of {len(names)}: {', '.join(few)}"
    return f"known: {', '.join(names)}" if names else "none is known"
