"""What many tests share: the command line in a process of its own, a short real text, an empty results folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


class Harness:
    """The `harness` command, run in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str, code: int | None = 0, **environ: str) -> subprocess.CompletedProcess:
        """Run `harness <words>`; fail the test when it leaves with another exit code than `code`."""
        done = subprocess.run(
            [sys.executable, "-m", "harness", *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environ},
        )
        if code is not None:
            assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture
def harness(tmp_path):
    return Harness(tmp_path)


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
