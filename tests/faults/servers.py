"""A real MLflow server, and a real PostgreSQL for it, on this machine: begun, killed outright and begun again."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    """A PostgreSQL of its own in a new folder; it refuses to run as root, so then it runs as its package's user."""

    def __init__(self) -> None:
        found = [shutil.which("initdb"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
        programs = [Path(path) for path in found if path]
        if not programs:
            pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
        pytest.importorskip("psycopg2", reason="psycopg2 is not installed (pip install psycopg2-binary)")
        self.bin, self.port = programs[-1].parent, free_port()
        self.home = Path(tempfile.mkdtemp(prefix="postgres-"))  # other users may not enter pytest's folders
        self.user = "postgres" if os.geteuid() == 0 else getpass.getuser()
        if os.geteuid() == 0:
            shutil.chown(self.home, self.user, self.user)
        self._do("initdb", "--no-sync", "--auth=trust", "--username=mlflow", "--encoding=UTF8")

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg2://mlflow@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-F -p {self.port} -c listen_addresses=127.0.0.1 -k {self.home}"
        self._do("pg_ctl", "-w", "-l", str(self.home / "log"), "-o", options, "start")

    def kill(self) -> None:
        """End it at once, as a crash would: the next start recovers."""
        self._do("pg_ctl", "-m", "immediate", "stop")

    def remove(self) -> None:
        if (self.home / "data" / "postmaster.pid").exists():
            self.kill()
        shutil.rmtree(self.home)

    def _do(self, program: str, *words: str) -> None:
        as_user = {"user": self.user, "group": self.user, "extra_groups": []} if os.geteuid() == 0 else {}
        command = [str(self.bin / program), "-D", str(self.home / "data"), *words]
        with (self.home / f"{program}.txt").open("w+") as said:
            left = subprocess.run(
                command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=said, stderr=said, **as_user
            )
            said.seek(0)
            assert left.returncode == 0, said.read()


class Server:
    """An MLflow tracking server that can be killed and started again."""

    def __init__(self, folder: Path, store: str = "") -> None:
        self.folder, self.port = folder, free_port()
        self.store = store or f"sqlite:///{folder}/server.db"
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        words = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1", "--serve-artifacts"]
        stores = ["--backend-store-uri", self.store, "--artifacts-destination", f"{self.folder}/artifacts"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words, *stores],
            cwd=self.folder,
            stdout=(self.folder / "log").open("a"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # nothing of that is used
        )
        until = time.time() + 120
        while time.time() < until:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1)
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the server did not come up")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
