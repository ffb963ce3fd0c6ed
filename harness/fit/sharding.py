"""A model's weights, gradients and optimiser state shared out among processes (FSDP2), and put together again.

The root that is sharded is the call of `step(model, batch)` itself, so whatever a step does with the model, it finds
the weights outside of its blocks whole; a block's are gathered while it computes. torch's own `fully_shard` is called,
not accelerate's way to it: accelerate takes FSDP on accelerators alone, and here the same code is proven with gloo.
Afterwards the model is plain again, in place, as its caller knows it. Checked with torch 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from harness.errors import UsageError

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_state_dict_pre_hooks")


class Sharded(nn.Module):
    """A model whose parameters are shared out, called as `sharded(step, batch)`; `join` makes it plain again.

    Blocks are the modules that transformers would not split over devices (`_no_split_modules`); a model that names
    none is gathered as one. With `offload` shards wait in the processor's memory.
    """

    def __init__(self, model: nn.Module, device: torch.device, offload: bool = False) -> None:
        super().__init__()
        self.model, self.device = model, device
        self._plain = [
            (module, type(module), _hooks(module), set(vars(module))) for module in model.modules()
        ]
        mesh = dist.device_mesh.init_device_mesh(device.type, (dist.get_world_size(),))
        policy = CPUOffloadPolicy(pin_memory=device.type == "cuda") if offload else OffloadPolicy()
        names = {
            name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()
        }
        for module in reversed(list(model.modules())):  # the inner ones first
            if module is not model and type(module).__name__ in names:
                fully_shard(module, mesh=mesh, offload_policy=policy)
        fully_shard(self, mesh=mesh, offload_policy=policy)

    def forward(self, step: Callable[[Any, Any], Tensor], batch: dict[str, Tensor]) -> Tensor:
        return step(self.model, batch)

    def join(self) -> None:
        """Gather every parameter and leave the model as it was before it was shared out; all processes call it."""
        from torch.distributed._composable_state import _module_state_mapping

        whole: dict[int, nn.Parameter] = {}  # tied ones stay tied
        for module, kind, hooks, names in self._plain:
            for name, shard in module._parameters.items():
                if isinstance(shard, DTensor):
                    if id(shard) not in whole:
                        full = shard.detach().to(self.device).full_tensor()
                        whole[id(shard)] = nn.Parameter(full, shard.requires_grad)
                    module._parameters[name] = whole[id(shard)]
            module.__class__ = kind
            for name, kept in hooks.items():
                vars(module)[name].clear()
                vars(module)[name].update(kept)
            for name in set(vars(module)) - names:
                del vars(module)[name]
            _module_state_mapping.pop(
                module, None
            )  # or it could not be shared out again: no public name does it


@contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """Hold a model whole inside a step, so that each process may call or save it as it likes, without gradients.

    For sampling and looking, where processes differ in what they do; all of them enter and leave. Nothing happens to a
    plain model.
    """
    blocks = [module for module in model.modules() if isinstance(module, FSDPModule)]
    # What would share the weights out again, and count the calls for the order of the backward pass.
    hooks = [vars(module)[name] for module in model.modules() for name in HOOKS] if blocks else []
    before = [dict(found) for found in hooks]
    for block in blocks:
        block.unshard()
    for found in hooks:
        theirs = [key for key, hook in found.items() if hook.__module__.startswith("torch.distributed.fsdp")]
        for key in theirs:
            del found[key]
    try:
        yield
    finally:
        for found, kept in zip(hooks, before, strict=True):
            found.clear()
            found.update(kept)
        for block in blocks:
            block.reshard()


def shared_out(value: Tensor, like: Tensor) -> Tensor:
    """Return this process's shard of a whole tensor, cut as `like` is; what needs no cutting as it is."""
    if not isinstance(like, DTensor) or isinstance(value, DTensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value, like.device_mesh, like.placements)


def number(value: Tensor) -> Tensor:
    """Return a sum over all shards, such as a gradient's norm, as a plain tensor."""
    return value.full_tensor() if isinstance(value, DTensor) else value


@contextmanager
def recomputed(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Let a model's blocks forget their activations and compute them again in the backward pass, where `wanted`.

    That is transformers' own, with the same dropout masks. A model that does so already is left as it is. Raises
    UsageError where no part of the model can.
    """
    if not wanted or any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        yield
        return
    able = [m for m in model.modules() if getattr(m, "supports_gradient_checkpointing", False)]
    if not able:
        raise UsageError(
            f"no part of {type(model).__name__} can forget its activations: leave fit.checkpoint_activations out"
        )
    inner: Any = able[0]  # it speaks for the ones within it
    inner.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        inner.gradient_checkpointing_disable()


def _hooks(module: nn.Module) -> Mapping[str, Any]:
    """Return what is hooked to a module, by the names that torch gives the places."""
    places = {name: value for name, value in vars(module).items() if name.endswith("_hooks")}
    return {name: dict(value) for name, value in places.items() if isinstance(value, dict)}
