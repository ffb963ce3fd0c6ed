"""What every test of the kit may use: a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest


def _said(act: Callable[[], Any], told: Any) -> None:
    from harness.contract import pretend

    try:
        pretend.install("/nowhere")
        told.send(("", act()))
    except BaseException as error:
        told.send((f"{type(error).__name__}: {error}", None))


@pytest.fixture
def pretending() -> Callable[[Callable[[], Any]], Any]:
    """Return a function that calls another where the pretend device is, and hands back what it returns, or raises."""

    def run(act: Callable[[], Any]) -> Any:
        import accelerate  # noqa: F401  (once, not in each fork)

        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=_said, args=(act, theirs))
        process.start()
        theirs.close()
        error, value = ours.recv()
        process.join()
        if error:
            raise AssertionError(error)
        return value

    return run
