"""A device that is not there: tensors say they lie on `pretend:0`, and their numbers are a CPU's.

What a GPU refuses is refused here too, and told with the plugin's own line: a CPU tensor that meets one of the
device's, `.numpy()` without `.cpu()`, a generator of the other device. What a GPU would wait for (a value that is
read, a tensor that is copied over) is counted while a training step goes on. It stands on torch's means for backends
written in Python: a wrapper subclass whose operations are done on the CPU tensor inside it. Random numbers are the
CPU's, so that a run here can be asked for a CPU's. `install` changes torch for good: call it in a process of its own.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_map_only, tree_unflatten

from harness.contract.lines import HOUSE, library_of, neither
from harness.errors import HarnessError

NAME = "pretend"
COPIES = {"copy_", "_copy_from", "_copy_from_and_resize", "_foreach_copy_"}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
WAITS = {  # operations whose outcome, or its shape, is decided by values: a GPU is waited for
    *("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "_unique", "_unique2"),
    *("unique_dim", "unique_consecutive", "repeat_interleave"),
}
TORCH = os.path.dirname(torch.__file__) + os.sep


class OffDevice(HarnessError):
    """What a plugin did that its device cannot do, with its file and line."""


@dataclass(frozen=True, order=True)
class Copied:
    """One place in a training step where host and device wait for each other."""

    at: str  # the plugin's line, "file:line "; "" where none led to it
    line: str
    what: str
    whose: str  # "own": the plugin's or the house's; "sampling": the same, without gradients; or a library


@dataclass
class Device:
    """What the device was seen to be asked for: the copies of training steps, counted by their place."""

    package: str  # the folder of the plugin's code
    copies: dict[Copied, int] = field(default_factory=dict)
    steps: int = 0
    counting: bool = False
    refusal: str = ""  # the last thing that it could not do: whoever catches it may raise another
    apart: str = ""  # the file whose own copies are the batch going in and the look

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Count what is copied while a training step goes on."""
        self.steps += 1
        before, self.counting = self.counting, True
        try:
            yield
        finally:
            self.counting = before

    def copied(self, what: str) -> None:
        """Note a copy between host and device, or a wait for one, where it was asked for."""
        if not self.counting:
            return
        frames = _frames()
        nearest = next((f for f in frames if not f.f_code.co_filename.startswith(TORCH)), None)
        if nearest is None or nearest.f_code.co_filename == self.apart:
            return
        file = nearest.f_code.co_filename
        back = any(f.f_code.co_name == "_engine_run_backward" for f in frames)  # which records no gradients
        whose = "own" if back or torch.is_grad_enabled() else "sampling"
        library = library_of(file)
        if library and not file.startswith((self.package, HOUSE)):
            whose = library
        one = Copied(*self.place(frames), what, whose)
        self.copies[one] = self.copies.get(one, 0) + 1

    def refused(self, what: str) -> OffDevice:
        """Return the error that tells what the device cannot do, with the line that asked for it."""
        at, line = self.place(_frames())
        self.refusal = f"{at}{what}{f' (`{line}`)' if line else ''}"
        return OffDevice(self.refusal)

    def place(self, frames: list[FrameType]) -> tuple[str, str]:
        """Return the innermost line of the plugin among `frames`, as "file:line ", and its code; else another's."""
        import linecache

        own = [f for f in frames if f.f_code.co_filename.startswith(self.package)]
        foreign = [f for f in frames if neither(f.f_code.co_filename)]
        house = [f for f in frames if f.f_code.co_filename.startswith(HOUSE)]
        for chosen, folder in ((own, self.package), (foreign, ""), (house, HOUSE)):
            for frame in chosen:
                file = frame.f_code.co_filename
                whole = os.path.relpath(file, os.path.dirname(folder.rstrip(os.sep)))
                shown = whole if folder else os.path.basename(file)
                return f"{shown}:{frame.f_lineno} ", linecache.getline(file, frame.f_lineno).strip()
        return "", ""


def _frames() -> list[FrameType]:
    """Return the frames that led here, innermost first, without this file's own."""
    found, frame = [], sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename != __file__:
            found.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return found


DEVICE = Device("")  # the one of this process, once `install` has been called


class Pretend(torch.Tensor):
    """A tensor of the device: `raw`, on the CPU, holds its numbers."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> Pretend:
        made: Pretend = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            raw.size(),
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=torch.device(NAME, 0),
        )
        made.raw = raw
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _done(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return repr(self.raw.detach()).removesuffix(")") + f", device='{NAME}:0')"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.dim() == 0 else object.__format__(repr(self), spec)

    def __reduce_ex__(self, protocol: Any) -> Any:
        told = (self.raw.detach(), self.dtype, str(self.device), self.requires_grad)
        return torch._utils._rebuild_device_tensor_from_cpu_tensor, told

    def __deepcopy__(self, memo: dict[int, Any]) -> Pretend:
        import copy

        made = Pretend(self.raw.detach().clone())
        made.requires_grad_(self.requires_grad)
        more = {name: value for name, value in vars(self).items() if name != "raw"}
        vars(made).update(copy.deepcopy(more, memo))  # a parameter stays one
        if self.grad is not None:
            made.grad = copy.deepcopy(self.grad, memo)
        return made

    def numpy(self, *_: Any, **__: Any) -> Any:
        """Refuse, as a GPU's tensor does."""
        raise DEVICE.refused("asks a device's tensor for numpy: bring it over first, with .cpu()")

    __array__ = numpy  # type: ignore[assignment]

    def tolist(self) -> Any:
        """Return the numbers, which a GPU would be waited for."""
        DEVICE.copied("reads a tensor's values")
        return self.raw.tolist()

    def untyped_storage(self) -> Any:
        """Return where the numbers lie: by it those who save tensors tell tied ones."""
        return self.raw.untyped_storage()

    def data_ptr(self) -> int:
        """Return where the numbers begin."""
        return self.raw.data_ptr()


class Generator(torch.Generator):
    """A generator that says of which device it is; its numbers are a CPU's."""

    _cdata: int

    def __new__(cls, device: Any = "cpu") -> Any:
        return super().__new__(cls, "cpu" if _here(device) else device)  # type: ignore[call-arg]

    def __init__(self, device: Any = "cpu") -> None:
        (OURS.add if _here(device) else OURS.discard)(self._cdata)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Return the device that the generator draws for."""
        return torch.device(NAME, 0) if self._cdata in OURS else super().device


OURS: set[int] = set()  # the device's generators, by where torch keeps them: it hands on objects of its own


def _here(device: Any) -> bool:
    """Say whether a device, or its name, is this one."""
    return device is not None and not isinstance(device, int) and torch.device(device).type == NAME


def _done(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do an operation on the CPU tensors inside, refuse what a GPU would, and count what it would wait for."""
    name = func._schema.name.partition("::")[2]
    leaves = tree_leaves((args, kwargs))
    ours = [leaf for leaf in leaves if isinstance(leaf, Pretend)]
    others = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, Pretend)]
    target = kwargs.get("device")
    lies_here = _here(target) if target is not None else bool(ours)
    _look(func, name, args, kwargs, ours, others)
    generator = kwargs.get("generator")
    if generator is not None and lies_here and generator._cdata not in OURS:
        raise DEVICE.refused(f"gives {name} a CPU's generator: make it with torch.Generator(device=...)")
    if name == "_to_copy" and lies_here != bool(ours):
        DEVICE.copied("copies a tensor to the device" if lies_here else "copies a tensor to the host")
    inside = {key: _raw(value) for key, value in kwargs.items()}
    if target is not None:
        inside["device"] = torch.device("cpu")
    inside.pop("pin_memory", None)
    out = func(*(_raw(value) for value in args), **inside)
    known = {id(one.raw): one for one in ours} | {id(one): one for one in others}
    for one in _written(func, args, kwargs):
        if isinstance(one, Pretend) and one.raw.shape != one.shape:
            with torch._C.DisableTorchFunction():
                torch.Tensor.data.__set__(one, Pretend(one.raw))  # type: ignore[attr-defined]

    def back(value: torch.Tensor) -> torch.Tensor:
        found = known.get(id(value))
        return found if found is not None else Pretend(value) if lies_here else value

    return tree_map_only(torch.Tensor, back, out)


def _raw(value: Any) -> Any:
    """Return an operation's argument with the CPU tensors that are inside."""
    if isinstance(value, Pretend):
        return value.raw
    if isinstance(value, list | tuple):
        return tree_map(lambda one: one.raw if isinstance(one, Pretend) else one, value)
    return value


def _written(func: Any, args: Any, kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """Return the tensors that an operation writes to."""
    stated = func._schema.arguments
    names = [one.name for one in stated if one.alias_info is not None and one.alias_info.is_write]
    if not names:
        return []
    given = {one.name: arg for one, arg in zip(stated, args, strict=False)} | kwargs
    return _values([given.get(name) for name in names])


def _look(
    func: Any, name: str, args: Any, kwargs: Any, ours: list[Pretend], others: list[torch.Tensor]
) -> None:
    """Refuse tensors of two devices; count values that are read, and shapes that values decide."""
    if not ours:
        return
    if name in COPIES:
        if others:
            DEVICE.copied("copies between host and device")
        return
    if name in INDEXED:
        if not isinstance(args[0], Pretend) or any(
            t.dim() for t in _values(args[2:3]) if not isinstance(t, Pretend)
        ):
            raise _strays(name, ours, others)
        chosen = [t for t in args[1] if isinstance(t, torch.Tensor)]
        if any(not isinstance(t, Pretend) for t in chosen):
            DEVICE.copied("indexes with a CPU's tensor, which is copied over")
        elif any(t.dtype is torch.bool for t in chosen):
            DEVICE.copied("indexes with a mask, whose count is waited for")
        return
    if any(t.dim() for t in others) or not all(isinstance(t, Pretend) for t in _written(func, args, kwargs)):
        raise _strays(name, ours, others)
    if name in WAITS:
        DEVICE.copied(f"reads a tensor's values ({name.strip('_')})")


def _values(args: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)]


def _strays(name: str, ours: list[Pretend], others: list[torch.Tensor]) -> OffDevice:
    shapes = [" and ".join(str(tuple(t.shape)) for t in some) for some in (others, ours)]
    return DEVICE.refused(
        f"mixes devices: {name} was given {shapes[0]} on the CPU and {shapes[1]} on the device; "
        "make every tensor on the model's device"
    )


class Asked(TorchFunctionMode):
    """What Python asks torch for before an operation is chosen: tensors made of lists, lists as indices, `.data`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = ASKED.get(func)
        out = found(func, *args, **kwargs) if found else func(*args, **kwargs)
        generator = kwargs.get("generator")
        if generator is not None and generator._cdata in OURS and type(out) is torch.Tensor:
            raise DEVICE.refused("gives a CPU's tensor the device's generator")
        return out


def _made(func: Any, data: Any, *args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
    """Make a tensor of numbers, lists or another tensor, on the CPU, and bring it over."""
    if isinstance(data, Pretend):
        copied = func is torch.tensor
        moved: torch.Tensor = data.to(
            device=data.device if device is None else device, dtype=kwargs.get("dtype"), copy=copied
        )
        return moved.detach().requires_grad_(kwargs.get("requires_grad", False)) if copied else moved
    if isinstance(data, list | tuple):
        data = tree_map(lambda one: one.tolist() if isinstance(one, Pretend) else one, data)
    made: torch.Tensor = func(data, *args, **({} if _here(device) else {"device": device}), **kwargs)
    if not _here(device):
        return made
    return made.detach().to(device).requires_grad_(made.requires_grad)


def _like(
    func: Any, own: torch.Tensor, data: Any, *, device: Any = None, dtype: Any = None, **more: Any
) -> Any:
    """Make a tensor of `data` where `own` lies."""
    return _made(torch.tensor, data, device=device or own.device, dtype=dtype or own.dtype, **more)


def _chosen(func: Any, own: torch.Tensor, index: Any, *value: Any) -> Any:
    """Index with lists as with the tensors that torch makes of them."""
    if isinstance(own, Pretend):
        if isinstance(index, list):
            index = _made(torch.tensor, index)
        elif isinstance(index, tuple):
            index = tuple(_made(torch.tensor, one) if isinstance(one, list) else one for one in index)
    return func(own, index, *value)


def _put(func: Any, own: torch.Tensor, value: torch.Tensor) -> None:
    """Give a tensor other numbers, of whichever device: ties and the optimiser's grip on it stay."""
    if isinstance(own, Pretend) and isinstance(value, Pretend):
        func(own, value)  # what it says of itself: shape, type
        own.raw = value.raw
    elif not isinstance(own, Pretend) and not isinstance(value, Pretend):
        func(own, value)
    elif isinstance(own, torch.nn.Parameter):
        torch.utils.swap_tensors(own, torch.nn.Parameter(value.detach(), own.requires_grad))
    else:
        torch.utils.swap_tensors(own, value.detach().requires_grad_(own.requires_grad))


class Whole(torch.autograd.Function):
    """An operation that torch makes of others as the device has them, done as on a CPU, backwards too."""

    @staticmethod
    def forward(ctx: Any, call: Callable[..., Any], *tensors: torch.Tensor) -> Any:
        """Do it on the tensors inside, and keep their graph."""
        ctx.inside = [_raw(t).detach().requires_grad_(t.requires_grad) for t in tensors]
        with torch.enable_grad():
            ctx.out = call(*ctx.inside)
        return tree_map_only(torch.Tensor, lambda t: Pretend(t.detach()), ctx.out)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Go back through the graph inside."""
        outs = [
            (out, gradient.raw)
            for out, gradient in zip(tree_leaves(ctx.out), gradients, strict=True)
            if gradient is not None and out.requires_grad
        ]
        asked = [t for t in ctx.inside if t.requires_grad]
        ours, given = zip(*outs, strict=True)
        found = iter(torch.autograd.grad(ours, asked, given, retain_graph=True, allow_unused=True))
        back = [next(found) if t.requires_grad else None for t in ctx.inside]
        return None, *(None if gradient is None else Pretend(gradient) for gradient in back)


def _whole(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Do an operation as a CPU does it, of the same parts in the same order."""
    leaves, shape = tree_flatten((args, kwargs))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    tensors = [leaves[place] for place in places]
    ours = [t for t in tensors if isinstance(t, Pretend)]
    if not ours:
        return func(*args, **kwargs)
    others = [t for t in tensors if not isinstance(t, Pretend)]
    if any(t.dim() for t in others):
        raise _strays(func.__name__, ours, others)

    def call(*inside: torch.Tensor) -> Any:
        now = list(leaves)
        for place, tensor in zip(places, inside, strict=True):
            now[place] = tensor
        words, options = tree_unflatten(now, shape)
        return func(*words, **options)

    if torch.is_grad_enabled():
        return Whole.apply(call, *tensors)
    return tree_map_only(torch.Tensor, Pretend, call(*map(_raw, tensors)))


def _dropped(func: Any, x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Drop as a CPU does; in place, torch's own way draws the same."""
    return func(x, p, training, True) if inplace else _whole(func, x, p, training)


ASKED: dict[Any, Callable[..., Any]] = {
    torch.tensor: _made,
    torch.as_tensor: _made,
    torch.asarray: _made,
    torch.Tensor.new_tensor: _like,
    torch.Tensor.__getitem__: _chosen,
    torch.Tensor.__setitem__: _chosen,
    torch.Tensor.data.__set__: _put,  # type: ignore[attr-defined]
    torch.nn.functional.scaled_dot_product_attention: _whole,
    torch.nn.functional.dropout: _dropped,
    torch.lstm: _whole,
    torch.gru: _whole,
}


class Module:
    """What `torch.pretend` answers."""

    class device(contextlib.nullcontext[None]):
        """The one device is always the current one."""

    is_available = is_initialized = is_bf16_supported = staticmethod(lambda *_: True)
    _is_in_bad_fork = staticmethod(lambda: False)
    device_count = staticmethod(lambda: 1)
    current_device = staticmethod(lambda: 0)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])
    get_device_name = staticmethod(lambda *_: NAME)
    manual_seed = manual_seed_all = staticmethod(lambda seed: None)  # the CPU's generator has been seeded
    set_device = synchronize = empty_cache = reset_peak_memory_stats = staticmethod(lambda *_: None)
    memory_allocated = max_memory_allocated = staticmethod(lambda *_: 0)
    get_rng_state = staticmethod(lambda device=0: torch.get_rng_state())
    get_rng_state_all = staticmethod(lambda: [torch.get_rng_state()])
    set_rng_state = staticmethod(lambda state, device=0: torch.set_rng_state(state))
    set_rng_state_all = staticmethod(lambda states: torch.set_rng_state(states[0]))


def _loaded(real: Callable[..., Any], file: Any, map_location: Any = None, **kwargs: Any) -> Any:
    """Load what was saved to the device; a storage of its own it has none."""
    here = isinstance(map_location, str | torch.device) and _here(map_location)
    found = real(file, map_location="cpu" if here else map_location, **kwargs)
    return tree_map_only(torch.Tensor, lambda t: t.to(NAME), found) if here else found


def _read(real: Callable[..., Any], file: Any, device: Any = "cpu", **kwargs: Any) -> Any:
    found = real(file, device="cpu" if _here(device) else device, **kwargs)
    return {name: tensor.to(device) for name, tensor in found.items()}


_KEPT: list[Any] = []  # libraries of kernels end with their last reference


def install(package: str) -> Device:
    """Put the device into this process for good, for the plugin whose code lies in the folder `package`.

    Raises RuntimeError where another such backend is there already.
    """
    global DEVICE
    import safetensors.torch

    backend_registration._setup_privateuseone_for_python_backend(NAME, Module)
    everything = torch.library.Library("_", "IMPL")
    everything.fallback(lambda op, *args, **kwargs: _done(op, args, kwargs), "PrivateUse1")
    everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    _KEPT.append(everything)
    os.environ["ACCELERATE_TORCH_DEVICE"] = f"{NAME}:0"
    torch.__future__.set_swap_module_params_on_conversion(True)  # a tied weight moves once, and stays tied
    torch.autograd.set_multithreading_enabled(
        False
    )  # backwards in this thread: no queue need know the device
    vars(torch._C)["_InferenceMode"] = lambda on: torch.no_grad() if on else contextlib.nullcontext()
    vars(torch)["Generator"] = Generator
    vars(torch)["load"] = functools.partial(_loaded, torch.load)
    vars(safetensors.torch)["load_file"] = functools.partial(_read, safetensors.torch.load_file)
    torch.Tensor.pin_memory = lambda self, *_: self  # type: ignore[method-assign]
    Asked().__enter__()
    DEVICE = Device(package.rstrip(os.sep) + os.sep)
    return DEVICE
