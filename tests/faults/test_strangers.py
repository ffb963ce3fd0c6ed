"""A user that is not root, a repository that git does not trust: runs are the same, and what is lacking is told."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.faults.test_stores import QUICK
from tests.papers.test_plugins import install

pytestmark = pytest.mark.fault

ROOT = Path(__file__).parents[2]
NOBODY = 65534
COMMIT = "import json; from harness.runs.provenance import commit, diff; print(json.dumps([commit()['git'], diff()]))"


@pytest.fixture
def nobody(tmp_path):
    """What runs a command as a user without rights, home or name, where the interpreter may be reached so."""
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if os.getuid() or shutil.which("setpriv") is None:
        pytest.skip("only root, with setpriv, can become another user")
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import harness.cli'], check=True)"
    tried = subprocess.run([*command, sys.executable, "-c", child], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"another user cannot reach this interpreter: {tried.stderr.strip().splitlines()[-1]}")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(tempfile.gettempdir()) and str(folder) != tempfile.gettempdir():
            folder.chmod(0o755)

    def run(*words: str, cwd: Path) -> subprocess.CompletedProcess:
        environ = {**os.environ, "HOME": "/nonexistent", "OMP_NUM_THREADS": "1"}
        environ |= {"PYTHONPATH": str(cwd), "HARNESS_LEASES": str(cwd / "leases"), "TMPDIR": str(cwd)}
        return subprocess.run(
            [*command, sys.executable, "-m", "harness", *words],
            cwd=cwd,
            capture_output=True,
            text=True,
            env=environ,
            timeout=300,
        )

    return run


def test_a_user_that_is_not_root_runs_and_judges_and_is_told_what_is_not_theirs(nobody, tmp_path):
    home = tmp_path / "theirs"
    home.mkdir()
    install(home, "quick", QUICK)
    os.chown(home, NOBODY, NOBODY)
    words = ("run", "-m", "method=quick/quick,quick/plain", "budget=smoke", "device=cpu")
    done = nobody(*words, cwd=home)
    assert done.returncode == 0, done.stderr
    assert "2 finished" in done.stderr
    assert "Traceback" not in done.stderr
    rows = json.loads(nobody("status", "--json", cwd=home).stdout)
    assert [row["state"] for row in rows] == ["finished", "finished"]
    (home / "roots").mkdir(mode=0o755)
    refused = nobody(*words, "results=roots/results", cwd=home)
    assert refused.returncode == 1
    assert "roots/results cannot be written (Permission denied)" in refused.stderr
    secret = home / "secret.txt"
    secret.write_text("for root's eyes\n")
    secret.chmod(0o600)
    hidden = nobody("run", "method=alibi/alibi", "budget=smoke", f"data.corpus={secret}", cwd=home)
    assert hidden.returncode == 2
    assert "cannot be read" in hidden.stderr
    assert "your rights" in hidden.stderr
    assert "Traceback" not in hidden.stderr


def test_a_repository_that_git_does_not_trust_is_told_and_trusted_by_gits_own_setting(tmp_path):
    shutil.copytree(ROOT / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    me = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*me, "commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(tmp_path)], check=True)
    else:
        pytest.skip("only root can give files to another user")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "GIT_CONFIG_GLOBAL": os.devnull}
    environ["GIT_CONFIG_SYSTEM"] = os.devnull

    def ask(**more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", COMMIT],
            cwd=tmp_path,
            env={**environ, **more},
            capture_output=True,
            text=True,
        )

    done = ask()
    assert json.loads(done.stdout) == ["", ""]
    assert done.stderr.count("harness: ") == 1
    assert f"git config --global --add safe.directory {tmp_path}" in done.stderr
    trusted = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": str(tmp_path),
    }
    done = ask(**trusted)
    assert done.stderr == ""
    git, changed = json.loads(done.stdout)
    assert len(git) == 40
    assert changed == ""
