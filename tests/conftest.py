"""What many tests share: the command line in a process of its own, a short real text, an empty results folder."""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.warm import Started, Warm
from tests.warm import command as warm_command

SHARED = "HARNESS_TESTS_WARM"  # names the address of the warm process of all workers


class Harness:
    """The `harness` command, run in a folder of its own: from a warm process, or from one begun for it."""

    def __init__(self, folder: Path, warm: Path | None = None) -> None:
        self.folder, self.warm = folder, warm

    def __call__(self, *words: str, code: int | None = 0, **environ: str) -> subprocess.CompletedProcess:
        """Run `harness <words>`; fail the test when it leaves with another exit code than `code`."""
        surroundings = {**os.environ, "OMP_NUM_THREADS": "1", **environ}
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            if self.warm is None:
                command = [sys.executable, "-m", "harness", *words]
                left = subprocess.run(
                    command, cwd=self.folder, stdout=out, stderr=err, env=surroundings
                ).returncode
            else:
                left = warm_command(self.warm, words, self.folder, surroundings, out, err)
            for file in (out, err):
                file.seek(0)
            done = subprocess.CompletedProcess(words, left, out.read(), err.read())
        if code is not None:
            assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *words: str) -> Started:
        """Start `harness <words>` in a session of its own, to be signalled or killed; say nothing of its output."""
        assert self.warm is not None
        surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
        with open(os.devnull, "w") as out:
            err = tempfile.TemporaryFile("w+")  # noqa: SIM115  # what it says is read when it has ended
            return Started(self.warm, words, self.folder, surroundings, out, err)


@pytest.fixture(scope="session", autouse=True)
def own_leases(tmp_path_factory) -> Iterator[None]:
    """Tests lease from a folder of their own: they wait for no experiment that goes on beside them."""
    before = os.environ.get("HARNESS_LEASES")
    os.environ["HARNESS_LEASES"] = str(tmp_path_factory.mktemp("leases"))
    yield
    if before is None:
        del os.environ["HARNESS_LEASES"]
    else:
        os.environ["HARNESS_LEASES"] = before


def pytest_configure(config):
    """Start one warm process for all of xdist's workers, from the process that they work for."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        config.warm = begun = Warm(text_kept(config))
        os.environ[SHARED] = str(begun.address)  # the workers inherit it


def pytest_unconfigure(config):
    if hasattr(config, "warm"):
        config.warm.end()


def text_kept(config) -> Path:
    """Return the built-in text as today's code makes it with this Python, in pytest's cache: two seconds of parsing."""
    from harness.data import python_text
    from harness.data.cache import once

    code = Path(python_text.__file__).read_bytes() + sys.version.encode()
    folder = config.cache.mkdir("builtin-text")
    return once(folder / f"{hashlib.sha256(code).hexdigest()[:16]}.jsonl", python_text.write)


@pytest.fixture(scope="session")
def kept_text(request) -> Path:
    """The built-in text, made by today's code."""
    return text_kept(request.config)


@pytest.fixture(scope="session", autouse=True)
def own_text(kept_text) -> Iterator[Callable[[Path], None]]:
    """Let every folder's built-in text be a copy of the kept one; yield what makes it anew."""
    from harness.data import python_text

    made = python_text.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(python_text, "write", functools.partial(shutil.copyfile, kept_text))
        yield made


@pytest.fixture(scope="session")
def warm(kept_text) -> Iterator[Path]:
    """The address of a warm process that answers commands for this session (see `tests.warm`)."""
    if SHARED in os.environ:
        yield Path(os.environ[SHARED])
        return
    own = Warm(kept_text)
    yield own.address
    own.end()


@pytest.fixture
def harness(tmp_path, warm) -> Harness:
    """The command in an empty folder."""
    return Harness(tmp_path, warm)


@pytest.fixture(scope="session")
def text(tmp_path_factory) -> Path:
    """A short real text: the docstrings of a few standard modules, enough for smoke runs."""
    import argparse
    import json
    import logging
    import textwrap

    path = tmp_path_factory.mktemp("text") / "docs.txt"
    words = "\n".join(
        f"{name}\n{value.__doc__}"
        for module in (argparse, json, logging, textwrap, os, subprocess)
        for name, value in sorted(vars(module).items())
        if isinstance(getattr(value, "__doc__", None), str)
    )
    path.write_text(words, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def data_home() -> Path:
    """The folder of real data sets, where one is given."""
    home = os.environ.get("HARNESS_DATA")
    if not home or not Path(home).is_dir():
        pytest.skip("HARNESS_DATA names no folder: real data sets are not here")
    return Path(home)
