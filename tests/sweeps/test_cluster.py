"""What is asked of a cluster is checked before it is joined. Real clusters: tests/faults/test_ray.py."""

import sys

import pytest

from harness.errors import UsageError
from harness.sweeps.cluster import RayLauncher, joined


def test_a_machine_without_ray_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray .*: pip install 'paper-harness\[ray\]'"), joined("auto"):
        pass


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"num_cpus": -1}, "num_cpus=-1.0 is out of range"),
        ({"retries": -1}, "retries=-1 is out of range"),
        ({"num_gpus": "many"}, "give a value of that kind"),
        ({"num_gpu": 1}, "did you mean 'num_gpus'"),
    ],
)
def test_what_no_cluster_has_is_refused_before_one_is_joined(asked, told):
    with pytest.raises(UsageError, match=told):
        RayLauncher(**asked).launch([], 0)
