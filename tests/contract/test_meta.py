"""A step on the meta device: a stray tensor and a look at a value are told apart, each with the plugin's line."""

from types import SimpleNamespace

import pytest
import torch

from harness.contract.meta import OffDevice, step_on_meta

READS = {
    "item": lambda t: t.sum().item(),
    "bool": lambda t: bool(t.any()),
    "if": lambda t: 1 if t.all() else 2,
    "int": lambda t: int(t.sum()),
    "float": lambda t: float(t.sum()),
    "tolist": lambda t: t.tolist(),
    "numpy": lambda t: t.numpy(),
    "cpu": lambda t: t.cpu(),
    "mask as index": lambda t: t[t > 0],
    "nonzero": lambda t: t.nonzero(),
    "equal": lambda t: torch.equal(t, t),
    "unique": lambda t: t.unique(),
    "format": lambda t: f"{t.sum().item():.2f}",
    "range": lambda t: list(range(t.long().sum())),
}
STRAYS = {
    "matmul": lambda t: torch.ones(4, 4) @ t,
    "index": lambda t: t[torch.tensor([0, 1])],
    "add": lambda t: t + torch.ones(4, 4),
    "cat": lambda t: torch.cat([t, torch.ones(4, 4)]),
    "embedding": lambda t: torch.nn.functional.embedding(torch.tensor([1]), t),
    "where": lambda t: torch.where(torch.ones(4, 4).bool(), t, t),
}


def said(act) -> str:
    """Return what is said of a plugin whose training step does this."""

    def training_step(run, device):
        act(torch.ones(4, 4, device=device))  # the plugin's line

    plugin = SimpleNamespace(module=SimpleNamespace(__file__=__file__), hook=lambda name: training_step)
    with pytest.raises(OffDevice) as told:
        step_on_meta(plugin, None)
    return str(told.value)


@pytest.mark.parametrize("act", READS.values(), ids=READS)
def test_a_look_at_a_value_is_called_one_and_its_line_is_named(act):
    text = said(act)
    assert "reads a tensor's value" in text
    assert "test_meta.py:" in text
    assert "lambda t:" in text


@pytest.mark.parametrize("act", STRAYS.values(), ids=STRAYS)
def test_a_stray_tensor_is_called_one_and_its_line_is_named(act):
    text = said(act)
    assert "on cpu and meta" in text
    assert "make every tensor on the model's device" in text
    assert "test_meta.py:" in text


def test_another_error_keeps_its_own_words():
    text = said(lambda t: t.reshape(5, 5))
    assert "raised RuntimeError" in text
    assert "shape" in text


def test_a_step_that_keeps_to_its_device_passes():
    def training_step(run, device):
        weight = torch.ones(4, 4, device=device, requires_grad=True)
        (weight @ weight).sum().backward()

    plugin = SimpleNamespace(module=SimpleNamespace(__file__=__file__), hook=lambda n: training_step)
    assert step_on_meta(plugin, None) is None  # which raises where one does not
