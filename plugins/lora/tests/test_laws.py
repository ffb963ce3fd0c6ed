"""The laws of LoRA: where it starts, what it leaves alone, what it adds, and that it can be folded in and out."""

import copy
import math

import pytest
import torch
from harness_lora import LoraConfig, inject, merge, parameter_counts, unmerge
from harness_lora.injection import layers, unload
from harness_lora.layer import LoraLinear
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_models import decoder, ids, stirred
from torch import nn

from harness.fit import fit
from harness.nn.losses import next_token_loss


@pytest.mark.parametrize("config", [LoraConfig(), LoraConfig(2, 4, rslora=True), LoraConfig(gaussian=True)])
def test_step_0_is_exactly_the_base(config):
    base = decoder()
    adapted = inject(copy.deepcopy(base), config)
    assert torch.equal(adapted(ids()).logits, base(ids()).logits)


def test_the_change_is_scale_times_b_times_a():
    layer = LoraLinear(nn.Linear(2, 2, bias=False), rank=1, scale=2.0)
    layer.base_layer.weight = nn.Parameter(torch.eye(2))
    layer.lora_A.weight = nn.Parameter(torch.tensor([[1.0, 2.0]]))
    layer.lora_B.weight = nn.Parameter(torch.tensor([[3.0], [0.0]]))
    # x + 2 * B (A x) with A x = 1 + 2 * 1 = 3, so 2 * 3 * 3 = 18 more in the first place
    assert torch.equal(layer(torch.tensor([1.0, 1.0])), torch.tensor([19.0, 1.0]))
    layer.merge()
    assert torch.equal(layer.base_layer.weight, torch.tensor([[7.0, 12.0], [0.0, 1.0]]))


def test_the_scale_is_alpha_over_rank_or_over_its_root():
    assert LoraConfig(rank=4, alpha=8).scale == 2
    assert LoraConfig(rank=4, alpha=8, rslora=True).scale == 4


def test_a_starts_within_the_bound_of_the_official_code():
    layer = LoraLinear(nn.Linear(64, 8), rank=4, scale=1.0)
    assert 0.9 / 8 < layer.lora_A.weight.abs().max() <= 1 / math.sqrt(64)
    assert not layer.lora_B.weight.any()


def test_a_merged_model_equals_the_unmerged_one_and_unmerging_restores_every_bit():
    model = stirred(inject(decoder(), LoraConfig()))
    before, weights = model(ids()).logits, copy.deepcopy(model.state_dict())
    merge(model)
    assert all(layer.merged for _, layer in layers(model))
    torch.testing.assert_close(model(ids()).logits, before, rtol=1e-5, atol=1e-5)
    assert not torch.equal(model.state_dict()["layers.0.attention.q_proj.base_layer.weight"],
                           weights["layers.0.attention.q_proj.base_layer.weight"])  # fmt: skip
    unmerge(model)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model(ids()).logits, before)


def test_merging_twice_is_merging_once():
    model = stirred(inject(decoder(), LoraConfig()))
    once = merge(model)(ids()).logits
    assert torch.equal(merge(model)(ids()).logits, once)


def test_merging_a_bfloat16_base_sums_in_float32():
    layer = LoraLinear(nn.Linear(16, 16, dtype=torch.bfloat16), rank=4, scale=1.0)
    nn.init.normal_(layer.lora_B.weight)
    exact = layer.base_layer.weight.float() + layer.lora_B.weight @ layer.lora_A.weight
    layer.merge()
    assert torch.equal(layer.base_layer.weight, exact.to(torch.bfloat16))


def test_dropout_acts_in_training_and_is_gone_in_the_merged_model():
    model = stirred(inject(decoder(), LoraConfig(dropout=0.5)))
    still = model(ids()).logits
    model.train()
    assert not torch.equal(model(ids()).logits, still)
    merge(model)
    torch.testing.assert_close(model(ids()).logits, still, rtol=1e-5, atol=1e-5)


def test_the_frozen_base_has_no_gradient_no_optimiser_state_and_does_not_move():
    model = inject(decoder(), LoraConfig())
    before = {n: p.clone() for n, p in model.named_parameters() if "lora_" not in n}
    states = []

    def optimizer(parameters, lr, weight_decay):
        states.append(torch.optim.AdamW(parameters, lr=lr, weight_decay=0.1))
        return states[0]

    class Same:
        def __next__(self):
            return {"input_ids": ids(), "labels": ids().roll(-1, 1)}

        def state_dict(self):
            return {}

    fit(model, Same(), next_token_loss, steps=5, learning_rate=0.01, optimizer=optimizer, device="cpu")
    after = dict(model.named_parameters())
    assert all(
        torch.equal(after[name], tensor) and after[name].grad is None for name, tensor in before.items()
    )
    moved = [p for n, p in after.items() if "lora_" in n]
    assert all(p.abs().sum() > 0 for p in moved)
    assert {id(p) for p in states[0].state} == {id(p) for p in moved}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_a_matrix_of_d_by_k_is_changed_by_r_times_d_plus_k_numbers(d, k, data):
    rank = data.draw(st.integers(1, min(d, k)))
    model = inject(nn.ModuleDict({"m": nn.Linear(k, d)}), LoraConfig(rank, 1.0, targets=("m",)))
    counts = parameter_counts(model)
    assert counts["adapter"] == counts["trainable"] == rank * (d + k)
    assert counts["total"] == rank * (d + k) + d * k + d
    stirred(model)
    merge(model)
    change = model["m"].base_layer.weight - model["m"].kept[0]
    assert torch.linalg.matrix_rank(change.detach(), atol=1e-4) <= rank


def test_unloading_leaves_a_plain_model_with_the_merged_weights():
    model = stirred(inject(decoder(), LoraConfig()))
    want = merge(model)(ids()).logits
    plain = unload(model)
    assert torch.equal(plain(ids()).logits, want)
    assert not [n for n, _ in plain.named_parameters() if "lora" in n or "base_layer" in n]


def test_merging_a_tied_output_layer_leaves_the_embedding_alone():
    model = decoder(tie_word_embeddings=True)
    embedding = model.embedding.weight.clone()
    stirred(inject(model, LoraConfig(targets=("lm_head",))))
    before = model(ids()).logits
    merge(model)
    assert torch.equal(model.embedding.weight, embedding)
    torch.testing.assert_close(model(ids()).logits, before, rtol=1e-5, atol=1e-5)
    unmerge(model)
    assert model.lm_head.base_layer.weight is model.embedding.weight
    assert not unload(merge(model)).config.tie_word_embeddings
