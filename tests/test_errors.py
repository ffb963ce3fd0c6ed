"""What a sentence quotes reaches terminals and files without control codes and without passwords."""

import ast
import re
from pathlib import Path

import pytest

from harness.errors import HarnessError, UsageError, masked, said

ROOT = Path(__file__).parents[1]
HIDDEN = {
    "http://alice:hunter2@lab:5000/x": "http://***@lab:5000/x",
    "http://alice:hunter2/a@b@lab:5000": "http://***@lab:5000",
    "http://token@lab": "http://***@lab",
    "postgresql+psycopg2://m:pw@db/x?sslmode=on&password=secret&a=1": "postgresql+psycopg2://***@db/x?sslmode=on&password=***&a=1",
    "run 'tracking.uri=\"https://a:b@c\"' seed=1": "run 'tracking.uri=\"https://***@c\"' seed=1",
    "from http://lab:5000/ to http://a:b@c/": "from http://lab:5000/ to http://***@c/",
}
KEPT = [
    "http://lab:5000/x@y",
    "file:///home/me@work/x",
    "sqlite:////home/me@work/mlflow.db",
    "pypi:a==1#b@c",
    "hub:me/x@main#train",
    "mail me@lab",
]


@pytest.mark.parametrize(("text", "shown"), HIDDEN.items())
def test_an_address_is_shown_without_its_user_and_password(text, shown):
    assert masked(text) == shown
    assert masked(shown) == shown
    assert str(UsageError(f"no answer from {text}")) == f"no answer from {shown}"
    assert said(ValueError(text)) == shown


@pytest.mark.parametrize("text", KEPT)
def test_what_holds_no_password_is_shown_as_it_is(text):
    assert masked(text) == text


def test_a_message_holds_no_control_codes():
    evil = "a\x1b[31mred\x9b2J\u202egnp.exe\ud800 b"
    assert str(HarnessError(evil)) == "a [31mred 2J gnp.exe  b"
    assert said(OSError(evil)) == str(HarnessError(evil))
    assert str(HarnessError("한국어 é 😀")) == "한국어 é 😀"


FIXES = {
    "there is no setting 'x': did you mean 'y'?": "did you mean 'y'?",
    "there is no format 'x' to export to: known: a, b": "known: a, b",
    "no metric 'x': the nearest of 1,234: a, b, c": "the nearest of 1,234: a, b, c",
    "hub:a/b cannot be read (404: not found): check the name": "check the name",
    "no fix is known": "",
}


@pytest.mark.parametrize(("text", "fix"), FIXES.items())
def test_the_fix_is_what_a_message_says_after_its_last_colon(text, fix):
    assert UsageError(text).fix == fix


# What is said elsewhere, by the rule; or the words of a library or a plugin, which nobody here can.
FORWARDED = re.compile(
    r"^\{(JUDGES|said|record|error|broken\[0\]|NEVER\[name\]|str\(result\.error\['message'\]\))\}"
    r"|is not \{wanted\}$"
    r"|\{(found\[0\]\.trouble|plugin\.problem|pair\['refused'\]|said\(error\)|error|told|_absent\(path\))\}( \(.*\))?$"
    r"|cannot be read: \{' '\.join\(str\(error\)\.split\(\)\)\[:160\]\}$"
)
SAYS = re.compile(r"\{(nearest\(.*|_neighbours\(.*|hint|fix|known|why|way_out)\}|\{least\} is the least")


def skeleton(node: ast.expr) -> str:
    """Return the words of a message, with `{...}` in place of what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            skeleton(v) if isinstance(v, ast.Constant) else f"{{{ast.unparse(v.value)}}}"  # type: ignore[attr-defined]
            for v in node.values
        )
    return str(node.value) if isinstance(node, ast.Constant) else f"{{{ast.unparse(node)}}}"


def messages() -> list[tuple[str, str]]:
    """Return (where, skeleton) of every message that the harness and its plugins raise."""
    places = [*ROOT.glob("harness/**/*.py"), *ROOT.glob("plugins/*/harness_*/**/*.py")]
    places += ROOT.glob("examples/*/harness_*/**/*.py")
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno}", skeleton(node.args[0]))
        for path in places
        if "template" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("HarnessError", "UsageError")
        and node.args
    ]


def test_every_message_says_what_to_do_after_a_colon():
    found = messages()
    assert len(found) > 500
    lacking = [
        f"{where}: {text}"
        for where, text in found
        if not FORWARDED.search(text)
        and not ((fix := UsageError(text).fix) and (not fix.startswith("{") or SAYS.match(fix)))
    ]
    assert not lacking, "\n".join(lacking)
