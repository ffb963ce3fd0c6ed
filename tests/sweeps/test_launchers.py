"""What is asked of a launcher is checked before anything is started. Real clusters: tests/faults/test_ray.py."""

import os
import sys

import pytest

from harness.errors import UsageError
from harness.sweeps.launchers.cores import Asked, CoresLauncher
from harness.sweeps.launchers.ray import RayLauncher, joined


def test_a_machine_without_ray_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray .*: pip install 'paper-harness\[ray\]'"), joined("auto"):
        pass


def test_below_zero_is_counted_down_from_all_cores_as_joblib_does():
    cores = len(os.sched_getaffinity(0))
    assert [Asked(n).count for n in (1, 7, -1, -cores, -cores - 5)] == [1, 7, cores, 1, 1]


def test_what_the_launcher_of_this_machine_does_not_know_is_refused():
    with pytest.raises(UsageError, match=r"hydra\.launcher has no setting 'njobs': did you mean 'n_jobs'\?"):
        CoresLauncher(njobs=2).launch([], 0)


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
