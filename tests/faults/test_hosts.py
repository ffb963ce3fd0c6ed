"""One run on two hosts: network namespaces with an address each, and torchrun in both."""

import json
import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.fault

FIRST = "10.77.0.1"


@pytest.fixture
def hosts():
    """Two namespaces joined by a cable; each is (its name, its end of the cable)."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and ip")
    made = [(f"h{os.getpid()}{side}", f"v{os.getpid()}{side}") for side in "ab"]
    (a, va), (b, vb) = made
    ended = [
        f"netns add {a}",
        f"netns add {b}",
        f"link add {va} netns {a} type veth peer name {vb} netns {b}",
    ]
    ended += [f"-n {a} addr add {FIRST}/24 dev {va}", f"-n {b} addr add 10.77.0.2/24 dev {vb}"]
    ended += [f"-n {name} link set {link} up" for name, own in made for link in ("lo", own)]
    try:
        for words in ended:
            if subprocess.run(["ip", *words.split()], capture_output=True).returncode:
                pytest.skip(f"ip {words} is not allowed here")
        yield made
    finally:
        for name, _ in made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_two_hosts_come_to_what_one_process_comes_to(harness, hosts, text):
    words = ["run", "method=alibi/alibi", f"data.corpus={text}", "budget=smoke", "device=cpu", "tracking=off"]
    harness(*words, "results=one")
    together = []
    for number, (name, link) in enumerate(hosts):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={number}",
                    "--nproc-per-node=1", f"--master-addr={FIRST}", "--master-port=29511", "--no-python"]  # fmt: skip
        command = [sys.executable, "-m", "harness", *words, "processes=2", "fit.shard=true", "results=two"]
        around = {
            "GLOO_SOCKET_IFNAME": link,
            "HARNESS_LEASES": str(harness.folder / name),
            "OMP_NUM_THREADS": "1",
        }
        together.append(
            subprocess.Popen(
                ["ip", "netns", "exec", name, *torchrun, *command],
                cwd=harness.folder,
                env={**os.environ, **around},
            )
        )
    assert [host.wait(240) for host in together] == [0, 0]
    found = {}
    for results in ("one", "two"):
        (path,) = (harness.folder / results / "runs").rglob("metrics.jsonl")
        found[results] = [json.loads(line)["loss"] for line in path.read_text().splitlines()]
    assert found["two"] == pytest.approx(found["one"], abs=1e-5)
    (result,) = (harness.folder / "two/runs").rglob("result.json")
    assert json.loads(result.read_text())["config"]["processes"] == 2
