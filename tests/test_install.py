"""The wheels hold everything: installed in a fresh environment, from any folder, the harness runs."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.install


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A new environment with the two wheels; the dependencies are borrowed from this one."""
    home = tmp_path_factory.mktemp("fresh")
    wheels = home / "wheels"
    for project in (ROOT, ROOT / "plugins" / "alibi"):
        build = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            str(wheels),
            str(project),
        ]
        subprocess.run(build, check=True, cwd=home)
    subprocess.run([sys.executable, "-m", "venv", str(home / "env")], check=True)
    python = home / "env" / "bin" / "python"
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", *wheels.glob("*.whl")]
    subprocess.run(install, check=True)
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home, python


def test_the_wheels_run_a_method_and_report_it_from_an_empty_folder(fresh, text, tmp_path):
    _, python = fresh
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def harness(*words: str) -> str:
        command = [python, "-m", "harness", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [python, "-c", "import harness, harness_alibi; print(harness.__file__, harness_alibi.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environ,
    ).stdout
    assert str(ROOT) not in where
    harness(
        "run",
        "-m",
        "+experiment=alibi",
        "method=alibi/alibi",
        "seed=0",
        "budget=smoke",
        f"data.corpus={text}",
    )
    (card,) = json.loads(harness("report", "alibi", "--json"))
    assert card["methods"][0]["method"] == "alibi"
    assert (tmp_path / "results" / "reports" / "alibi.html").exists()


def test_the_wheel_holds_the_licence_and_no_tests(fresh):
    import zipfile

    home, _ = fresh
    (wheel,) = (home / "wheels").glob("paper_harness-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert "harness/conf/config.yaml" in names
    assert "harness/py.typed" in names
    assert not [name for name in names if name.startswith("tests")]
