"""Errors meant for a person: one sentence that names the thing and the mend."""


class HarnessError(Exception):
    """A run could not go on. Shown as its message alone, without a traceback; exit code 1."""

    exit_code = 1


class UsageError(HarnessError):
    """What was typed cannot be done as it stands; exit code 2."""

    exit_code = 2


def nearest(name: str, known: object) -> str:
    """Return ", did you mean X?" or the list of what is known: the tail of an error message."""
    import difflib

    names = sorted(str(k) for k in known)  # type: ignore[attr-defined]
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}" if names else "none is known"
