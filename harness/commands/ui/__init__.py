"""`harness ui`: MLflow's own pages on this machine, opened where a paper's claims are compared.

The view that opens is kept in the store as MLflow keeps a saved view (`harness.commands.ui.view`). A store that
lets nobody write to it keeps none: the runs are then shown as MLflow shows them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn
from urllib.error import URLError

from harness.commands.door.answers import answer
from harness.commands.door.stopping import end_children
from harness.commands.ui.view import NAME, TAG, saved, view
from harness.errors import HarnessError, Stopped, UsageError, masked, nearest
from harness.papers.plugins import load
from harness.reports.phrases import NOTHING

HOST = "127.0.0.1"  # this machine alone
# MLflow's own evaluations, which nothing here asks for: their workers start with 20 s of a processor.
WITHOUT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@dataclass(frozen=True)
class Landing:
    """Where MLflow shows a paper: its runs by method, and their curves."""

    paper: str
    runs: str
    curves: str


def show_ui(paper: str, uri: str, port: int, browse: bool, as_json: bool = False) -> NoReturn:
    """Serve MLflow's pages on a store until a signal ends them; print where papers are shown, and open the first.

    Raises UsageError where the port is taken or the store has no runs of `paper`, HarnessError where the server ends.
    """
    from harness.runs.mirror import Mirror

    _free(port)
    store = Mirror(uri)  # makes a local store where there is none: the server would make it at the same time
    address = f"http://{HOST}:{port}"
    try:
        landings = landings_of(store, address, paper)
        server = subprocess.Popen(
            served(uri, port),
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
            env={**WITHOUT, **os.environ},
        )
        try:
            _wait_for(server, f"{address}/health")
            if as_json:
                shown = [asdict(landing) for landing in landings]
                answer("ui", {"url": address, "tracking": masked(uri), "papers": shown})
            for landing in landings if not as_json else ():
                print(f"{landing.paper}, runs by method: {landing.runs}")
                print(f"{landing.paper}, their curves: {landing.curves}")
            if not landings and not as_json:
                print(f"{NOTHING}\nMLflow: {address}")
            if not as_json:
                print("Ctrl-C ends it.", flush=True)
            if browse and _seen():
                import webbrowser

                webbrowser.open(landings[0].runs if landings else address)
            server.wait()
        finally:
            end_children()
    except Stopped as stop:
        stop.stands, stop.fix = "MLflow's pages are closed", "repeat the command to open them again"
        raise
    raise HarnessError(f"MLflow's server ended with exit code {server.returncode}: it says why above")


def served(uri: str, port: int) -> list[str]:
    """Return the command that serves MLflow's pages on a store, for this machine alone."""
    words = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--workers", "1"]
    return [*words, "--host", HOST, "--port", str(port)]


def landings_of(store: Any, address: str, paper: str = "") -> list[Landing]:
    """Keep the view of each paper's claims in a store and return where MLflow shows them, the newest runs first.

    `paper` asks for one of them. Raises UsageError where the store has no runs of it.
    """
    found = {name: runs for name, runs in store.runs().items() if runs}
    if paper and paper not in found:
        raise UsageError(f"the tracking store has no runs of {paper!r}: {nearest(paper, found)}")
    names = [paper] if paper else sorted(found, key=lambda name: -found[name][0].info.start_time)
    return [_landing(store, address, name, found[name]) for name in names]


def _landing(store: Any, address: str, paper: str, runs: Sequence[Any]) -> Landing:
    """Keep a paper's view, where it can be judged here and the store takes it, and return its addresses."""
    experiment = runs[0].info.experiment_id
    kept = ""
    with contextlib.suppress(HarnessError):  # a plugin that is not installed here, or broken
        stated = load(paper).paper
        assert stated is not None
        tag = f"{TAG}{NAME}"
        before = store.tags(experiment).get(tag, "")
        value = saved(view(stated, runs), before, int(time.time() * 1000))
        if value == before or store.set_tag(experiment, tag, value):
            kept = f"&viewStateShareKey={NAME}"
    page = f"{address}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    return Landing(paper, f"{page}{kept}", f"{page}&compareRunsMode=CHART{kept}")


def _free(port: int) -> None:
    """Raise UsageError where this machine's port cannot be listened on."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise UsageError(
                f"port {port} cannot be had ({why}): give another, as in --port {port + 1}"
            ) from None


def _wait_for(server: subprocess.Popen[bytes], address: str) -> None:
    """Wait until a server answers, or has ended."""
    here = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy leads to this machine
    while server.poll() is None:
        with contextlib.suppress(URLError, OSError), here.open(address, timeout=10):
            return
        time.sleep(0.2)


def _seen() -> bool:
    """Say whether somebody sits where a browser would open: at a terminal of a machine with a screen."""
    screen = (
        sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return bool(screen) and sys.stdout.isatty()
