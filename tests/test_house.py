"""The house: who may import whom, and that light commands stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "mlflow", "lm_eval", "pandas")
TOOLBOX = ("nn", "data", "fit.py", "checkpoint.py", "generate.py", "evals.py")
ABOVE_TOOLBOX = (
    "run",
    "hookspecs",
    "plugins",
    "config",
    "sweep",
    "isolate",
    "tracking",
    "report",
    "stats",
    "cli",
)


def imports(path: Path) -> set[str]:
    """Return the modules that a source file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(*parts: str) -> list[Path]:
    places = [ROOT / part for part in parts]
    return [path for place in places for path in (place.rglob("*.py") if place.is_dir() else [place])]


def test_the_core_knows_no_paper():
    for path in sources("harness"):
        assert not {name for name in imports(path) if name.startswith("harness_")}, path


def test_no_plugin_imports_another():
    for plugin in (ROOT / "plugins").iterdir():
        own = {package.name for package in plugin.glob("harness_*")}
        for path in plugin.rglob("*.py"):
            others = {n.split(".")[0] for n in imports(path) if n.startswith("harness_")} - own
            assert not others, path


def test_the_toolbox_knows_nothing_of_runs_hooks_hydra_or_mlflow():
    for path in sources(*(f"harness/{part}" for part in TOOLBOX)):
        for name in imports(path):
            top, _, rest = name.partition(".")
            assert top not in ("hydra", "omegaconf", "mlflow", "pluggy"), (path, name)
            assert not (top == "harness" and rest.split(".")[0] in ABOVE_TOOLBOX), (path, name)


def test_only_tracking_imports_mlflow():
    users = {
        path.name for path in sources("harness") if any(n.split(".")[0] == "mlflow" for n in imports(path))
    }
    assert users == {"tracking.py"}


@pytest.mark.parametrize(
    "command", [["--help"], ["--version"], ["papers"], ["papers", "-v"], ["papers", "--json"]]
)
def test_looking_around_imports_nothing_heavy_and_starts_no_process(command):
    code = f"""
import sys, subprocess, os
def refuse(*a, **k): raise AssertionError("a process was started")
subprocess.Popen.__init__ = refuse; os.fork = refuse; os.posix_spawn = refuse
from harness.cli import main
try: main({command!r})
except SystemExit as leave: assert not leave.code, leave.code
heavy = sorted(set({HEAVY!r}) & set(sys.modules))
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_plugin_imports_in_little_time_because_it_imports_little():
    code = "import sys, harness_alibi; print(sorted(set(sys.modules) & {'torch', 'numpy', 'hydra', 'omegaconf'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_no_file_speaks_of_a_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    forbidden = ("/" + "work/", "/" + "farm/", "/." + "library/", "/root/" + ".pyenv")
    for name in listed:
        path = ROOT / name
        if (
            path.suffix in (".py", ".md", ".toml", ".yaml", ".json", ".txt", ".cff")
            or path.name == "Makefile"
        ):
            text = path.read_text(encoding="utf-8")
            assert not [word for word in forbidden if word in text], name
