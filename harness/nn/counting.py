"""One training step, counted without being run: FLOPs by torch's formulas, memory by the tensors that are alive.

    counted(model, step, batch, precision="bfloat16") -> Counted(flops, activations, logits)

The step is the paper's own, on tensors without content (torch's fake tensors), so that a model of any size is counted
on any machine. What stays alive is followed storage by storage, as an allocator would see it. Attention is counted as
a fused kernel: no matrix of its scores, none of its dropout, no boolean mask of a whole row (a bias is counted).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

Step = Callable[[Any, dict[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Counted:
    """What a forward and backward pass takes beside weights, gradients and the optimiser's states."""

    flops: float
    activations: int  # bytes at the peak that are not logits
    logits: int  # bytes at the peak of tensors over the vocabulary


def counted(
    model: nn.Module,
    step: Step,
    batch: Callable[[], dict[str, Tensor]],
    *,
    precision: str = "bfloat16",
    vocabulary: int = 0,
) -> Counted:
    """Count `step(model, batch())` and its backward pass; tensors over `vocabulary` are told as logits.

    `model` lies on the meta device, and is left without its weights.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        emptied(model.train())
        given = batch()
        alive = Alive(model, vocabulary)
        with fused(), alive:
            with Nought(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                loss = step(model, given)
            if loss.requires_grad:
                loss.backward()
            del loss
    return Counted(float(alive.flops), alive.peak - alive.logits, alive.logits)


def emptied(model: nn.Module) -> None:
    """Give a model weights without content, in place; what was one tensor stays one."""
    made: dict[int, Any] = {}

    def one(tensor: Tensor) -> Any:
        if id(tensor) not in made:
            fresh = torch.empty_like(tensor, device="cpu")
            if isinstance(tensor, nn.Parameter):
                fresh = nn.Parameter(fresh, tensor.requires_grad)
            made[id(tensor)] = fresh
        return made[id(tensor)]

    kept = [*model.parameters(), *model.buffers()]  # alive until the end, or ids would be given twice
    for module in model.modules():
        for own in (module._parameters, module._buffers):
            own.update({name: one(tensor) for name, tensor in own.items() if tensor is not None})
    del kept


class Alive(TorchDispatchMode):
    """Follows the storages that operations make: `peak` bytes alive at once, of which `logits` then; adds up `flops`.

    Torch's own counter of FLOPs hooks modules, and its hooks keep what blocks make again alive: so only its formulas
    are used.
    """

    def __init__(self, model: nn.Module, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary, self.now, self.now_logits, self.peak, self.logits = vocabulary, 0, 0, 0, 0
        self.flops = 0
        self.known: dict[int, tuple[int, bool]] = {}  # storage -> its bytes, and whether they are logits
        for tensor in [*model.parameters(), *model.buffers()]:
            self.known[tensor.untyped_storage()._cdata] = (0, False)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._gradient)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if formula := FORMULAS.get(func._overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=made)
        for tensor in tree_leaves(made):
            square = isinstance(tensor, Tensor) and tensor.ndim > 1 and tensor.shape[-1] == tensor.shape[-2]
            if isinstance(tensor, Tensor) and not (square and tensor.dtype == torch.bool):
                self._meet(tensor)
        return made

    def _meet(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.known:
            return
        size, over = storage.nbytes(), self.vocabulary > 1 and self.vocabulary in tensor.shape
        self.known[key] = (size, over)
        self.now += size
        self.now_logits += size * over
        weakref.finalize(storage, self._gone, key)
        if self.now > self.peak:
            self.peak, self.logits = self.now, self.now_logits

    def _gone(self, key: int) -> None:
        size, over = self.known.pop(key)
        self.now -= size
        self.now_logits -= size * over

    def _gradient(self, parameter: Tensor) -> None:
        """Take a gradient that is whole out of the count: gradients are told apart."""
        key = parameter.grad.untyped_storage()._cdata  # type: ignore[union-attr]
        size, over = self.known.get(key, (0, False))
        self.now -= size
        self.now_logits -= size * over
        self.known[key] = (0, over)


NOUGHT: dict[Any, Any] = {Tensor.item: 0.0, Tensor.__float__: 0.0, Tensor.__int__: 0, Tensor.__bool__: False}


class Nought(TorchFunctionMode):
    """Reads nought from tensors without content: what a step tells, or spares itself a mask by."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return NOUGHT[func] if func in NOUGHT else func(*args, **(kwargs or {}))


@contextmanager
def fused() -> Iterator[None]:
    """Let attention be one kernel that keeps no scores, as on a GPU: grouped heads stay grouped, no dropout.

    Put in torch's place and not caught by a mode: modes do not reach what the backward pass makes again.
    """
    own = nn.functional.scaled_dot_product_attention
    nn.functional.scaled_dot_product_attention = _attend  # type: ignore[assignment]
    try:
        yield
    finally:
        nn.functional.scaled_dot_product_attention = own


def _attend(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    given = [tensor.to(dtype) for tensor in (query, key, value)]
    # transformers leaves causal masks out where it can look at positions, which have no content here.
    bias = None if attn_mask is None or attn_mask.dtype == torch.bool else attn_mask.to(dtype)
    attended: Tensor = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        *given, 0.0, is_causal, attn_mask=None if bias is None else bias.detach(), scale=scale
    )[0]
    return _Biased.apply(attended, bias) if bias is not None and bias.requires_grad else attended


class _Biased(torch.autograd.Function):
    """What attention gave, with the gradient of a bias that is learned: a GPU's kernel makes it, a CPU's cannot."""

    @staticmethod
    def forward(ctx: Any, attended: Tensor, bias: Tensor) -> Tensor:
        ctx.shape, ctx.dtype = bias.shape, bias.dtype
        return attended.view_as(attended)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor]:
        return given[0], torch.empty(ctx.shape, dtype=ctx.dtype, device=given[0].device)


def _forward(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


def _backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape))


FORMULAS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _forward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
}
