"""A price is arithmetic: small cases by hand, and real models counted by what they hold."""

import pytest
import torch
from torch import nn

from harness.nn.decoder import Decoder, DecoderConfig
from harness.nn.pricing import Size, plan_of, recomputing, shaped, size_of, with_recomputing

TEN = Size(parameters=10, embeddings=3, layers=2, width=5, vocabulary=7)


def test_one_part_by_hand():
    plan = plan_of(TEN, [(4, 3, 6)])
    assert (plan.parameters, plan.parameters_without_embeddings, plan.tokens) == (10, 7, 72)
    assert plan.flops == 72 * (6 * 10 + 12 * 2 * 5 * 6)
    assert plan.memory_bytes == 16 * 10 + 18 * (34 * 2 * 5 + 8 * 7)


def test_parts_add_up_but_for_memory_which_the_largest_decides():
    one, other = plan_of(TEN, [(4, 3, 6)]), plan_of(TEN, [(9, 2, 5)])
    both = plan_of(TEN, [(4, 3, 6), (9, 2, 5)])
    assert both.tokens == one.tokens + other.tokens
    assert both.flops == one.flops + other.flops
    assert both.memory_bytes == max(one.memory_bytes, other.memory_bytes)


def test_what_is_not_trained_has_neither_gradient_nor_state():
    assert plan_of(TEN, [(1, 0, 1)], trained=4, state=4).memory_bytes == 4 * 10 + 8 * 4


def test_pieces_of_a_batch_and_of_a_row_lower_the_memory_alone():
    whole, pieces = plan_of(TEN, [(4, 3, 6)]), plan_of(TEN, [(4, 3, 6)], rows=1, logits=2)
    assert pieces.memory_bytes == 160 + 6 * 34 * 2 * 5 + 2 * 8 * 7
    assert (whole.tokens, whole.flops) == (pieces.tokens, pieces.flops)


def test_a_paper_may_say_what_a_token_costs():
    assert plan_of(TEN, [(4, 3, 6)], flops=2.0).flops == 144


@pytest.mark.parametrize("tied", [True, False])
def test_a_decoder_is_counted_with_each_weight_once(tied):
    config = DecoderConfig(vocab_size=11, width=8, layers=1, heads=2, tie_word_embeddings=tied)
    size = size_of(Decoder(config))
    assert size.embeddings == 11 * 8 * (1 if tied else 2)
    assert size.parameters == sum(p.numel() for p in Decoder(config).parameters())
    assert (size.layers, size.width, size.vocabulary) == (1, 8, 11)


def test_an_encoder_has_no_output_layer_to_count():
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    assert size_of(BertModel(config)).embeddings == 88


PUBLISHED = {  # millions of parameters, as the models' cards tell
    "Qwen/Qwen2.5-1.5B": 1_540,
    "meta-llama/Llama-3.2-1B": 1_236,
    "meta-llama/Meta-Llama-3-8B": 8_030,
    "meta-llama/Meta-Llama-3-70B-Instruct": 70_554,
    "HuggingFaceTB/SmolLM2-135M": 134.5,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_known_shape_has_the_published_size_and_no_weights(name):
    model = shaped(name)
    assert isinstance(model, nn.Module)
    assert {p.device for p in model.parameters()} == {torch.device("meta")}
    assert size_of(model).parameters / 1e6 == pytest.approx(PUBLISHED[name], rel=0.005)


def test_what_costs_nothing_is_tried_first_and_what_changes_numbers_last():
    llama = shaped("HuggingFaceTB/SmolLM2-135M")
    levers = with_recomputing({"task.lora_rank": [16], "fit.micro_batch": [2, 1]}, llama)
    assert list(levers) == ["fit.micro_batch", "fit.checkpoint_activations", "task.lora_rank"]
    with recomputing(True):
        assert "fit.checkpoint_activations" not in with_recomputing({}, llama)
