"""What a step is counted to hold is what torch's allocator gives it, measured; its FLOPs are those of torch's counter.

The measure is the CPU allocator's own, by torch's profiler, of a second step: gradients and states are there already.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from harness.nn.counting import counted
from harness.nn.decoder import Decoder, DecoderConfig
from harness.nn.pricing import plan_of, size_of, tokens_of

ROWS, LENGTH, VOCABULARY = 8, 128, 500


def decoder():
    """The decoder that ALiBi trains."""
    import harness_alibi.positions  # noqa: F401

    return Decoder(
        DecoderConfig(
            vocab_size=VOCABULARY, width=128, layers=4, heads=4, length=LENGTH, feedforward=512, position="alibi"
        )
    )  # fmt: skip


def llama():
    from harness_lora.injection import inject
    from harness_lora.options import LoraConfig
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=344, tie_word_embeddings=True,
    )  # fmt: skip
    return inject(LlamaForCausalLM(config), LoraConfig(8, 16))


def bert():
    """A CPU has no fused attention with dropout, so this one has none there."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return BertModel(config)


def qwen_again():
    """A model whose blocks make their activations again."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=128, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=512, tie_word_embeddings=True,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def bloom_again():
    """The same of a family with a backward pass of its own, whose graph must not be kept alive by what counts."""
    from transformers import BloomConfig, BloomForCausalLM

    model = BloomForCausalLM(BloomConfig(vocab_size=VOCABULARY, hidden_size=128, n_layer=6, n_head=4))
    model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def next_token(model, batch):
    logits = model(input_ids=batch["input_ids"], use_cache=False).logits
    return nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch["labels"].flatten())


def vectors(model, batch):
    return model(input_ids=batch["input_ids"]).last_hidden_state.mean()


ALL = [
    (decoder, next_token),
    (llama, next_token),
    (qwen_again, next_token),
    (bloom_again, next_token),
    (bert, vectors),
]


def meta(build):
    with torch.device("meta"):
        return build()


def measured(build, step, folder: Path) -> tuple[int, int]:
    """Return the bytes of weights, gradients and AdamW's states, and the peak of all else in a step."""
    model = build().train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
    batch = tokens_of(VOCABULARY)
    step(model, batch(ROWS, LENGTH)).backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=False)
    kept = [*model.parameters(), *(p.grad for p in model.parameters() if p.grad is not None)]
    kept += [value for state in optimiser.state.values() for value in state.values() if value.ndim]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step(model, batch(ROWS, LENGTH)).backward()
    found.export_chrome_trace(str(folder / "trace.json"))
    events = [
        e for e in json.loads((folder / "trace.json").read_text())["traceEvents"] if e["name"] == "[memory]"
    ]
    now = peak = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        now += event["args"]["Bytes"]
        peak = max(peak, now)
    return sum(t.numel() * t.element_size() for t in kept), peak


@pytest.mark.slow
@pytest.mark.parametrize(("build", "step"), ALL)
def test_memory_is_what_the_allocator_gives(build, step, tmp_path):
    model = meta(build)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total, size = sum(p.numel() for p in model.parameters()), size_of(model)
    plan = plan_of(
        model,
        [(1, ROWS, LENGTH)],
        trained=trained,
        step=step,
        batch=tokens_of(VOCABULARY),
        precision="float32",
    )
    states, peak = measured(build, step, tmp_path)
    parts = plan.memory["training"]
    assert size.parameters == total
    assert parts["weights"] + parts["gradients"] + parts["optimiser states"] == pytest.approx(
        states, rel=0.05
    )
    assert parts["activations"] + parts["logits"] == pytest.approx(peak, rel=0.15)
    assert plan.memory_bytes == pytest.approx(states + peak, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "step"), [(decoder, next_token), (bert, vectors)])
def test_flops_of_the_formula_are_those_of_torchs_counter(build, step):
    model = meta(build)
    plan = plan_of(model, [(1, ROWS, LENGTH)])
    found = counted(model, step, lambda: tokens_of(VOCABULARY)(ROWS, LENGTH), precision="float32")
    assert plan.flops == pytest.approx(found.flops, rel=0.05)


@pytest.mark.parametrize(
    ("build", "step"), [(decoder, next_token), (qwen_again, next_token), (bert, vectors)]
)
def test_flops_are_those_of_torchs_counter_on_a_step_that_runs(build, step):
    """In forward and backward, and what is made again: on so few tokens that attention itself is nothing."""
    rows = tokens_of(VOCABULARY)(1, 4)
    torch_counts = FlopCounterMode(display=False)
    with torch_counts:
        step(build().train(), rows).backward()
    found = counted(meta(build), step, lambda: tokens_of(VOCABULARY)(1, 4), precision="float32")
    assert found.flops == pytest.approx(torch_counts.get_total_flops(), rel=0.01)


def test_a_count_leaves_torchs_attention_as_it_was():
    before = nn.functional.scaled_dot_product_attention
    counted(meta(lambda: nn.Linear(3, 3)), lambda m, b: m(b["x"]).sum(), lambda: {"x": torch.ones(2, 3)})
    assert nn.functional.scaled_dot_product_attention is before


def test_a_bias_that_is_learned_has_its_gradient_counted():
    """A CPU has no kernel of attention that gives it; a GPU has."""

    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.ones(2, 1, 1))

        def forward(self, x):
            bias = self.slope * torch.ones(64, 64)
            return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=bias[None])

    def count(learned: bool) -> int:
        model = meta(Attends)
        model.slope.requires_grad_(learned)
        rows = {"x": torch.ones(1, 2, 64, 8, requires_grad=True)}
        found = counted(model, lambda m, b: m(b["x"]).sum(), lambda: rows, precision="float32")
        return found.activations

    assert count(True) - count(False) >= 4 * 2 * 64 * 64


def test_a_linear_layer_by_hand():
    found = counted(
        meta(lambda: nn.Linear(4, 6, bias=False)),
        lambda model, batch: model(batch["x"]).sum(),
        lambda: {"x": torch.ones(8, 4)},
        precision="float32",
    )
    assert found.flops == 2 * (2 * 8 * 4 * 6)  # forward, and the gradient of the weights
    assert found.activations + found.logits >= 4 * 8 * 6
