"""`harness new` writes a package that works at once; its claim gets a verdict in `test_install`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Harness
from tests.papers.test_plugins import install

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def born(tmp_path_factory, warm):
    """A folder where `harness new` was called, and the environment in which Python finds the new package."""
    harness = Harness(tmp_path_factory.mktemp("new"), warm)
    done = harness("new", "my-paper", "--method", "my_method", "--baseline", "plain")
    assert "next: pip install -e my-paper" in done.stdout
    metadata = harness.folder / "my-paper" / "paper_harness_my_paper-0.1.0.dist-info"
    metadata.mkdir()  # what `pip install -e` would write: that itself is an install test
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: paper-harness-my-paper\nVersion: 0.1.0\n"
    )
    (metadata / "entry_points.txt").write_text("[harness.papers]\nmy_paper = harness_my_paper\n")
    return harness, {"PYTHONPATH": str(harness.folder / "my-paper")}


def test_a_new_paper_is_listed_with_its_method_and_its_baseline(born):
    harness, environ = born
    rows = {row["name"]: row for row in json.loads(harness("papers", "-v", "--json", **environ).stdout)}
    assert rows["my_paper"]["problem"] == ""
    assert list(rows["my_paper"]["methods"]) == ["my_method", "plain"]
    assert rows["my_paper"]["baselines"] == ["plain"]


@pytest.mark.slow
def test_its_own_tests_pass_and_the_contract_is_one_of_them(born):
    """The contract itself is kept in `test_install`, where the page on plugins is followed."""
    harness, environ = born
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "my-paper", "-k", "not contract"],
        cwd=harness.folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environ},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed, 1 deselected" in done.stdout


def test_it_keeps_to_the_style_of_the_house(born):
    harness, _ = born
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--config", str(ROOT / "pyproject.toml"), "."]
        done = subprocess.run(command, cwd=harness.folder / "my-paper", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


MISTAKES = {
    ("My Paper",): "cannot be a name",
    ("report",): "is a harness command",
    ("alibi",): "is installed already",
    ("x", "--method", "same", "--baseline", "same"): "rename one",
    ("x", "--method", "class"): "cannot be a name",
    ("taken",): "is there already",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_name_that_cannot_be_is_refused_in_one_sentence(words, tmp_path, monkeypatch, capsys):
    from harness.cli import main

    (tmp_path / "taken").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["new", *words])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert MISTAKES[words] in line
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_second_package_of_one_name_is_told(born):
    harness, environ = born
    other = harness.folder / "other"
    other.mkdir()
    install(other, "my_paper", "", "somebody-elses")
    done = harness("papers", "-v", "--json", PYTHONPATH=f"{environ['PYTHONPATH']}:{other}")
    problems = [row["problem"] for row in json.loads(done.stdout) if row["name"] == "my_paper"]
    assert len(problems) == 2
    assert all("uninstall one" in problem for problem in problems)
