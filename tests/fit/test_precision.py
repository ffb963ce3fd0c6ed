"""auto: weights of bfloat16 on every machine, products in what this machine is fast at, measured once."""

import json

import pytest
import torch

from harness.errors import UsageError
from harness.fit import precision
from harness.fit.precision import dtypes, fastest, for_writing


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Forget what this machine is fast at; return the products that are then timed."""
    times = {torch.float32: 1.0, torch.bfloat16: 7.0}
    seen = []

    def measured(dtype):
        seen.append(dtype)
        return times[dtype]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(precision, "measured", measured)
    precision._remembered.cache_clear()
    yield times, seen
    precision._remembered.cache_clear()


def test_what_is_slow_in_bfloat16_computes_in_float32_with_the_same_rounded_weights(asked):
    assert dtypes("auto", "cpu") == (torch.bfloat16, torch.float32)
    times, _ = asked
    times[torch.bfloat16] = 0.5
    precision._remembered.cache_clear()
    assert fastest("cpu") == "float32"  # remembered


def test_what_is_fast_in_bfloat16_computes_in_it(asked):
    times, _ = asked
    times[torch.bfloat16] = 0.5
    assert dtypes("auto", "cpu") == (torch.bfloat16, torch.bfloat16)


def test_a_machine_is_measured_once_and_told(asked, tmp_path, capsys):
    _, seen = asked
    fastest("cpu")
    precision._remembered.cache_clear()
    fastest("cpu")
    assert seen == [torch.float32, torch.bfloat16]
    assert "GFLOP/s" in capsys.readouterr().err
    (kept,) = json.loads((tmp_path / "paper-harness" / "precision.json").read_text()).values()
    assert kept == {"float32": 1.0, "bfloat16": 7.0}


def test_a_scribbled_memory_is_measured_anew(asked, tmp_path):
    (tmp_path / "paper-harness").mkdir()
    (tmp_path / "paper-harness" / "precision.json").write_text("{")
    assert fastest("cpu") == "float32"


def test_a_precision_that_is_named_is_taken(asked):
    _, seen = asked
    assert dtypes("float32", "cpu") == (torch.float32, torch.float32)
    assert dtypes("bfloat16", "cpu") == (torch.bfloat16, torch.bfloat16)
    assert seen == []
    with pytest.raises(UsageError, match="float16"):
        dtypes("float16", "cpu")


def test_rounded_weights_are_those_of_bfloat16(asked, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=20, **sizes)).save_pretrained(tmp_path / "model")
    rounded, whole = (
        for_writing(LlamaForCausalLM, tmp_path / "model", p, "cpu") for p in ("auto", "float32")
    )
    for one, other in zip(rounded.parameters(), whole.parameters(), strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other.to(torch.bfloat16).float())


def test_a_product_takes_time():
    assert 0 < precision.measured(torch.float32) < 10
