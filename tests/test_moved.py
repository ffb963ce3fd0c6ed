"""Old import paths still work for one minor version: each warns, and gives what lies in its room now."""

import importlib
import re
import subprocess
import sys

import pytest

from harness.moved import MOVED, PARTED


@pytest.fixture
def afresh():
    """Forget which old paths were imported: the warning comes with the first import of a process."""
    for name in MOVED:
        sys.modules.pop(f"harness.{name}", None)


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_path_warns_and_is_the_module_in_its_room(afresh, old):
    new = f"harness.{MOVED[old]}"
    module = importlib.import_module(new)
    spec = module.__spec__
    with pytest.warns(DeprecationWarning, match=re.escape(f"harness.{old} is {new} now")):
        found = importlib.import_module(f"harness.{old}")
    if old in PARTED:
        assert all(
            getattr(found, name) is thing for name, thing in vars(module).items() if not name.startswith("__")
        )
    else:
        assert found is module
    assert importlib.import_module(new) is module
    assert module.__spec__.name == spec.name == new


@pytest.mark.parametrize(
    ("old", "name"),
    [("results", "digest"), ("results", "write_json"), ("results", "read_result"), ("stats", "reduce")],
)
def test_what_left_an_old_module_for_another_room_is_found_there_too(afresh, old, name):
    module = importlib.import_module(f"harness.{old}")
    assert callable(getattr(module, name))
    with pytest.raises(AttributeError):
        _ = module.never_there


def test_no_old_path_hides_what_the_package_gives():
    import harness

    assert not set(MOVED) & set(harness.__all__)
    old = importlib.import_module("harness.lazy")
    assert old.lazy is harness.lazy


def test_a_name_that_never_was_is_no_old_path():
    with pytest.raises(ModuleNotFoundError, match=r"harness\.nowhere"):
        importlib.import_module("harness.nowhere")


def test_nobody_here_takes_an_old_path():
    code = """
import warnings
warnings.simplefilter("error", DeprecationWarning)
import sys
from harness.papers.plugins import load_all
assert not [plugin.problem for plugin in load_all() if plugin.problem]
import harness.cli, harness.sweeps.sweep, harness.reports.publish
from harness.moved import MOVED
assert not {f"harness.{name}" for name in MOVED} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
