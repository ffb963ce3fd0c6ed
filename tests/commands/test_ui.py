"""`harness ui`: what is kept in the store for it, where it refuses, and what a real browser then shows."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness.commands import ui
from harness.commands.ui import landings_of, served, show_ui
from harness.commands.ui.view import NAME, TAG
from harness.errors import UsageError
from harness.papers.plugins import load
from harness.runs.results import local_store
from tests.records import write_run

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
METRICS = dict.fromkeys(load("alibi").paper.metrics, 3.0)
ADDRESS = "http://127.0.0.1:5000"


def mirrored(results: Path, paper: str = "alibi", seeds: int = 3, **config: str) -> Path:
    """Bring made-up runs of two methods into the store of a results folder."""
    from harness.runs.mirror import Mirror

    store = Mirror(local_store(results))
    for name in ("alibi", "rotary"):
        for seed in range(seeds):
            curve = {"loss": [3.0, 2.0, 1.5 + seed / 10]}
            record = write_run(results, name, seed, METRICS, paper=paper, curve=curve, **config)
            store.copy(record.folder)
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    return mirrored(tmp_path_factory.mktemp("ui"))


@contextlib.contextmanager
def taken():
    """Listen on some port of this machine."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_in_use_is_one_sentence_before_work_starts(tmp_path):
    with taken() as port, pytest.raises(UsageError, match=f"port {port} cannot be had .*--port {port + 1}$"):
        show_ui("", local_store(tmp_path), port, False)
    assert list(tmp_path.iterdir()) == []


def test_a_browser_opens_only_for_somebody_at_a_terminal_with_a_screen(monkeypatch):
    for terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal, raising=False)
        for name, screen in (("DISPLAY", ":0"), ("WAYLAND_DISPLAY", "wayland-0"), ("DISPLAY", "")):
            for other in ("DISPLAY", "WAYLAND_DISPLAY"):
                monkeypatch.delenv(other, raising=False)
            monkeypatch.setenv(name, screen)
            if sys.platform == "linux":
                assert ui._seen() == (terminal and bool(screen))


def test_a_store_is_named_to_the_server_as_it_is():
    uri = "sqlite+pysqlite:////a%3Fb/mlflow.db"
    words = served(uri, 5001)
    assert words[words.index("--backend-store-uri") + 1] == uri


def kept(results: Path) -> list[tuple[str, str, str]]:
    """Return the views that a store keeps: experiment, tag, value."""
    with contextlib.closing(sqlite3.connect(results / "mlflow.db")) as store:
        ask = "SELECT name, key, value FROM experiment_tags JOIN experiments USING (experiment_id)"
        return [row for row in store.execute(ask).fetchall() if row[1].startswith(TAG)]


@pytest.mark.slow
def test_a_paper_has_one_view_that_is_rewritten_only_when_it_shows_something_else(tmp_path):
    from harness.runs.mirror import Mirror

    mirrored(tmp_path)
    store = Mirror(local_store(tmp_path))
    (landing,) = landings_of(store, ADDRESS)
    assert landing.runs.startswith(f"{ADDRESS}/#/experiments/")
    assert landing.runs.endswith(f"/runs?workflowType=machine_learning&viewStateShareKey={NAME}")
    assert "compareRunsMode=CHART" in landing.curves
    (first,) = kept(tmp_path)
    assert first[:2] == ("alibi", f"{TAG}{NAME}")
    mirrored(tmp_path, seeds=4)
    assert landings_of(store, ADDRESS, "alibi") == [landing]
    assert kept(tmp_path) == [first]
    mirrored(tmp_path, budget="smoke")
    assert landings_of(store, ADDRESS) == [landing]
    (second,) = kept(tmp_path)
    assert second[:2] == first[:2]
    assert second[2] != first[2]


@pytest.mark.slow
def test_papers_that_are_not_here_and_stores_that_refuse_get_plain_addresses(results, tmp_path):
    from harness.runs.mirror import Mirror

    mirrored(tmp_path)
    mirrored(tmp_path, paper="nowhere")
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as file, file:
        file.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON experiment_tags BEGIN SELECT RAISE(ABORT, 'not yours'); END"
        )
    store = Mirror(local_store(tmp_path))
    landings = landings_of(store, ADDRESS)
    assert {landing.paper for landing in landings} == {"alibi", "nowhere"}
    assert landings[0].paper == "nowhere"  # the newest first
    for landing in landings:
        assert landing.runs.endswith("/runs?workflowType=machine_learning")
        assert landing.curves.endswith("&compareRunsMode=CHART")
    assert kept(tmp_path) == []
    with pytest.raises(UsageError, match="no runs of 'alibo': did you mean 'alibi'"):
        landings_of(store, ADDRESS, "alibo")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.mark.slow
def test_the_pages_show_the_methods_the_first_claims_metric_and_the_curves(results, browser):
    with taken() as port:
        pass
    words = [
        sys.executable,
        "-m",
        "harness",
        "ui",
        "--no-open",
        "--results",
        str(results),
        "--port",
        str(port),
    ]
    server = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a shell's background job ignores it
    )
    try:
        assert server.stdout is not None
        told = [server.stdout.readline().strip() for _ in range(3)]  # said once the server answers
        assert told[2] == "Ctrl-C ends it."
        runs, curves = (line.partition(": ")[2] for line in told[:2])
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.set_default_timeout(120_000)
        page.goto(runs)
        for name in ("alibi", "rotary"):
            page.get_by_text(f"Group: {name}", exact=True).wait_for()
            page.get_by_text(f"{name} seed 0", exact=True).wait_for()
        first = load("alibi").paper.claims[0].contrast.metric
        headers = page.locator("[role=columnheader]")
        headers.get_by_text(f"test/{first}", exact=True).first.wait_for()
        page.goto("about:blank")
        page.goto(curves)
        page.get_by_text("Curves", exact=True).wait_for()
        page.get_by_text("loss", exact=True).first.wait_for()
        page.context.close()
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=60)
    finally:
        server.terminate()  # which ends what it has started: a kill would not
        server.wait(60)
    assert server.returncode == 128 + signal.SIGINT
    assert "harness: ended by SIGINT: MLflow's pages are closed" in said
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))
