"""A Slurm of one machine for tests: munged, slurmctld and slurmd in the foreground, all their files in one folder."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "sinfo", "squeue")
CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthInfo=socket={folder}/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=here Nodes=ALL Default=YES State=UP
"""


def missing() -> str:
    """Say why no Slurm can be started here, or ""."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if lacking:
        return f"{lacking[0]} is not here: apt-get install slurm-wlm munge"
    return "" if os.getuid() == 0 else "slurmd starts as root alone"


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Start Slurm with its files in an empty `folder`; give what a command must find in its environment."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    told = {"host": socket.gethostname(), "ports": _free(2), "folder": folder, "cores": os.cpu_count()}
    (folder / "slurm.conf").write_text(CONF.format(**told))
    environ = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}
    munge = [f"--{name}={folder}/{file}" for name, file in (("socket", "munge"), ("pid-file", "munge.pid"))]
    munge += [f"--key-file={key}", f"--seed-file={folder}/seed", f"--log-file={folder}/munge.log"]
    commands = (["munged", "--force", "--foreground", *munge], ["slurmctld", "-D"], ["slurmd", "-D"])
    with ExitStack() as ends, (folder / "log").open("w") as log:
        for command in commands:
            streams = {"stdout": log, "stderr": log, "env": {**os.environ, **environ}}
            ends.callback(_end, subprocess.Popen(command, cwd=folder, **streams))
            _wait(lambda: (folder / "munge").exists(), folder)
        ask = ["sinfo", "--noheader", "--format=%t"]
        around = {**os.environ, **environ}
        _wait(
            lambda: "idle" in subprocess.run(ask, capture_output=True, text=True, env=around).stdout, folder
        )
        yield environ
        subprocess.run(["scancel", "--user=root"], env=around, check=True)
        left = ["squeue", "--noheader"]
        _wait(lambda: not subprocess.run(left, capture_output=True, text=True, env=around).stdout, folder)


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(ready, folder: Path) -> None:
    until = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < until, (folder / "log").read_text()
        time.sleep(0.1)
