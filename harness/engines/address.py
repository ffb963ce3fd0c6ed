"""Where a server listens, which of its models is meant, and the key: from the environment alone, kept nowhere.

`http://host:8000#my-model` names the server and, behind #, the model by the server's own name. What is computed
depends on that name and not on the host, so only the name decides a run (`decides`).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from harness.errors import UsageError, masked

KEY = "HARNESS_ENGINE_KEY"  # the environment variable


@dataclass(frozen=True)
class Address:
    """The `base` of a server's routes, as in http://host:8000/v1, and the name of a model there, or ""."""

    base: str
    served: str = ""


def is_address(word: str) -> bool:
    """Say whether a word is the address of a server."""
    return word.lower().startswith(("http://", "https://"))


def address(word: str) -> Address:
    """Read http://host:port[/path][#name]; /v1 is added where there is no path.

    Raises UsageError for what is no address, and for one that holds a secret.
    """
    place, _, served = word.strip().partition("#")
    try:
        parts = urlsplit(place)
        there = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        there = False
    if not is_address(place) or not there or re.search(r"\s", place):
        raise UsageError(f"{masked(word)!r} is no address of a server: write http://host:8000[#its-model]")
    if "@" in parts.netloc or parts.query:
        raise UsageError(
            f"the address {masked(place).partition('?')[0]} holds a user, a password or a query: leave them out, "
            f"and set {KEY} where the server wants a key"
        )
    path = re.sub(r"/(completions|embeddings|models)$", "", parts.path.rstrip("/"))
    return Address(f"{parts.scheme.lower()}://{parts.netloc}{path or '/v1'}", served.strip())


def decides(value: Any) -> Any:
    """Return what of a setting decides a run: of an address the model behind #, of anything else all of it."""
    if isinstance(value, str) and is_address(value):
        return f"a server#{value.partition('#')[2].strip()}"
    return value


def key() -> str:
    """Return the key that servers are shown; "" without one. Raises UsageError for what cannot be one."""
    found = os.environ.get(KEY, "").strip()
    if not re.fullmatch(r"[!-~]*", found):
        raise UsageError(f"{KEY} holds a blank or a character that no key has: set it anew")
    return found
