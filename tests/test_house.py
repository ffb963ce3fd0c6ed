"""The house: who may import whom, and that light commands stay light."""

import ast
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import harness

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "mlflow", "lm_eval", "pandas")
HARNESS = ROOT / "harness"
# From the ground up: a room imports what stands before it, and itself.
FLOORS = (
    *(
        ("numbers", "moved"),
        ("errors",),
        ("papers",),
        ("nn", "data", "fit"),
        ("engines",),
        ("runs",),
        ("tools",),
        ("verdicts",),
        ("exchange",),
        ("reports",),
    ),
    *(("sweeps",), ("contract",), ("commands",), ("cli", "api", "__init__"), ("__main__",)),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


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
    for plugin in [*(ROOT / "plugins").iterdir(), *(ROOT / "examples").iterdir()]:
        own = {package.name for package in plugin.glob("harness_*")}
        for path in plugin.rglob("*.py"):
            others = {n.split(".")[0] for n in imports(path) if n.startswith("harness_")} - own
            assert not others, path


def test_plugins_import_only_what_the_api_page_names():
    """A name counts by what it means: one that is promised may come from another promised module."""
    written = runpy.run_path(str(ROOT / "docs" / "written.py"))
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    found, public = written["found"], written["public"]
    modules = {"harness": harness}
    promised = {"harness": harness}
    for name in re.findall(r"^<!-- ::: (\S+) -->$", page, flags=re.M):
        promised[name] = found(name)
        if isinstance(promised[name], ModuleType):
            modules[name] = promised[name]
    for name, module in modules.items():
        promised |= {f"{name}.{own}": getattr(module, own) for own in public(module)}
    meant = {id(thing) for thing in promised.values()}
    for path in [*ROOT.glob("plugins/*/harness_*/**/*.py"), *sources("tests/stranger", "examples")]:
        for name in imported(path):
            known = name in promised or (name.rpartition(".")[0] in modules and id(found(name)) in meant)
            assert known, f"{path.relative_to(ROOT)} imports {name}, which docs/api.md does not name"


def imported(path: Path) -> set[str]:
    """Return what a file imports from the harness, name by name: `harness.fit.fit`, `harness.data.files`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.partition(".")[0] == "harness"}


def test_what_a_paper_claims_is_read_by_its_abstract_alone():
    for path in sources("plugins", "examples"):
        if path.parent.name.startswith("harness_") and path.name != "__init__.py":
            assert f"{path.parent.name}.claims" not in imports(path), path


def room_of(path: Path) -> str:
    return path.relative_to(HARNESS).parts[0].removesuffix(".py")


def modules() -> dict[str, Path]:
    """Return every module of the core by its dotted name; the template of a new paper is none."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sources("harness")
        if "template" not in path.parts and "conf" not in path.parts
    }


def arrows() -> dict[str, set[str]]:
    """Return the core's modules that each of them imports."""
    known = modules()
    return {
        module: {name for name in imports(path) if name in known} - {module, "harness"}
        for module, path in known.items()
    }


def test_every_file_and_folder_of_the_core_has_its_floor():
    rooms = {room_of(path) for path in modules().values()}
    assert rooms == set(FLOOR)


def test_a_room_imports_only_what_stands_below_it():
    known = modules()
    for module, targets in arrows().items():
        own = room_of(known[module])
        for target in targets:
            other = room_of(known[target])
            assert other == own or FLOOR[other] < FLOOR[own] or (own, other) in {("nn", "fit")}, (
                module,
                target,
            )


def test_no_file_imports_another_in_a_circle():
    left = arrows()
    while left:
        free = [module for module, targets in left.items() if not targets & set(left)]
        assert free, left
        for module in free:
            del left[module]


def test_the_toolbox_knows_neither_hydra_nor_mlflow_nor_hooks():
    for path in sources("harness/nn", "harness/data", "harness/fit"):
        tops = {name.partition(".")[0] for name in imports(path)}
        assert not tops & {"hydra", "omegaconf", "mlflow", "pluggy"}, path


def test_each_room_says_what_it_is_for_and_what_it_may_import():
    for room in {path.parent for path in HARNESS.glob("*/__init__.py")} - {HARNESS / "conf"}:
        said = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""
        assert "May import:" in said, room


def test_every_room_is_found_by_what_builds_the_wheel():
    from setuptools import find_packages

    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = find_packages(str(ROOT), **told["tool"]["setuptools"]["packages"]["find"])
    folders = {path.parent for path in HARNESS.rglob("*.py") if "template" not in path.parts}
    assert {folder.relative_to(ROOT).as_posix().replace("/", ".") for folder in folders} <= set(found)


def test_no_folder_holds_more_files_than_one_can_see_at_once():
    for folder in {path.parent for path in modules().values()}:
        assert len([path for path in folder.iterdir() if path.is_file()]) <= 16, folder


def test_only_the_mirror_imports_mlflow():
    users = {
        path.name for path in sources("harness") if any(n.split(".")[0] == "mlflow" for n in imports(path))
    }
    assert users == {"mirror.py"}


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
