"""What git says of a run's code is about the harness's own tree, never about the repository it was installed in."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import harness

ASK = "import json; from harness.runs.provenance import commit, diff; print(json.dumps([commit(), diff()]))"


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def told(package: Path, warning: str = "", **environ: str) -> tuple[str, bool, str]:
    """Return commit, whether it was changed, and diff, as a harness in this folder tells them, with this warning."""
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=package,  # first on the path
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **environ},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == warning
    code, diff = json.loads(done.stdout)
    return code["git"], code["dirty"], diff


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository of a user's with a secret that is not committed, and an empty .venv that git ignores."""
    git(tmp_path, "init")
    (tmp_path / "settings.py").write_text("DEBUG = 1\n")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "settings.py").write_text("API_KEY = 'sk-SECRET'\n")
    return tmp_path


def place(folder: Path) -> Path:
    """Copy the package into a folder, without what cannot change what it tells."""
    shutil.copytree(
        Path(harness.__file__).parent,
        folder / "harness",
        ignore=shutil.ignore_patterns("conf", "__pycache__"),
    )
    return folder


def test_a_package_in_a_users_repository_tells_nothing_of_it(project):
    assert told(place(project / ".venv/lib/python3/site-packages")) == ("", False, "")
    assert told(place(project)) == ("", False, "")  # not ignored, and not tracked either
    surroundings = {"GIT_DIR": str(project / ".git"), "GIT_WORK_TREE": str(project)}  # as in a hook
    assert told(project, **surroundings) == ("", False, "")


def test_a_tracked_source_tree_tells_its_commit_and_what_was_changed_in_its_own_folders(project):
    tree = place(project / "vendored")
    git(project, "add", "vendored")
    git(project, "commit", "-m", "with the harness")
    commit = git(project, "rev-parse", "HEAD")
    assert told(tree) == (commit, False, "")
    with (tree / "harness/numbers.py").open("a") as file:
        file.write("# a change\n")
    for name in (
        "notes.txt",
        "conf/database.yaml",
        "plugins/mine/secret.py",
    ):  # beside it, and not the harness's
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("sk-SECRET")
    git(project, "add", "vendored")
    git_said, dirty, diff = told(tree)
    assert (git_said, dirty) == (commit, True)
    assert "+# a change" in diff
    assert "SECRET" not in diff


def test_without_git_nothing_is_told_and_nothing_fails(project):
    tree = place(project)
    git(project, "add", "harness")
    git(project, "commit", "-m", "with the harness")
    assert told(tree)[0]
    assert told(tree, PATH="/nowhere") == ("", False, "")


@pytest.mark.fault
def test_a_repository_that_git_does_not_trust_gives_no_commit_and_that_is_told(project):
    import os

    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user")
    tree = place(project)
    git(project, "add", "harness")
    git(project, "commit", "-m", "with the harness")
    for path in [project, *project.rglob("*")]:
        os.chown(path, 12345, 12345, follow_symlinks=False)
    refused = subprocess.run(
        ["git", "status"], cwd=project, env={"PATH": "/usr/bin:/bin"}, capture_output=True
    )
    assert b"dubious ownership" in refused.stderr
    warning = (
        f"harness: git does not trust {project}, which is another user's, so no commit is recorded: "
        f"git config --global --add safe.directory {project}\n"
    )
    assert told(tree, warning) == ("", False, "")
