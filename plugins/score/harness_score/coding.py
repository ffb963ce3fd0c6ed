"""Code problems: what is asked of a row, the program in an answer, and whether its tests pass.

A row is MBPP's (`text`, `test_list`, `test_setup_code`; sanitized: `prompt`, `test_list`, `test_imports`), HumanEval's
(`prompt`, `test`, `entry_point`), or one's own (`problem`, `tests`: statements of Python, one text or several, and
`setup`). Tests run in `harness_score.sandbox`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import UsageError
from harness_score.sandbox import Program

BLOCK = re.compile(  # with what stands before the fence, the fence and its language
    r"^([ \t]*)(```|~~~)[`~]*[ \t]*([^\n`]*)\n(.*?)(?:\2|\Z)|\[BEGIN\](.*?)(?:\[DONE\]|\Z)",
    re.DOTALL | re.MULTILINE,
)
PYTHON = re.compile(r"\{?\.?(?:py|$)", re.IGNORECASE)  # Python, py3, {.python}, or no language at all


def asked(row: Mapping[str, Any]) -> str | None:
    """Return what a row asks, as a text with the tests that MBPP shows; None where it is no code problem."""
    if row.get("test") and row.get("entry_point") and row.get("prompt"):
        return f"Complete this function:\n\n{row['prompt'].strip()}"
    text = next((row[name] for name in ("problem", "question", "text", "prompt") if row.get(name)), None)
    tests = statements(row)
    if text is None or not tests:
        return None
    return f"{str(text).strip()}\n\nYour code should pass these tests:\n\n" + "\n".join(tests)


def statements(row: Mapping[str, Any]) -> list[str]:
    """Return a row's tests as statements of Python."""
    tests = row.get("tests") or row.get("test_list")
    if tests is None:
        return []
    return [tests] if isinstance(tests, str) else [str(test) for test in tests]


def program(row: Mapping[str, Any], answer: str) -> Program:
    """Return the program that comes to its end if the code in an answer passes a row's tests."""
    if row.get("test") and row.get("entry_point"):
        name = str(row["entry_point"])
        code = found_code(answer, name)
        # A completion goes on where the prompt ends; a whole function stands behind it, and is the one that counts.
        whole = re.search(rf"^\s*(?:async\s+)?def\s+{re.escape(name)}\b", code, re.MULTILINE)
        parts = [row["prompt"], code] if whole else [row["prompt"] + code]
        return Program((*parts, str(row["test"]), f"check({name})"))
    setup = "\n".join(
        [*(row.get("test_imports") or ()), str(row.get("test_setup_code") or row.get("setup") or "")]
    )
    return Program(
        (found_code(answer), setup, "\n".join(statements(row)))
    )  # MBPP's setup uses the answer's classes


def found_code(answer: str, name: str = "") -> str:
    """Return the code of an answer: its last block that defines something (`name`, if given), or all of it."""
    answer = answer.replace("\r\n", "\n")
    blocks = [
        re.sub(rf"^{indent}", "", fenced, flags=re.MULTILINE) if fenced else marked
        for indent, _, language, fenced, marked in BLOCK.findall(answer)
        if PYTHON.match(language.strip())
    ]
    defining = [block for block in blocks if re.search(rf"\b(?:def|class)\s+{re.escape(name)}", block)]
    return [answer, *blocks, *defining][-1]


def refuse_untested(rows: Sequence[Mapping[str, Any]], name: str) -> None:
    """Refuse rows without tests, and a machine on which tests cannot be confined."""
    from harness_score.sandbox import refusal

    for number, row in enumerate(rows, 1):
        if asked(row) is None:
            raise UsageError(
                f"row {number} of {name} is no code problem: it has {', '.join(row)}, and needs MBPP's text and "
                "test_list, HumanEval's prompt, test and entry_point, or problem and tests"
            )
    if reason := refusal():
        raise UsageError(
            f"task.verifier=code runs a model's programs, and they cannot be confined here ({reason}): give a sandbox "
            "of your own as task.verifier=command"
        )
