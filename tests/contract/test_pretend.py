"""The device that is not there: what it computes is what the CPU does, and it refuses what a GPU refuses."""

import contextlib
import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

HERE = "pretend"

OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "a number": lambda x, y: 2 * x - 1,
    "matmul": lambda x, y: x @ y.T,
    "einsum": lambda x, y: torch.einsum("ij,kj->ik", x, y),
    "in place": lambda x, y: x.clone().mul_(y).add_(1),
    "a view in place": lambda x, y: (lambda z: (z.view(-1)[:2].zero_(), z)[1])(x.clone()),
    "another shape in place": lambda x, y: x.clone().unsqueeze_(0).squeeze_(0).t_(),
    "out": lambda x, y: torch.mul(x.detach(), 2, out=torch.empty_like(x)),
    "softmax": lambda x, y: x.softmax(-1),
    "log_softmax": lambda x, y: functional.log_softmax(x, dim=-1),
    "cross entropy": lambda x, y: functional.cross_entropy(x, y.argmax(-1)),
    "layer norm": lambda x, y: functional.layer_norm(x, x.shape[-1:]),
    "gelu": lambda x, y: functional.gelu(x),
    "silu": lambda x, y: functional.silu(x) * y,
    "rms": lambda x, y: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
    "dropout": lambda x, y: functional.dropout(x, 0.5),
    "dropout in place": lambda x, y: functional.dropout(x.clone(), 0.5, inplace=True),
    "a dropout module in place": lambda x, y: nn.Dropout(0.5, inplace=True)(x.clone()),
    "attention": lambda x, y: functional.scaled_dot_product_attention(x[None], y[None], y[None]),
    "masked attention": lambda x, y: functional.scaled_dot_product_attention(
        x[None, None], y[None, None], y[None, None], attn_mask=(x @ y.T)[None, None].detach()
    ),
    "embedding": lambda x, y: functional.embedding(x.argsort(-1) % len(y), y),
    "gather": lambda x, y: x.gather(-1, y.argsort(-1)),
    "scatter": lambda x, y: torch.zeros_like(x).scatter_add(-1, y.argsort(-1), x),
    "where": lambda x, y: torch.where(x > y, x, 0.0),
    "masked fill": lambda x, y: x.masked_fill(x > 0, -1.0),
    "a mask as index": lambda x, y: x[y > 0],
    "a list as index": lambda x, y: x[[0]],
    "indices": lambda x, y: x[y.argmax(0)],
    "set by index": lambda x, y: (lambda z: (z.__setitem__((slice(None), 0), 7.0), z)[1])(x.clone()),
    "cat": lambda x, y: torch.cat([x, y], dim=0),
    "stack": lambda x, y: torch.stack([x, x]),
    "split": lambda x, y: x.chunk(2, -1)[0],
    "sort": lambda x, y: x.sort(-1, descending=True)[0],
    "topk": lambda x, y: x.topk(1, -1)[0],
    "cumsum": lambda x, y: x.cumsum(-1),
    "norm": lambda x, y: x.norm(),
    "mean and std": lambda x, y: torch.stack([x.mean(), x.std()]),
    "nonzero": lambda x, y: (x > 0).nonzero(),
    "half": lambda x, y: (x.bfloat16() @ y.bfloat16().T).float(),
    "like": lambda x, y: torch.ones_like(x) + x.new_tensor([1.0]) + x.new_zeros(1),
    "arange": lambda x, y: torch.arange(3, device=x.device) + torch.tensor([1, 2, 3], device=x.device),
    "random": lambda x, y: torch.rand(3, device=x.device) + torch.randn(3, device=x.device),
    "its generator": lambda x, y: torch.rand(
        3, device=x.device, generator=torch.Generator(x.device).manual_seed(3)
    ),
    "multinomial": lambda x, y: torch.multinomial(x.softmax(-1), 1),
    "einops by hand": lambda x, y: x.reshape(1, *x.shape).permute(2, 0, 1).contiguous().flatten(),
    "lstm": lambda x, y: nn.LSTM(x.shape[-1], 2).to(x.device)(x)[0],
    "convolution": lambda x, y: functional.conv1d(x[None], y[:1, None, :1].expand(2, len(x), 1)),
    "inference": lambda x, y: torch.inference_mode()(lambda: (x @ y.T).float().cpu().to(x.device))(),
    "autocast": lambda x, y: torch.autocast(x.device.type, torch.bfloat16, enabled=False)(lambda: x @ y.T)(),
    "a number read": lambda x, y: torch.tensor(x.sum().item() + float(y.mean()) + len(x.tolist())),
    "there and back": lambda x, y: x.cpu().to(x.device) + x.to("cpu").to(x.device),
}


def done(act: Callable[..., Any], device: str, rows: int, columns: int, seed: int) -> list[torch.Tensor]:
    """Return what an operation gives on a device, and the gradients of what it was given, on the CPU."""
    torch.manual_seed(seed)
    given = [torch.randn(rows, columns).to(device).requires_grad_() for _ in range(2)]
    out = act(*given)
    found = [out.detach().cpu()]
    if out.requires_grad:
        (out.float() ** 2).sum().backward()
        found += [t.grad.cpu() for t in given if t.grad is not None]
    return found


def test_an_operation_gives_what_the_cpu_gives_and_so_do_its_gradients(pretending):
    @settings(max_examples=20, deadline=None, database=None)
    @given(st.integers(1, 5), st.integers(2, 5), st.integers(0, 99))
    def law(rows: int, columns: int, seed: int) -> None:
        for name, act in OPERATIONS.items():
            ours, cpu = (done(act, device, rows, columns, seed) for device in (HERE, "cpu"))
            assert len(ours) == len(cpu), name
            for one, two in zip(ours, cpu, strict=True):
                torch.testing.assert_close(
                    one, two, rtol=1e-5, atol=1e-6, equal_nan=True, msg=f"{name}: {one} {two}"
                )

    pretending(law)


# What a GPU refuses, and what it takes


def device_of(act: Callable[[torch.Tensor], Any]) -> Callable[[], Any]:
    return lambda: (act(torch.ones(4, 4, device=HERE)), None)[1]


REFUSED: dict[str, Callable[[torch.Tensor], Any]] = {
    "matmul": lambda t: torch.ones(4, 4) @ t,
    "add": lambda t: t + torch.ones(4, 4),
    "a sum kept on the CPU": lambda t: torch.zeros(()).add_(t.sum()),
    "rows times a number of the device": lambda t: torch.ones(4) * t.sum(),
    "cat": lambda t: torch.cat([t, torch.ones(4, 4)]),
    "embedding": lambda t: functional.embedding(torch.tensor([1]), t),
    "where": lambda t: torch.where(torch.ones(4, 4).bool(), t, t),
    "attention": lambda t: functional.scaled_dot_product_attention(t, t, t, attn_mask=torch.ones(4, 4)),
    "a CPU's rows by its indices": lambda t: torch.ones(4, 4)[t.argmax(0)],
    "set by a CPU's rows": lambda t: t.__setitem__([0, 1], torch.ones(2, 4)),
    "a CPU's model": lambda t: nn.Linear(4, 4)(t),
    "a model of it": lambda t: nn.Linear(4, 4).to(HERE)(torch.ones(4)),
    "the loss of a CPU's labels": lambda t: functional.cross_entropy(t, torch.arange(4)),
    "a checkpoint of the CPU": lambda t: t @ torch.load(saved(t), map_location="cpu"),
    "numpy": lambda t: t.numpy(),
    "an array": lambda t: __import__("numpy").asarray(t),
    "a CPU's generator": lambda t: torch.randn(3, device=HERE, generator=torch.Generator()),
    "its generator on the CPU": lambda t: torch.randn(3, generator=torch.Generator(HERE)),
    "multinomial by a CPU's generator": lambda t: torch.multinomial(t, 1, generator=torch.Generator()),
}
TAKEN: dict[str, Callable[[torch.Tensor], Any]] = {
    "a number of the CPU": lambda t: t * torch.tensor(2.0),
    "a CPU's indices": lambda t: t[torch.tensor([0, 1])],
    "set to a number": lambda t: t.__setitem__(torch.tensor([0, 1]), 3.0),
    "copy over": lambda t: t.copy_(torch.ones(4, 4)),
    "copy back": lambda t: torch.ones(4, 4).copy_(t),
    "pinned": lambda t: torch.ones(4, 4).pin_memory().to(HERE, non_blocking=True) + t,
    "forked chance": lambda t: torch.random.fork_rng().__enter__(),
    "forked chance by name": lambda t: torch.random.fork_rng(devices=[0], device_type=HERE).__enter__(),
    "the current device": lambda t: torch.get_device_module(HERE).device(0).__enter__(),
    "text": lambda t: f"{t.sum():.1f} {t}",
    "numpy of a copy": lambda t: t.cpu().numpy(),
    "made of its numbers": lambda t: torch.tensor([t[0, 0], t[0, 1]], device=HERE) + t[0, :2],
}


def saved(value: Any) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return file


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_gpu_refuses_is_refused_with_its_line(name, pretending):
    with pytest.raises(AssertionError, match=r"OffDevice: test_pretend.py:\d+ .*lambda t:"):
        pretending(device_of(REFUSED[name]))


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_gpu_takes_is_taken(name, pretending):
    pretending(device_of(TAKEN[name]))


# Models, ties, copies of them


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("seen", torch.arange(3.0))


def tied(model: Tied) -> bool:
    return model.head.weight is model.embedding.weight and len(list(model.parameters())) == 1


def test_ties_outlive_every_move(pretending):
    def act() -> list[str]:
        there = Tied().to(HERE)
        loaded = Tied().to(HERE)
        loaded.load_state_dict(there.state_dict())
        models = {
            "moved": there,
            "copied": copy.deepcopy(there),
            "loaded": loaded,
            "halved": Tied().to(HERE).half(),
        }
        models["back"] = copy.deepcopy(there).cpu()
        models["twice"] = Tied().to(HERE).to(HERE)
        return [name for name, model in models.items() if not tied(model)]

    assert pretending(act) == []


def test_a_tie_is_trained_as_on_the_cpu(pretending):
    def trained(device: str) -> torch.Tensor:
        torch.manual_seed(0)
        model, ids = Tied().to(device), torch.tensor([[0, 1, 2]]).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
        for _ in range(3):
            functional.cross_entropy(model.head(model.embedding(ids))[0], ids[0]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()
        return model.head.weight.detach().cpu()

    assert pretending(lambda: torch.equal(trained(HERE), trained("cpu")))


def test_what_is_saved_of_it_is_read_back_where_one_asks(pretending, tmp_path):
    from safetensors.torch import save_file

    def act() -> list[str]:
        from safetensors.torch import load_file

        model = Tied().to(HERE)
        weights = {"a": model.head.weight.detach(), "b": torch.arange(6, device=HERE).view(2, 3).T}
        save_file({"a": weights["a"]}, tmp_path / "x.safetensors")
        found = {
            "as it was": (HERE, torch.load(saved(weights), weights_only=True)),
            "on the CPU": ("cpu", torch.load(saved(weights), map_location="cpu", weights_only=True)),
            "on the device": (HERE, torch.load(saved(weights), map_location=HERE)),
            "a CPU's on the device": (
                HERE,
                torch.load(
                    saved({k: v.cpu() for k, v in weights.items()}), map_location=torch.device(HERE, 0)
                ),
            ),
            "pickled": (HERE, pickle.loads(pickle.dumps(weights))),
            "deep copy": (HERE, copy.deepcopy(weights)),
            "safetensors": ("cpu", load_file(tmp_path / "x.safetensors")),
            "safetensors there": (HERE, load_file(tmp_path / "x.safetensors", device=HERE)),
        }
        return [
            name
            for name, (kind, read) in found.items()
            if not all(
                t.device.type == kind and torch.equal(t.cpu(), weights[key].cpu()) for key, t in read.items()
            )
        ]

    assert pretending(act) == []


def test_a_copied_parameter_is_a_parameter_with_its_gradient(pretending):
    def act() -> bool:
        weight = nn.Linear(2, 2).to(HERE).weight
        weight.sum().backward()
        other = copy.deepcopy(weight)
        same = torch.equal(other.cpu(), weight.cpu()) and torch.equal(other.grad.cpu(), weight.grad.cpu())
        return same and isinstance(other, nn.Parameter) and other.requires_grad and other is not weight

    assert pretending(act)


@pytest.mark.parametrize(("before", "after"), [("cpu", HERE), (HERE, "cpu"), (HERE, HERE)])
def test_data_given_to_a_parameter_is_what_it_holds(before, after, pretending):
    def act() -> bool:
        weight = nn.Parameter(torch.zeros(3, device=before))
        weight.data = torch.zeros(3, device=after, dtype=torch.bfloat16 if before == after else None)
        weight.data = torch.arange(4.0, device=after)
        (weight * 2).sum().backward()
        kept = isinstance(weight, nn.Parameter) and weight.requires_grad and weight.device.type == after
        return kept and weight.tolist() == [0, 1, 2, 3] and weight.grad.tolist() == [2] * 4

    assert pretending(act)


def test_a_fit_on_it_is_the_cpus_also_when_it_goes_on_from_a_checkpoint(pretending, tmp_path):
    class Rows:
        drawn, last = 0, 6

        def __next__(self) -> dict[str, torch.Tensor]:
            if self.drawn == self.last:
                raise InterruptedError
            self.drawn += 1
            return {"input_ids": torch.arange(self.drawn, self.drawn + 8).view(2, 4) % 7}

        def state_dict(self) -> dict[str, Any]:
            return {"drawn": self.drawn}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.drawn = state["drawn"]

    def step(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        logits = functional.dropout(model(batch["input_ids"]), 0.1)
        return functional.cross_entropy(logits.flatten(0, 1), batch["input_ids"].flatten())

    def fitted(device: str, name: str, last: int = 6) -> list[float]:
        from harness.fit import fit, seed_everything

        losses: list[float] = []
        rows = Rows()
        rows.last = last
        seed_everything(0)
        with contextlib.suppress(InterruptedError):
            fit(
                nn.Embedding(7, 7), rows, step, steps=6, learning_rate=0.1, device=device, log_every=1,
                checkpoint=tmp_path / name, checkpoint_seconds=0, log=lambda at, loss, **_: losses.append(loss),
            )  # fmt: skip
        return losses

    cpu = pretending(lambda: fitted("cpu", "cpu"))
    assert len(cpu) == 6
    assert pretending(lambda: fitted(HERE, "whole")) == pytest.approx(cpu, rel=1e-6)
    assert pretending(lambda: fitted(HERE, "parts", 3) + fitted(HERE, "parts")) == pytest.approx(
        cpu, rel=1e-6
    )


def test_nobody_else_finds_it():
    from harness.errors import UsageError
    from harness.fit import pick_device

    with pytest.raises(UsageError, match="device 'pretend' is not on this machine: use device=auto"):
        pick_device(HERE)
