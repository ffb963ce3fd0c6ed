"""In a C locale commands print what they have to say, with a number for a letter that cannot be written."""

import pytest

from tests.conftest import Harness
from tests.records import write_run

C = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def cold(tmp_path) -> Harness:
    """The command in a process begun for it: a locale is read when Python begins."""
    return Harness(tmp_path)


@pytest.mark.parametrize("words", [("papers", "-v"), ("status",), ("report", "alibi"), ("data", "rdass")])
def test_a_command_works_in_a_c_locale(cold, words):
    for method in ("alibi", "sinusoidal"):
        for seed in (0, 1):
            write_run(cold.folder / "results", method, seed, {"perplexity_1L": 20.0 + seed}, paper="alibi")
    done = cold(*words, **C)
    assert done.stdout
    assert "Traceback" not in done.stderr
