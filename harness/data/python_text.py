"""The small real text that every Python brings along: its language reference and its docstrings.

Documents are the entries of `pydoc_data.topics` and, per source file of the standard library, its
module's, classes' and functions' docstrings. About 2.3 million characters of technical English; it
differs between Python versions, so its digest belongs to any number measured on it.
"""

from __future__ import annotations

import ast
import json
import re
import sysconfig
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path

LICENCE = "PSF-2.0"
BLOCKS = (
    "body",
    "handlers",
    "orelse",
    "finalbody",
    "cases",
)  # what holds a statement's own, as they are written
LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages"}


def write(path: Path) -> None:
    """Write the text as jsonl, a document `{"id", "text"}` a line; exact duplicates once."""
    seen: set[str] = set()
    with path.open("w", encoding="utf-8") as file:
        for name, raw in (*_topics(), *_docstrings(Path(sysconfig.get_path("stdlib")))):
            text = re.sub(r"[^\n\x20-\x7e]", "", raw)  # printable ASCII and line breaks
            if text and text not in seen:
                seen.add(text)
                file.write(json.dumps({"id": name, "text": text}) + "\n")


def _topics() -> Iterator[tuple[str, str]]:
    from pydoc_data.topics import topics

    for name in sorted(topics):
        yield f"topics/{name}", topics[name]


def _docstrings(library: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library)
        if LEFT_OUT.isdisjoint(name.parts):
            yield f"docstrings/{name.as_posix()}", "\n\n".join(_docstrings_of(path))


def _docstrings_of(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old escapes: not our code
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # a file kept to show what is not Python
        return
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield a module's statements in the order of `ast.walk`, without what is within an expression: no docstring is."""
    left: deque[ast.AST] = deque([tree])
    while left:
        node = left.popleft()
        yield node
        for block in BLOCKS:
            left.extend(getattr(node, block, ()))
