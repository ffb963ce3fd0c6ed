"""A training step on the meta device, where tensors have shapes and no values: what leaves it is told with its line.

Two faults look alike there and are not: a tensor that was left on another device, and a look at a value (`.item()`,
`if tensor:`), which on a GPU would wait for it. Matmul and indexing take tensors of two devices without a word, so
every operation is looked at.
"""

from __future__ import annotations

import os
import traceback
from types import TracebackType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.contract.lines import neither
from harness.errors import HarnessError

VALUES = {  # operations whose outcome, or its shape, is decided by values
    *("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "_unique2", "unique_dim"),
    *("unique_consecutive", "repeat_interleave.Tensor", "allclose"),
}
SAYS_VALUES = (
    "meta tensor",
    "no data",
    "to numpy",
    "meta device type",
    "nonzero",
)  # torch's words where no operation is seen


class OffDevice(HarnessError):
    """What a step did that its device cannot do, and where."""


class StrayTensor(RuntimeError):
    """An operation was given tensors of two devices."""


class ValueRead(RuntimeError):
    """An operation asked for a tensor's value."""


class OneDevice(TorchDispatchMode):
    """Refuse any operation whose tensors sit on two devices, or that asks for a value of one without any."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [t for t in tree_leaves((args, kwargs or {})) if isinstance(t, torch.Tensor)]
        name = str(func).removeprefix("aten.")
        if any(t.is_meta for t in tensors) and (name in VALUES or name.partition(".")[0] in VALUES):
            raise ValueRead(name)
        devices = sorted({t.device.type for t in tensors if t.dim() > 0})
        if len(devices) > 1 and "copy" not in name:
            raise StrayTensor(f"{name} was given tensors on {' and '.join(devices)}")
        return func(*args, **(kwargs or {}))


def step_on_meta(plugin: Any, run: Any) -> None:
    """Call the plugin's `training_step` on the meta device. Raises OffDevice, with the plugin's own line."""
    try:
        with OneDevice():
            plugin.hook("training_step")(run=run, device="meta")
    except Exception as error:
        at, line = place(error.__traceback__, os.path.dirname(str(plugin.module.__file__)))
        raise OffDevice(f"{at}{said(error)}{f' (`{line}`)' if line else ''}") from error


def said(error: Exception) -> str:
    """Return what was done, and what to do instead."""
    first = " ".join(str(error).split())
    if isinstance(error, StrayTensor):
        return f"mixes devices: {first}; make every tensor on the model's device"
    if isinstance(error, ValueRead) or any(words in first.lower() for words in SAYS_VALUES):
        return (
            f"reads a tensor's value ({first}), which stops a GPU and which the meta device has not: decide by shapes, "
            "use torch.where, or hand the number in from outside"
        )
    return f"raised {type(error).__name__}: {first}"


def place(trace: TracebackType | None, package: str) -> tuple[str, str]:
    """Return the innermost line of `package` that led to an error, as "file:line ", and its code.

    Where none is of the package, the innermost that is neither a library's nor the harness's.
    """
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if frame.filename.startswith(package + os.sep)]
    foreign = [frame for frame in frames if neither(frame.filename)]
    frame = (own or foreign or frames)[-1]
    shown = (
        os.path.relpath(frame.filename, os.path.dirname(package)) if own else os.path.basename(frame.filename)
    )
    return f"{shown}:{frame.lineno} ", frame.line or ""
