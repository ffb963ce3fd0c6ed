"""Whose a line of code is: a library's, the house's, or somebody's own."""

from __future__ import annotations

import functools
import os
import re
import sysconfig

import harness

STANDARD = sysconfig.get_path("stdlib") + os.sep
HOUSE = os.path.dirname(harness.__file__) + os.sep
# Of this environment, or of one that it stands on.
INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\]([^/\\]+)")


@functools.cache
def library_of(file: str) -> str:
    """Return the library that a file was installed with, links followed; "" for other files."""
    found = INSTALLED.search(os.path.realpath(file))
    return found[1].removesuffix(".py") if found else ""


def neither(file: str) -> bool:
    """Is a file neither a library's nor the house's?"""
    return not (library_of(file) or file.startswith((STANDARD, HOUSE, "<")))
