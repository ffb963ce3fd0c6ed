"""What a run's leased GPUs take while it goes on, asked of NVML: peak memory and energy.

Of the leased devices only, by UUID. A device's memory counts all that lies on it, so runs that share one
(`leases.per_gpu`) see each other's. A MIG instance has no energy counter of its own: none is told. Without
nvidia-ml-py or a driver nothing is told, and the run goes on. Imported by runs on GPUs only.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

EVERY = 0.2  # seconds between two looks at the memory


class Meter:
    """Looks at some devices until it is asked what they took."""

    def __init__(self, uuids: Sequence[str]) -> None:
        """Begin to look. Raises ImportError or NVMLError where there is no NVML or no such device."""
        import pynvml

        self.nvml: Any = pynvml
        pynvml.nvmlInit()
        self.devices = [pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
        self.peaks = [self._memory(device) for device in self.devices]
        self.began = self._energy()
        self.over = threading.Event()
        self.looks = threading.Thread(target=self._look, daemon=True)
        self.looks.start()

    def used(self) -> dict[str, float]:
        """Stop looking; return `gpu_peak_memory` in bytes and `gpu_energy` in joules, summed over the devices."""
        self.over.set()
        self.looks.join()
        found = {"gpu_peak_memory": float(sum(self.peaks))}
        ended = self._energy()
        if self.began is not None and ended is not None:
            found["gpu_energy"] = (ended - self.began) / 1000
        return found

    def _look(self) -> None:
        while True:
            last = self.over.is_set()
            with contextlib.suppress(self.nvml.NVMLError):
                now = [self._memory(device) for device in self.devices]
                self.peaks = [max(pair) for pair in zip(self.peaks, now, strict=True)]
            if last:
                return
            self.over.wait(EVERY)

    def _memory(self, device: Any) -> int:
        return int(self.nvml.nvmlDeviceGetMemoryInfo(device).used)

    def _energy(self) -> int | None:
        """Return the sum of the devices' counters in millijoules; None where one has none."""
        try:
            return sum(int(self.nvml.nvmlDeviceGetTotalEnergyConsumption(device)) for device in self.devices)
        except self.nvml.NVMLError:
            return None


_meter: Meter | None = None  # this process's own, while its run goes on


def start(leased: Sequence[str]) -> None:
    """Begin to measure the devices among the names of a lease; nothing where that cannot be."""
    global _meter
    _meter = None
    uuids = [name.rpartition(".")[0] for name in leased if name.startswith(("GPU-", "MIG-"))]
    with contextlib.suppress(Exception):  # no library, no driver, no right: the run matters more
        _meter = Meter(uuids) if uuids else None


def used() -> dict[str, float]:
    """Return what the devices took since `start`; empty where that was not measured."""
    with contextlib.suppress(Exception):
        return _meter.used() if _meter else {}
    return {}
