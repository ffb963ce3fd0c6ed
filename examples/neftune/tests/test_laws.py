"""What must hold of the noise whatever is tuned with it, and that the plugin keeps the contract."""

import math

import pytest
import torch
from harness_neftune import noisy
from harness_neftune.data import answered
from harness_neftune.training import opened, step

from harness.data.pairs import Pair, padded
from harness.nn import Decoder, DecoderConfig

MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def model() -> Decoder:
    torch.manual_seed(0)
    sizes = {"vocab_size": 11, "width": 16, "layers": 3, "heads": 2, "feedforward": 32, "length": 8}
    return Decoder(DecoderConfig(**sizes, position="rotary"))


def test_noise_stays_within_its_bound_for_each_rows_own_length():
    torch.manual_seed(0)
    noise = noisy(torch.zeros(2, 4, 9), MASK, alpha=5.0).abs()
    assert noise[0].max() <= 5 / math.sqrt(4 * 9)
    assert noise[1].max() <= 5 / math.sqrt(2 * 9)
    assert noise[1].max() > 5 / math.sqrt(4 * 9)
    assert noise[1, 2:].sum() == 0  # padding gets none


def test_the_expected_length_of_the_noise_depends_on_alpha_alone():
    """E |noise|^2 = L d (alpha^2 / (L d)) / 3, whatever the row's tokens and the width."""
    torch.manual_seed(0)
    for length, width in ((8, 64), (64, 8), (100, 100)):
        mask = torch.ones(200, length, dtype=torch.long)
        squared = noisy(torch.zeros(200, length, width), mask, alpha=5.0).square().sum(dim=(1, 2)).mean()
        assert squared == pytest.approx(25 / 3, rel=0.05)


def test_it_is_transformers_own_where_no_row_is_padded():
    """TRL and transformers' Trainer add the same noise by a hook on the embedding."""
    from transformers.integrations.neftune import neftune_post_forward_hook

    made = model().train()
    embedding = made.get_input_embeddings()
    embedding.neftune_noise_alpha = 5.0
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    torch.manual_seed(1)
    ours = noisy(embedding(ids), torch.ones_like(ids), alpha=5.0)
    torch.manual_seed(1)
    assert torch.allclose(neftune_post_forward_hook(embedding, (ids,), embedding(ids)), ours)


def test_without_noise_a_step_is_plain_tuning():
    made, batch = model().eval(), padded([Pair([1, 2, 3, 4], 2), Pair([5, 6], 1)])
    assert step(made, batch, alpha=0.0) == step(made, batch, alpha=0.0)
    assert step(made, batch, alpha=1e-7).item() == pytest.approx(
        step(made, batch, alpha=0.0).item(), abs=1e-5
    )
    assert step(made, batch, alpha=5.0) != step(made, batch, alpha=5.0)


def test_the_last_layers_alone_are_opened():
    trained = {n for n, p in opened(model(), 1).named_parameters() if p.requires_grad}
    assert trained
    assert all("layers.2." in name for name in trained)
    assert all(p.requires_grad for p in opened(model(), 0).parameters())


def test_rows_of_every_form_become_instruction_and_response():
    rows = [
        {"instruction": "a", "response": "b"},
        {"instruction": "a", "input": "x", "output": "b"},
        {"instruction": "a", "instances": [{"input": "x", "output": "b"}]},
        {"instruction": "a", "output": ""},
    ]
    asked = [(row["instruction"], row["response"]) for row in answered(rows)]
    assert asked == [("a", "b"), ("a\nx", "b"), ("a\nx", "b")]


@pytest.mark.slow
def test_it_keeps_the_contract(contract):
    contract("neftune")
