"""Position encodings, each held to its formula, its oracle or its limit."""

import math

import pytest
import torch

from harness.errors import HarnessError
from harness.nn.decoder import Decoder, DecoderConfig
from harness.nn.positions import KINDS, Learned, Position, Rotary, Sinusoidal, T5Bias, position_of, rotate


def config(**changes):
    return DecoderConfig(**{"vocab_size": 11, "width": 16, "layers": 1, "heads": 2, "length": 8, **changes})


def test_none_adds_nothing_anywhere():
    none = Position(config())
    places = torch.arange(4)[None]
    assert none.embed(places) is None
    assert none.rotation(places) is None
    assert none.bias(torch.zeros(4, 4, dtype=torch.long)) is None


def test_sinusoid_starts_with_sines_of_zero_then_cosines_of_zero():
    table = Sinusoidal(config()).embed(torch.tensor([[0, 1]]))
    assert table.shape == (1, 2, 16)
    assert table[0, 0].tolist() == [0.0] * 8 + [1.0] * 8
    assert table[0, 1, 0].item() == pytest.approx(math.sin(1))  # the fastest pair turns one radian a token
    assert table[0, 1, 7].item() == pytest.approx(math.sin(1e-4))  # the slowest 10,000 times less


def test_sinusoid_needs_an_even_width():
    with pytest.raises(HarnessError, match="even width"):
        Sinusoidal(config(width=15, heads=1))


def test_learned_positions_end_at_the_training_length():
    table = Learned(config(length=8))
    assert table.embed(torch.arange(8)[None]).shape == (1, 8, 16)
    with pytest.raises(HarnessError, match="end at 8 tokens and were asked for 9"):
        table.embed(torch.arange(9)[None])


def test_learned_positions_count_only_real_tokens_against_their_length():
    decoder = Decoder(config(position="learned", length=8)).eval()
    padded = torch.ones(1, 12, dtype=torch.long)
    mask = torch.tensor([[0] * 4 + [1] * 8])
    assert decoder(padded, attention_mask=mask).logits.shape == (1, 12, 11)


def test_rotation_keeps_lengths_and_makes_scores_depend_on_distance_only():
    rotary = Rotary(config(width=8, heads=1))
    q, k = torch.randn(8), torch.randn(8)

    def score(query_at, key_at):
        cos, sin = rotary.rotation(torch.tensor([query_at, key_at]))
        return rotate(q, cos[0], sin[0]) @ rotate(k, cos[1], sin[1])

    assert rotate(q, *(part[0] for part in rotary.rotation(torch.tensor([5])))).norm() == pytest.approx(
        q.norm().item(), rel=1e-5
    )
    assert score(3, 1) == pytest.approx(score(103, 101).item(), abs=1e-3)
    assert score(0, 0) == pytest.approx((q @ k).item(), rel=1e-5)


def test_rotation_agrees_with_llama():
    from transformers.models.llama.modeling_llama import (
        LlamaConfig,
        LlamaRotaryEmbedding,
        apply_rotary_pos_emb,
    )

    places = torch.arange(7)[None]
    llama = LlamaRotaryEmbedding(LlamaConfig(hidden_size=16, num_attention_heads=2, rope_theta=10_000.0))
    q = torch.randn(1, 2, 7, 8)
    expected, _ = apply_rotary_pos_emb(q, q, *llama(q, places))
    cos, sin = Rotary(config(width=16, heads=2)).rotation(places)
    torch.testing.assert_close(rotate(q, cos[:, None], sin[:, None]), expected)


def test_linear_scaling_reads_twice_the_length_as_half_the_positions():
    plain, scaled = Rotary(config()), Rotary(config(), scaling="linear", factor=2.0)
    far, near = torch.tensor([[10, 20]]), torch.tensor([[5, 10]])
    torch.testing.assert_close(scaled.rotation(far), plain.rotation(near))


def test_ntk_scaling_keeps_the_fastest_pair_and_stretches_the_slowest_by_the_factor():
    plain, scaled = Rotary(config()), Rotary(config(), scaling="ntk", factor=4.0)

    def angles(rotary):
        cos, sin = rotary.rotation(torch.tensor([[1]]))
        return torch.atan2(sin, cos)[0, 0]

    assert angles(scaled)[0] == pytest.approx(angles(plain)[0].item())
    assert angles(scaled)[-1] == pytest.approx(angles(plain)[-1].item() / 4, rel=1e-4)


def test_rotary_refuses_what_it_does_not_know():
    with pytest.raises(HarnessError, match="none, linear or ntk"):
        Rotary(config(), scaling="yarn")
    with pytest.raises(HarnessError, match="even head width"):
        Rotary(config(width=6, heads=2))


def test_t5_buckets_agree_with_transformers():
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = torch.arange(400)
    expected = T5Attention._relative_position_bucket(
        -distance, bidirectional=False, num_buckets=32, max_distance=128
    )
    assert T5Bias(config()).bucket(distance).tolist() == expected.tolist()


def test_t5_bias_is_shared_by_layers_and_learned():
    decoder = Decoder(config(position="t5_bias", layers=3))
    assert [name for name, _ in decoder.named_parameters() if "position" in name] == ["position.table.weight"]
    ids = torch.arange(8)[None]
    decoder(ids, labels=ids).loss.backward()
    assert decoder.position.table.weight.grad.abs().sum() > 0


def test_an_unknown_kind_names_the_nearest_and_the_mend():
    with pytest.raises(HarnessError, match=r"did you mean 'rotary'.*import"):
        position_of(config(position="rotery"))


def test_a_plugin_adds_its_kind(monkeypatch):
    class Recency(Position):
        def bias(self, distance):
            return -distance[None].float()

    monkeypatch.setitem(KINDS, "recency", Recency)
    assert isinstance(Decoder(config(position="recency")).position, Recency)


def test_a_position_handed_in_replaces_the_named_one():
    mine = Rotary(config(), base=500.0)
    assert Decoder(config(position="none"), position=mine).position is mine
