"""A sweep on a Ray cluster survives what its nodes do; what is wrong with one is a sentence before the first run.

The cluster is real, of nodes on this machine: each is a raylet with workers of its own. One node lies in another mount
and host-name space, so that it is another machine to whoever asks it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Harness
from tests.faults.test_failures import PLUGIN
from tests.papers.test_plugins import install

ray = pytest.importorskip("ray", reason="pip install 'paper-harness[ray]' (make ray)")
pytestmark = pytest.mark.fault

RUNS = "method=ways/well"
NOTED = 'print("on", os.environ["RAY_RAYLET_PID"], flush=True)\n    time.sleep(run.method.seconds)'
LONG = PLUGIN.replace('print("the last words")', NOTED).replace(
    '    end: str = setting("well", "how the run ends")\n',
    '    end: str = setting("well", "how the run ends")\n    seconds: float = setting(0.0, "how long it takes")\n',
)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory) -> Path:
    """A folder with a paper whose runs say on which node they are."""
    folder = tmp_path_factory.mktemp("plugin")
    install(folder, "ways", LONG)
    return folder


@pytest.fixture(scope="module")
def cluster(plugin):
    """A head and a second node, of one core each; whoever ends the second one is given another."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    place = tempfile.mkdtemp(prefix="r-")  # short: the addresses of sockets have a limit
    (Path(place) / "ray").mkdir()
    patient = {"RAY_worker_niceness": "0", "RAY_worker_register_timeout_seconds": "600"}  # on a busy machine
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"}
    os.environ.update(patient, **quiet, RAY_TMPDIR=place, PYTHONPATH=str(plugin))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()
    os.environ.clear()
    os.environ.update(before)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def nodes(cluster):
    """The cluster with both of its nodes."""
    if not cluster.worker_nodes:
        cluster.add_node(num_cpus=1)
    return cluster


def begun(harness: Harness, plugin: Path, *words: str) -> subprocess.Popen:
    """Begin a command in a process of its own."""
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(plugin)}
    command = [sys.executable, "-m", "harness", *words]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=harness.folder, env=surroundings, **streams)


def sweep(cluster, *words: str) -> tuple[str, ...]:
    shared = (
        "hydra/launcher=ray",
        f"hydra.launcher.address={cluster.address}",
        "budget=smoke",
        "tracking=off",
    )
    return ("run", "-m", RUNS, *shared, *words)


def going(harness: Harness) -> dict[Path, int]:
    """Return the folders of the runs that go on, each with the process of its node."""
    found = {}
    for log in (harness.folder / "results" / "runs").glob("*/*/*/log.txt"):
        lines = [line for line in log.read_text().splitlines() if line.startswith("on ")]
        if lines and not (log.parent / "result.json").exists():
            found[log.parent] = int(lines[-1].split()[1])
    return found


def wait_for(found, seconds: float = 120.0):
    """Return what `found()` first finds."""
    until = time.monotonic() + seconds
    while not (seen := found()):
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)
    return seen


def starts(harness: Harness) -> Counter:
    """Count how often each run was begun."""
    runs = harness.folder / "results" / "runs"
    return Counter(
        {path.parent: len(path.read_text().splitlines()) for path in runs.glob("*/*/*/starts.jsonl")}
    )


@pytest.mark.parametrize(
    ("address", "code", "told"),
    [
        ("127.0.0.1:{free}", 1, "no Ray cluster answers at 127.0.0.1:{free} (Connection refused)"),
        ("nowhere.invalid:6379", 1, "no Ray cluster answers at nowhere.invalid:6379"),
        ("here", 2, "hydra.launcher.address=here is no address: give host:port, or auto"),
        ("", 2, "hydra/launcher=ray was given no cluster: add hydra.launcher.address=host:port"),
        ("auto", 1, "no Ray cluster can be joined at auto"),
    ],
)
def test_an_address_without_a_cluster_is_told_in_one_sentence(
    address, code, told, harness, plugin, monkeypatch
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(harness.folder))  # where auto looks for a node of this machine
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        free = closed.getsockname()[1]
        where = f"hydra.launcher.address={address.format(free=free)}"
        words = ("run", "-m", RUNS, "hydra/launcher=ray", where, "seed=0,1", "budget=smoke", "tracking=off")
        done = harness(*words, code=code, PYTHONPATH=str(plugin))
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("harness: ")]
    assert line.startswith(f"harness: {told.format(free=free)}")
    assert not starts(harness)


def second(cluster):
    (node,) = cluster.worker_nodes
    return node, node.all_processes["raylet"][0].process.pid


def test_runs_go_on_both_nodes_at_once_without_leases(nodes, harness, plugin):
    words = sweep(nodes, "seed=0,1,2,3", "method.seconds=1")
    done = harness(*words, PYTHONPATH=str(plugin), HARNESS_LEASES=str(harness.folder / "leases"))
    assert "4 finished; 0 already there; 0 failed" in done.stderr
    logs = (harness.folder / "results" / "runs").glob("*/*/*/log.txt")
    assert len({line for log in logs for line in log.read_text().splitlines() if line.startswith("on ")}) == 2
    assert not (harness.folder / "leases").exists()
    again = harness(*words, PYTHONPATH=str(plugin))
    assert "0 finished; 4 already there; 0 failed" in again.stderr
    assert set(starts(harness).values()) == {1}


def test_the_runs_of_a_node_that_is_killed_are_begun_again_on_another(nodes, harness, plugin):
    driver = begun(harness, plugin, *sweep(nodes, "seed=0,1,2,3,4,5", "method.seconds=3"))
    node, raylet = second(nodes)
    (struck,) = wait_for(lambda: [folder for folder, place in going(harness).items() if place == raylet])
    nodes.remove_node(node, allow_graceful=False)
    said = driver.communicate(timeout=300)[1]
    assert driver.returncode == 0, said
    assert "6 finished; 0 already there; 0 failed" in said
    assert starts(harness) == {folder: 1 + (folder == struck) for folder in starts(harness)}


def test_without_retries_a_killed_node_is_told_and_the_same_command_goes_on(nodes, harness, plugin):
    words = sweep(nodes, "seed=0,1,2,3", "method.seconds=3", "hydra.launcher.retries=0")
    driver = begun(harness, plugin, *words)
    node, raylet = second(nodes)
    (struck,) = wait_for(lambda: [folder for folder, place in going(harness).items() if place == raylet])
    nodes.remove_node(node, allow_graceful=False)
    said = driver.communicate(timeout=300)[1]
    assert driver.returncode == 1, said
    assert "3 finished; 0 already there; 0 failed; 1 not started" in said
    assert "harness: 1 runs not started or broken off: " in said
    assert "repeat the command" in said
    assert "Traceback" not in said
    done = harness(*words, PYTHONPATH=str(plugin))
    assert "1 finished; 3 already there; 0 failed" in done.stderr
    assert starts(harness) == {folder: 1 + (folder == struck) for folder in starts(harness)}


def test_a_driver_that_is_killed_takes_its_runs_along_and_the_same_command_goes_on(nodes, harness, plugin):
    words = sweep(nodes, "seed=0,1,2,3", "method.seconds=2")
    driver = begun(harness, plugin, *words)
    runs = harness.folder / "results" / "runs"
    wait_for(lambda: list(runs.glob("*/*/*/result.json")))
    wait_for(lambda: going(harness))
    driver.kill()
    driver.communicate()
    kept = list(runs.glob("*/*/*/result.json"))
    wait_for(lambda: not [folder for folder in going(harness) if _lives(folder)], seconds=10)
    done = harness(*words, PYTHONPATH=str(plugin))
    assert f"{4 - len(kept)} finished; {len(kept)} already there; 0 failed" in done.stderr
    assert all(starts(harness)[path.parent] == 1 for path in kept)


def _lives(folder: Path) -> bool:
    """Say whether the process that last began a run is there."""
    last = json.loads((folder / "starts.jsonl").read_text().splitlines()[-1])
    return Path(f"/proc/{last['pid']}").exists()


def test_a_sweep_that_no_node_can_take_says_so_and_ends_when_it_is_asked_to(nodes, harness, plugin):
    driver = begun(harness, plugin, *sweep(nodes, "seed=0,1", "hydra.launcher.num_gpus=1"))
    assert driver.stderr is not None
    line = driver.stderr.readline()
    assert line.startswith(
        "harness: no node has what a run asks for (1 cores and 1 GPUs; the largest has 1 and 0)"
    )
    driver.send_signal(signal.SIGTERM)
    rest = driver.communicate(timeout=30)[1]
    assert driver.returncode == 128 + signal.SIGTERM
    assert "0 of 2 runs are finished" in rest


def test_another_version_of_ray_is_told_in_one_sentence(nodes, harness, plugin):
    from ray._raylet import GcsClient

    client, place = GcsClient(address=nodes.address), (b"CLUSTER_METADATA", b"cluster")
    told = client.internal_kv_get(*place)
    client.internal_kv_put(
        place[0], json.dumps({**json.loads(told), "ray_version": "2.9.3"}).encode(), True, place[1]
    )
    try:
        done = harness(*sweep(nodes, "seed=0,1"), code=1, PYTHONPATH=str(plugin))
    finally:
        client.internal_kv_put(place[0], told, True, place[1])
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("harness: ")]
    assert "runs Ray 2.9.3 on Python " in line
    assert line.endswith("install the same version")
    assert not starts(harness)


def test_a_node_that_does_not_share_the_results_is_told_by_its_name_before_the_first_run(
    nodes, harness, plugin
):
    results = harness.folder / "results"
    results.mkdir()
    own = ["unshare", "--mount", "--uts"]
    apart = 'hostname other && mount -t tmpfs none "$1" && shift && exec "$@"'
    start = [
        f"{Path(sys.executable).parent}/ray",
        "start",
        f"--address={nodes.address}",
        "--num-cpus=1",
        "--block",
    ]
    command = [*own, "sh", "-c", apart, "sh", str(results), *start]
    if subprocess.run([*own, "true"], check=False).returncode:
        pytest.skip("no name spaces of one's own here: be root")
    with (harness.folder / "node.txt").open("w") as log:
        node = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: sum(n["Alive"] for n in nodes.global_state.node_table()) == 3 or node.poll())
        assert node.poll() is None, (harness.folder / "node.txt").read_text()
        done = harness(*sweep(nodes, "seed=0,1"), code=1, PYTHONPATH=str(plugin))
    finally:
        node.terminate()  # it ends what it started
        node.wait(60)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("harness: ")]
    assert line.startswith(
        f"harness: the node other does not share the results folder {results}: mount it there too"
    )
    assert not starts(harness)
