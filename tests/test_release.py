"""What a release promises: one version, a lock whose pins lie in the ranges, archives that hold all there is."""

import re
import subprocess
import sys
import tomllib
from datetime import date
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
EXAMPLES = [*sorted(ROOT.glob("examples/*/pyproject.toml")), ROOT / "tests" / "stranger" / "pyproject.toml"]
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?==(\S+)", re.MULTILINE)


def told(path: Path) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def locked() -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = {}
    for name, version in PIN.findall((ROOT / "requirements.lock").read_text(encoding="utf-8")):
        found.setdefault(canonical(name), []).append(Version(version))
    return found


def test_core_papers_and_citation_carry_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    assert {told(path)["version"] for path in PROJECTS} == {citation}


def test_the_changelog_begins_with_this_version_and_dates_what_was_released():
    heads = re.findall(
        r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert heads[0][0] == told(PROJECTS[0])["version"]
    for version, when in heads:
        assert when == "unreleased" or date.fromisoformat(when), version


@pytest.mark.parametrize("path", [*PROJECTS[1:], *EXAMPLES], ids=lambda path: path.parent.name)
def test_a_paper_asks_for_the_harness_within_one_minor_version(path):
    (asked,) = [Requirement(line) for line in told(path)["dependencies"] if line.startswith("paper-harness")]
    now = Version(told(PROJECTS[0])["version"])
    assert asked.specifier.contains(now)
    assert not asked.specifier.contains(Version(f"{now.major}.{now.minor + 1}.0"))
    assert not asked.specifier.contains(Version(f"{now.major}.{now.minor - 1}.9"))


def test_pins_of_the_lock_lie_in_the_ranges_that_are_asked_for(locked):
    for path in PROJECTS:
        for line in told(path)["dependencies"]:
            asked = Requirement(line)
            if asked.name == "paper-harness":
                continue
            pins = locked[canonical(asked.name)]
            assert pins, asked
            assert all(asked.specifier.contains(pin) for pin in pins), (path.parent.name, line, pins)


def test_the_lock_pins_what_was_tested(locked):
    for name, version in PIN.findall((ROOT / "constraints.txt").read_text(encoding="utf-8")):
        assert locked.get(canonical(name), [Version(version)]) == [Version(version)], name


def test_the_lock_is_whole_so_nothing_is_left_to_resolve(locked):
    asked = {Requirement(line) for path in PROJECTS for line in told(path)["dependencies"]}
    met: set[Requirement] = set()
    while asked:
        need = asked.pop()
        met.add(need)
        if need.name.startswith("paper-harness"):
            continue
        assert locked[canonical(need.name)], need
        for extra in ("", *need.extras):
            further = map(Requirement, requires(need.name) or ())
            asked |= {r for r in further if not r.marker or r.marker.evaluate({"extra": extra})} - met
    assert {"lm-eval", "typepy"} <= {canonical(need.name) for need in met}


def test_every_pin_has_hashes_and_no_address_is_in_the_lock():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    for entry in re.split(r"\n(?=[A-Za-z0-9])", text.partition("\n\n")[2] or text):
        if "==" in entry:
            assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_a_python_is_named_where_the_tests_run_on_it():
    named = {
        line for path in PROJECTS for line in told(path).get("classifiers", ()) if "Python :: 3." in line
    }
    assert named == {"Programming Language :: Python :: 3.11"}
    assert {told(path)["requires-python"] for path in PROJECTS} == {">=3.11"}


def test_forms_and_workflow_are_read_as_what_they_are():
    forms = sorted(
        path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"
    )
    assert [path.stem for path in forms] == ["lost-run", "paper", "verdict"]
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= form.keys()
        assert all(part["type"] in ("markdown", "textarea", "input") for part in form["body"])
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    ran = {
        word
        for step in release["jobs"]["build"]["steps"]
        if step.get("run", "").startswith("make")
        for word in step["run"].split()[1:]
    }
    assert ran <= targets
    assert {"test", "test-all", "dist"} <= ran


@pytest.mark.install
@pytest.mark.xdist_group("install")
def test_archives_hold_every_module_and_page_and_no_test(tmp_path):
    """Built, looked at and not installed: `make dist` also does that, and runs the demo."""
    words = [sys.executable, str(ROOT / ".ci" / "dist.py"), "--into", str(tmp_path / "dist")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "dist").iterdir())) == 2 * len(PROJECTS)
