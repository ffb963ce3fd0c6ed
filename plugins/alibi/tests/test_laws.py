"""ALiBi's laws: what must hold exactly, without any training."""

import shutil

import pytest
import torch
from harness_alibi import METHODS, alibi_bias, slopes
from harness_alibi.positions import AlibiPosition
from harness_alibi.settings import Task
from harness_alibi.training import windows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError, UsageError
from harness.nn.decoder import Decoder, DecoderConfig

COMPILER = pytest.mark.skipif(
    not shutil.which("g++"), reason="FlexAttention on a CPU is compiled, and there is no g++ here"
)
VARIANTS = [{}, {"learned_slopes": True}, {"half_heads": True}, {"interpolated": True}]
FIXED_PAST_L = VARIANTS[:3]  # interpolated slopes change with length, so a cache would hold older slopes


@pytest.mark.parametrize(
    ("heads", "exponents"),
    [
        (1, [8]),
        (2, [4, 8]),
        (4, [2, 4, 6, 8]),
        (8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (12, [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5]),
        (16, [n / 2 for n in range(1, 17)]),
        (20, [n / 2 for n in range(1, 17)] + [0.25, 0.75, 1.25, 1.75]),
        (40, [n / 4 for n in range(1, 33)] + [n / 8 for n in range(1, 17, 2)]),
    ],
)
def test_slopes_are_the_published_ones_in_their_order(heads, exponents):
    assert slopes(heads).tolist() == pytest.approx([2.0**-e for e in exponents], rel=1e-6)


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 6, 8, 12, 16, 20, 25, 40])
def test_slopes_agree_with_bloom(heads):
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    second_key = build_alibi_tensor(torch.ones(1, 2, dtype=torch.long), heads, torch.float32)[:, 0, 1]
    torch.testing.assert_close(slopes(heads), second_key, rtol=1e-5, atol=0)


@given(st.integers(1, 64))
def test_slopes_lie_between_nought_and_one_and_differ(heads):
    found = slopes(heads)
    assert found.shape == (heads,)
    assert found.dtype == torch.float32
    assert ((found > 0) & (found < 1)).all()
    assert len(set(found.tolist())) == heads


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 20), st.integers(0, 20))
def test_bias_depends_only_on_distance(heads, queries, before):
    bias = alibi_bias(heads, queries, queries + before)
    assert bias.shape == (heads, queries, queries + before)
    assert bias.dtype == torch.float32
    assert (bias[:, -1, -1] == 0).all()
    torch.testing.assert_close(bias[:, 1:, 1:], bias[:, :-1, :-1])
    last = torch.arange(queries + before - 1, -1, -1)
    torch.testing.assert_close(bias[:, -1], -slopes(heads)[:, None] * last)


def test_bias_of_the_last_queries_is_the_end_of_the_whole():
    torch.testing.assert_close(alibi_bias(4, 3, 10), alibi_bias(4, 10, 10)[:, -3:])


@pytest.mark.parametrize("heads", [0, -1, -8, True, False, 2.0, 0.5, "8", None])
def test_what_is_no_number_of_heads_is_a_sentence(heads):
    with pytest.raises(UsageError, match="no count"):
        slopes(heads)
    with pytest.raises(UsageError, match="no count"):
        alibi_bias(heads, 2, 2)


@pytest.mark.parametrize(
    ("queries", "keys", "said"),
    [
        (17, 16, "more than"),
        (1, 0, "more than"),
        (-1, 4, "no count"),
        (2, -4, "no count"),
        (True, 4, "no count"),
    ],
)
def test_queries_that_are_not_the_last_of_the_keys_are_a_sentence(queries, keys, said):
    with pytest.raises(UsageError, match=said):
        alibi_bias(8, queries, keys)


def test_numbers_of_numpy_and_torch_count_heads_too():
    import numpy

    assert torch.equal(slopes(numpy.int64(8)), slopes(8))
    assert torch.equal(slopes(torch.tensor(8)), slopes(8))
    assert alibi_bias(2, 0, 5).shape == (2, 0, 5)


def causal(length):
    return torch.full((length, length), -torch.inf).triu(1)


def test_zero_queries_give_a_softmax_of_the_distance_alone():
    q, k = torch.zeros(1, 4, 9, 8), torch.randn(1, 4, 9, 8)
    values = torch.eye(9).expand(1, 4, 9, 9)  # so that what comes out are the weights
    weights = torch.nn.functional.scaled_dot_product_attention(
        q, k, values, attn_mask=alibi_bias(4, 9, 9) + causal(9)
    )[0]
    distance = torch.arange(8, -1, -1)
    for head, slope in enumerate((1 / 4, 1 / 16, 1 / 64, 1 / 256)):
        torch.testing.assert_close(weights[head, -1], (-slope * distance).softmax(0))


def test_the_last_row_puts_most_mass_on_the_nearest_key():
    weights = alibi_bias(8, 1, 50).softmax(-1)[:, 0]
    assert (weights.diff(dim=-1) > 0).all()  # ever more towards the nearest


def test_relative_and_absolute_form_are_equal_under_a_causal_mask():
    scores = torch.randn(8, 64, 64)
    absolute = slopes(8)[:, None, None] * torch.arange(64)
    torch.testing.assert_close(
        (scores + alibi_bias(8, 64, 64) + causal(64)).softmax(-1),
        (scores + absolute + causal(64)).softmax(-1),
        atol=1e-6,
        rtol=0,
    )


def test_the_relative_form_survives_bfloat16_at_position_16000_and_the_absolute_does_not():
    exact = alibi_bias(8, 1, 16_000)[:, 0].double().softmax(-1)

    def error(bias):
        return (bias.bfloat16().double().softmax(-1) - exact).abs().sum(-1).max().item() / 2

    assert error(alibi_bias(8, 1, 16_000)[:, 0]) < 0.01  # share of the mass that moves
    assert error(slopes(8)[:, None] * torch.arange(16_000)) > 0.5


def decoder(**options):
    torch.manual_seed(0)
    made = Decoder(
        DecoderConfig(
            vocab_size=31,
            width=32,
            layers=2,
            heads=4,
            feedforward=64,
            length=8,
            position="alibi",
            position_options=options,
        )
    ).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "position" not in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def tokens(length=14):
    return torch.randint(31, (2, length), generator=torch.Generator().manual_seed(1))


def test_the_decoders_bias_is_the_papers():
    position = AlibiPosition(DecoderConfig(heads=4))
    distance = torch.arange(6, 9)[:, None] - torch.arange(9)
    torch.testing.assert_close(position.bias(distance), alibi_bias(4, 3, 9))


def test_the_method_has_no_parameter_and_no_position_embedding():
    plain = Decoder(DecoderConfig(position="none"))
    alibi = Decoder(DecoderConfig(position="alibi"))
    assert alibi.num_parameters() == plain.num_parameters()
    assert alibi.position.embed(torch.arange(5)[None]) is None


def test_order_reaches_the_output_through_the_bias_alone():
    """One layer without it cannot tell two orders of the earlier tokens apart."""
    torch.manual_seed(0)
    ids = torch.tensor([[3, 1, 4, 5], [1, 4, 3, 5]])
    for position, seen in (("none", False), ("alibi", True)):
        last = Decoder(DecoderConfig(layers=1, position=position)).eval()(ids).logits[:, -1]
        assert torch.allclose(last[0], last[1], atol=1e-6) is not seen


@pytest.mark.parametrize("options", FIXED_PAST_L, ids=str)
def test_decoding_with_a_cache_equals_the_full_forward(options):
    model, ids = decoder(**options), tokens()
    with torch.no_grad():
        first = model(ids[:, :5], use_cache=True)
        parts = [first.logits, model(ids[:, 5:10], past_key_values=first.past_key_values).logits]
        parts += [
            model(ids[:, i : i + 1], past_key_values=first.past_key_values).logits for i in range(10, 14)
        ]
        assert (torch.cat(parts, dim=1) - model(ids).logits).abs().max() < 1e-5


@pytest.mark.parametrize("options", FIXED_PAST_L, ids=str)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_left_padding_changes_nothing(options, attention):
    model, ids = decoder(**options), tokens()
    expected = model(ids).logits
    model.set_attn_implementation(attention)
    padded = torch.cat([torch.zeros(2, 6, dtype=torch.long), ids], dim=1)
    mask = torch.cat([torch.zeros(2, 6), torch.ones(2, 14)], dim=1).long()
    assert (model(padded, attention_mask=mask).logits[:, 6:] - expected).abs().max() < 1e-5


def test_greedy_text_is_the_same_with_every_cache():
    model, ids = decoder(), tokens()
    plain = model.generate(ids, max_new_tokens=9, do_sample=False, use_cache=False).tolist()
    for cache in ("dynamic", "static"):
        made = model.generate(ids, max_new_tokens=9, do_sample=False, cache_implementation=cache)
        assert made.tolist() == plain


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_saved_model_comes_back_bit_for_bit(options, tmp_path):
    model = decoder(**options)
    model.save_pretrained(tmp_path)
    again = Decoder.from_pretrained(tmp_path)
    assert torch.equal(again(tokens()).logits, model(tokens()).logits)


def test_learned_slopes_start_at_the_papers_get_a_gradient_and_stay_positive():
    model = decoder(learned_slopes=True)
    torch.testing.assert_close(model(tokens()).logits, decoder()(tokens()).logits)
    optimizer = torch.optim.SGD([model.position.log_slopes], lr=1e4)
    model(tokens(), labels=tokens()).loss.backward()
    optimizer.step()
    learned = -model.position.bias(torch.ones(1, 1, dtype=torch.long))[:, 0, 0]
    assert (learned > 0).all()
    assert not torch.allclose(learned, slopes(4), rtol=0.1)


def test_half_of_the_heads_get_the_slopes_of_half_as_many_and_the_rest_none():
    bias = AlibiPosition(DecoderConfig(heads=4), half_heads=True).bias(torch.tensor([[1]]))
    assert (-bias[:, 0, 0]).tolist() == pytest.approx([1 / 16, 1 / 256, 0, 0])
    with pytest.raises(HarnessError, match="give two or more"):
        AlibiPosition(DecoderConfig(heads=1), half_heads=True)


def test_interpolated_slopes_flatten_only_beyond_the_training_length():
    position = AlibiPosition(DecoderConfig(heads=4, length=8), interpolated=True)

    def bias(length):
        return position.bias(torch.arange(length)[:, None] - torch.arange(length))

    torch.testing.assert_close(bias(8), alibi_bias(4, 8, 8))
    torch.testing.assert_close(bias(5), alibi_bias(4, 5, 5))
    torch.testing.assert_close(bias(32), alibi_bias(4, 32, 32) / 4)  # L / L_valid


@pytest.mark.slow
@COMPILER
def test_flex_attention_agrees():
    torch.compiler.reset()  # compiled anew: the CPU's generator trips over a mixture of shapes
    model, ids = decoder(), tokens()
    expected = model(ids).logits
    model.set_attn_implementation("flex_attention")
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, expected, atol=1e-5, rtol=0)


def test_a_training_step_runs_on_the_meta_device():
    with torch.device("meta"):
        model = Decoder(DecoderConfig(position="alibi", position_options={"learned_slopes": True}))
        ids = torch.zeros(2, 9, dtype=torch.long)
    model(ids, labels=ids).loss.backward()
    assert model.position.log_slopes.grad.device.type == "meta"


def test_a_count_without_values_leaves_nothing_behind():
    from torch._subclasses.fake_tensor import FakeTensorMode

    ids = tokens()
    with FakeTensorMode(allow_non_fake_inputs=True):
        decoder()(ids)
    assert torch.isfinite(decoder()(ids).logits.detach()).all()


@pytest.mark.parametrize(("method", "times"), [("sinusoidal", 1), ("sinusoidal_2L", 2), ("sinusoidal_4L", 4)])
def test_longer_windows_are_fewer_so_that_a_step_has_as_many_tokens(method, times):
    task = Task()
    rows, length = windows_of(task, METHODS[method].config)
    assert length == times * task.length
    assert rows * length == task.batch_size * task.length
