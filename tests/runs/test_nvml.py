"""A run on GPUs tells what its leased devices took, and theirs alone. The devices here are made up."""

import inspect
import sys
import time
from types import SimpleNamespace

import pytest

from harness.runs import nvml


class Refused(Exception):
    """What the library raises."""


class Devices:
    """A made-up NVML of three devices; a MIG instance has no energy counter."""

    NVMLError = Refused

    def __init__(self) -> None:
        self.memory = {"GPU-a": 10, "GPU-b": 20, "MIG-c": 5}
        self.energy = {"GPU-a": 1_000, "GPU-b": 50_000}
        self.asked: set[str] = set()

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid not in self.memory:
            raise Refused("not found")
        return uuid

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        self.asked.add(handle)
        return SimpleNamespace(used=self.memory[handle])

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        self.asked.add(handle)
        if handle not in self.energy:
            raise Refused("not supported")
        return self.energy[handle]


@pytest.fixture
def devices(monkeypatch) -> Devices:
    made = Devices()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    monkeypatch.setattr(nvml, "EVERY", 0.005)
    return made


def test_peak_memory_and_energy_are_of_the_leased_device_alone(devices):
    nvml.start(["GPU-a.0"])
    devices.memory |= {"GPU-a": 70, "GPU-b": 900}  # bytes; another run's device is none of ours
    time.sleep(0.2)
    devices.memory["GPU-a"] = 30
    devices.energy |= {"GPU-a": 3_500, "GPU-b": 99_000}  # millijoules
    assert nvml.used() == {"gpu_peak_memory": 70.0, "gpu_energy": 2.5}
    assert devices.asked == {"GPU-a"}


def test_several_leased_devices_are_added_up(devices):
    nvml.start(["GPU-a.0", "GPU-b.1"])
    devices.energy |= {"GPU-a": 2_000, "GPU-b": 51_000}
    assert nvml.used() == {"gpu_peak_memory": 30.0, "gpu_energy": 2.0}


def test_an_instance_has_memory_and_no_energy_of_its_own(devices):
    nvml.start(["MIG-c.0"])
    assert nvml.used() == {"gpu_peak_memory": 5.0}


@pytest.mark.parametrize("leased", [[], ["core-0"], ["GPU-gone.0"]])
def test_what_cannot_be_measured_is_not_told(devices, leased):
    nvml.start(leased)
    assert nvml.used() == {}


def test_without_the_library_nothing_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    nvml.start(["GPU-a.0"])
    assert nvml.used() == {}


def test_the_real_library_is_called_as_it_wants_to_be():
    real = pytest.importorskip("pynvml", reason="pip install nvidia-ml-py")
    for name, made in vars(Devices).items():
        if name.startswith("nvml"):
            theirs = list(inspect.signature(getattr(real, name)).parameters.values())
            needed = [p for p in theirs if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
            assert len(needed) == len(inspect.signature(made).parameters) - 1, name
    assert issubclass(real.NVMLError, Exception)


def test_runs_on_cpus_say_nothing_of_gpus():
    from harness.runs.provenance import environment

    assert "gpu" not in environment("cpu")
