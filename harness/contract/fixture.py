"""The contract as a pytest plugin: a fixture `contract`, there wherever the harness is installed.

def test_it_keeps_the_contract(contract):
    contract("my_paper")
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def contract(tmp_path: Path) -> Callable[[str], None]:
    """Return a function that fails the test with what to change, where a paper breaks the contract."""

    def keeps(paper: str) -> None:
        from harness.contract.checks import checks
        from harness.papers.plugins import load

        failed = [check for check in checks(load(paper), tmp_path) if not check.passed]
        if failed:
            pytest.fail("\n".join(f"{check.name}: {check.fix}" for check in failed), pytrace=False)

    return keeps
