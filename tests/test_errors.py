"""What a sentence quotes reaches terminals and files without control codes and without passwords."""

import pytest

from harness.errors import HarnessError, UsageError, masked, said

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
