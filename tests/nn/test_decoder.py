"""The decoder is a transformers model: what works on those works on it, with every position encoding."""

import math
import shutil
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.errors import HarnessError
from harness.nn.decoder import Decoder, DecoderConfig
from harness.nn.positions import KINDS, Position

COMPILER = pytest.mark.skipif(
    not shutil.which("g++"), reason="FlexAttention on a CPU is compiled, and there is no g++ here"
)
BUILT_IN = ["none", "sinusoidal", "learned", "rotary", "t5_bias"]


def small(position="rotary", **changes):
    torch.manual_seed(0)
    sizes = {"vocab_size": 31, "width": 16, "layers": 2, "heads": 2, "feedforward": 32, "length": 64}
    decoder = Decoder(DecoderConfig(**{**sizes, "position": position, **changes})).eval()
    with torch.no_grad():  # weights large enough that a misplaced token shows
        for parameter in decoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return decoder


def tokens(rows=2, length=12, seed=1):
    return torch.randint(31, (rows, length), generator=torch.Generator().manual_seed(seed))


def left_padded(ids, by):
    padded = torch.cat([torch.zeros(len(ids), by, dtype=torch.long), ids], dim=1)
    mask = torch.cat([torch.zeros(len(ids), by), torch.ones_like(ids)], dim=1).long()
    return padded, mask


def test_parameters_are_those_of_the_effect_check():
    assert Decoder(DecoderConfig(vocab_size=96, width=96, layers=3, heads=4)).num_parameters() == 344_928


def test_parameters_are_those_of_the_full_budget():
    with torch.device("meta"):
        full = Decoder(DecoderConfig(vocab_size=8, width=1024, layers=16, heads=8, feedforward=4096))
    body = full.num_parameters() - full.embedding.weight.numel()
    assert body == 16 * (12 * 1024**2 + 13 * 1024) + 2 * 1024  # 201.5 M
    assert round(body / 1e6, 1) == 201.5


def test_weights_start_as_in_gpt2():
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(width=256, layers=8, heads=4, feedforward=1024))
    block = decoder.layers[0]
    assert block.attention.q_proj.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert block.attention.o_proj.weight.std().item() == pytest.approx(0.02 / math.sqrt(16), rel=0.02)
    assert block.feedforward.down_proj.weight.std().item() == pytest.approx(0.02 / math.sqrt(16), rel=0.02)
    assert decoder.embedding.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not any(p.any() for name, p in decoder.named_parameters() if name.endswith("bias"))


def test_the_same_seed_gives_the_same_weights():
    assert all(map(torch.equal, small().parameters(), small().parameters()))


def test_embeddings_are_scaled_by_the_root_of_the_width_unless_asked_not_to():
    ids = tokens()
    embedded = small("none")(ids, output_hidden_states=True).hidden_states[0]
    plain = small("none", scale_embeddings=False)(ids, output_hidden_states=True).hidden_states[0]
    torch.testing.assert_close(embedded, plain * 4)  # sqrt(16)


def test_the_last_hidden_state_is_what_the_output_reads():
    decoder = small()
    out = decoder(tokens(), output_hidden_states=True)
    assert len(out.hidden_states) == 3
    torch.testing.assert_close(decoder.lm_head(out.hidden_states[-1]), out.logits)


def test_the_loss_is_the_mean_over_next_tokens_that_are_not_ignored():
    decoder, ids = small(), tokens()
    labels = ids.clone()
    labels[0, :5] = -100
    logits = decoder(ids).logits[:, :-1].flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten())
    assert decoder(ids, labels=labels).loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("position", BUILT_IN)
def test_no_token_sees_the_future(position):
    decoder, ids = small(position), tokens()
    changed = ids.clone()
    changed[:, 8:] = 0
    torch.testing.assert_close(decoder(ids).logits[:, :8], decoder(changed).logits[:, :8])


@pytest.mark.parametrize("position", BUILT_IN)
def test_decoding_with_a_cache_equals_the_full_forward(position):
    decoder, ids = small(position), tokens()
    with torch.no_grad():
        first = decoder(ids[:, :4], use_cache=True)
        parts = [first.logits, decoder(ids[:, 4:9], past_key_values=first.past_key_values).logits]
        for i in range(9, 12):
            parts.append(decoder(ids[:, i : i + 1], past_key_values=first.past_key_values).logits)
        assert (torch.cat(parts, dim=1) - decoder(ids).logits).abs().max() < 1e-5


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("position", BUILT_IN)
def test_left_padding_changes_nothing(position, attention):
    decoder, ids = small(position), tokens()
    expected = decoder(ids).logits
    decoder.set_attn_implementation(attention)
    padded, mask = left_padded(ids, by=5)
    assert (decoder(padded, attention_mask=mask).logits[:, 5:] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("position", BUILT_IN)
def test_greedy_text_is_the_same_with_every_cache_and_padding(position):
    decoder, ids = small(position), tokens()
    plain = decoder.generate(ids, max_new_tokens=8, do_sample=False, use_cache=False)
    padded, mask = left_padded(ids, by=3)
    for made in (
        decoder.generate(ids, max_new_tokens=8, do_sample=False),
        decoder.generate(ids, max_new_tokens=8, do_sample=False, cache_implementation="static"),
        decoder.generate(padded, attention_mask=mask, max_new_tokens=8, do_sample=False)[:, 3:],
    ):
        assert made.tolist() == plain.tolist()


def test_beam_search_finds_a_text_at_least_as_likely_as_greedy():
    decoder, ids = small(), tokens(rows=1)

    def likelihood(made):
        scores = decoder(made).logits[:, :-1].log_softmax(-1).gather(-1, made[:, 1:, None])
        return scores[:, ids.shape[1] - 1 :].sum().item()

    greedy = decoder.generate(ids, max_new_tokens=2, do_sample=False)
    beam = decoder.generate(ids, max_new_tokens=2, do_sample=False, num_beams=31)  # exhaustive
    assert likelihood(beam) >= likelihood(greedy) - 1e-6


@pytest.mark.parametrize("position", BUILT_IN)
def test_a_saved_decoder_comes_back_bit_for_bit(position, tmp_path):
    options = {"buckets": 8} if position == "t5_bias" else {}
    decoder = small(position, position_options=options)
    decoder.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(again, Decoder)
    assert again.config.position_options == options
    assert torch.equal(again.eval()(tokens()).logits, decoder(tokens()).logits)
    assert again.lm_head.weight is again.embedding.weight  # tied
    assert (tmp_path / "model.safetensors").exists()


@pytest.mark.slow
def test_a_fresh_process_needs_only_harness_nn(tmp_path):
    small().save_pretrained(tmp_path)
    code = (
        "import harness.nn, transformers, sys;"
        "print(type(transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1])).__name__)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert ran.stdout.strip() == "Decoder", ran.stderr


@pytest.mark.parametrize("position", BUILT_IN)
def test_eager_and_fused_attention_agree(position):
    decoder, ids = small(position), tokens()
    fused = decoder(ids).logits
    decoder.set_attn_implementation("eager")
    torch.testing.assert_close(decoder(ids).logits, fused, atol=1e-5, rtol=0)


@COMPILER
@pytest.mark.parametrize(
    "position",
    [pytest.param("rotary", marks=pytest.mark.oracle), pytest.param("t5_bias", marks=pytest.mark.slow)],
)
def test_flex_attention_agrees(position):
    torch.compiler.reset()  # compiled anew: the CPU's generator trips over a mixture of shapes
    decoder, ids = small(position), tokens()
    padded, mask = left_padded(ids, by=5)
    fused = decoder(ids).logits
    decoder.set_attn_implementation("flex_attention")
    with torch.no_grad():
        torch.testing.assert_close(decoder(ids).logits, fused, atol=1e-5, rtol=0)
        left = decoder(padded, attention_mask=mask).logits[:, 5:]
        torch.testing.assert_close(left, fused, atol=1e-5, rtol=0)


@pytest.fixture
def asked(monkeypatch):
    """Return what the fused kernel was asked, one entry a layer."""
    calls, real = [], torch.nn.functional.scaled_dot_product_attention

    def spy(q, k, v, attn_mask=None, is_causal=False, **rest):
        calls.append((attn_mask, is_causal))
        return real(q, k, v, attn_mask=attn_mask, is_causal=is_causal, **rest)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    return calls


def test_without_bias_or_padding_no_mask_is_made(asked):
    small("sinusoidal")(tokens())
    assert asked == [(None, True)] * 2


def test_bias_and_mask_are_joined_once_for_all_layers_in_the_shape_of_the_fused_kernel(asked):
    small("t5_bias")(tokens())
    masks = [mask for mask, _ in asked]
    assert masks[0].shape == (1, 2, 12, 12)  # a mask of three dimensions would fall back to plain operations
    assert all(mask.data_ptr() == masks[0].data_ptr() for mask in masks)


@pytest.mark.parametrize("position", BUILT_IN)
def test_packed_documents_do_not_see_each_other(position):
    decoder, ids = small(position), tokens()
    places = torch.cat([torch.arange(5), torch.arange(7)]).expand(2, -1)
    packed = decoder(ids, position_ids=places).logits
    alone = torch.cat([decoder(ids[:, :5]).logits, decoder(ids[:, 5:]).logits], dim=1)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("position", ["rotary", "t5_bias"])
def test_a_mask_may_be_given_whole_boolean_or_additive(position):
    decoder, ids = small(position), tokens()
    places = torch.cat([torch.arange(5), torch.arange(7)]).expand(2, -1)
    document = torch.tensor([0] * 5 + [1] * 7)
    allowed = (document[:, None] == document) & torch.ones(12, 12, dtype=torch.bool).tril()
    boolean = allowed.expand(2, 1, -1, -1)
    additive = torch.where(boolean, 0.0, torch.finfo(torch.float32).min)
    expected = decoder(ids, position_ids=places).logits
    for mask in (boolean, additive):
        made = decoder(ids, attention_mask=mask, position_ids=places).logits
        torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)


def test_a_row_of_padding_alone_stays_finite():
    decoder, ids = small("t5_bias"), tokens()
    mask = torch.ones_like(ids)
    mask[0] = 0
    for attention in ("sdpa", "eager"):
        decoder.set_attn_implementation(attention)
        assert decoder(ids, attention_mask=mask).logits.isfinite().all()


@pytest.mark.parametrize("position", BUILT_IN)
def test_bfloat16_stays_near_float32(position):
    decoder, ids = small(position), tokens()
    exact = decoder(ids).logits
    assert exact.std() > 0.5
    with torch.autocast("cpu", torch.bfloat16):
        assert (decoder(ids).logits - exact).abs().max() < 0.3
    rounded = decoder.to(torch.bfloat16)(ids).logits
    assert rounded.dtype == torch.bfloat16
    assert (rounded - exact).abs().max() < 0.3


@pytest.mark.parametrize("position", BUILT_IN)
def test_a_training_step_runs_on_the_meta_device(position):
    with torch.device("meta"):
        decoder = Decoder(DecoderConfig(position=position))
        ids = torch.zeros(2, 9, dtype=torch.long)
    optimizer = torch.optim.AdamW(decoder.parameters())
    decoder(ids, labels=ids).loss.backward()
    optimizer.step()
    assert {p.grad.device.type for p in decoder.parameters()} == {"meta"}


def test_gradient_checkpointing_gives_the_same_gradients():
    def gradients(decoder):
        decoder.train()(tokens(), labels=tokens()).loss.backward()
        return [p.grad for p in decoder.parameters()]

    checkpointed = small()
    checkpointed.gradient_checkpointing_enable()
    torch.testing.assert_close(gradients(checkpointed), gradients(small()))


def test_dropout_acts_in_training_only():
    decoder, ids = small(dropout=0.5, attention_dropout=0.5, activation_dropout=0.5), tokens()
    assert torch.equal(decoder(ids).logits, decoder(ids).logits)
    decoder.train()
    assert not torch.equal(decoder(ids).logits, decoder(ids).logits)


def test_an_adapter_of_peft_starts_as_identity_and_alone_is_trained():
    peft = pytest.importorskip("peft")
    decoder, ids = small(), tokens()
    expected = decoder(ids).logits
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
    adapted = peft.get_peft_model(
        decoder, peft.LoraConfig(r=2, target_modules=targets, task_type="CAUSAL_LM")
    )
    torch.testing.assert_close(adapted.eval()(ids).logits, expected)
    adapted(input_ids=ids, labels=ids).loss.backward()
    assert {name for name, p in adapted.named_parameters() if p.grad is not None} == {
        name for name, _ in adapted.named_parameters() if "lora_" in name
    }
    assert adapted.generate(input_ids=ids, max_new_tokens=3).shape == (2, 15)


def test_parameters_of_a_plugins_position_are_saved(monkeypatch, tmp_path):
    class Recency(Position):
        def __init__(self, config):
            super().__init__(config)
            self.strength = torch.nn.Parameter(torch.ones(config.heads))

        def bias(self, distance):
            return -self.strength[:, None, None] * distance

    monkeypatch.setitem(KINDS, "recency", Recency)
    decoder = small("recency")
    with torch.no_grad():
        decoder.position.strength.fill_(0.3)
    decoder.save_pretrained(tmp_path)
    assert torch.equal(Decoder.from_pretrained(tmp_path).position.strength, torch.tensor([0.3, 0.3]))


def test_bad_sizes_and_inputs_are_refused():
    with pytest.raises(HarnessError, match="width=16 must be a multiple of heads=3"):
        small(heads=3)
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        small()()


def test_without_biases_no_layer_has_one_and_with_them_all_have():
    names = {
        biases: {n for n, _ in Decoder(DecoderConfig(biases=biases)).named_parameters()} for biases in (0, 1)
    }
    assert not any(name.endswith(".bias") for name in names[0])
    assert names[1] - names[0] == {
        name.replace(".weight", ".bias") for name in names[0] if name != "embedding.weight"
    }


@pytest.mark.parametrize("position", ["rotary", "learned", "sinusoidal", "t5_bias"])
def test_a_padded_batch_goes_through_on_the_meta_device(position):
    with torch.device("meta"):
        config = DecoderConfig(vocab_size=50, width=16, layers=1, heads=4, length=16, position=position)
        model = Decoder(config)
        ids, mask = torch.randint(50, (2, 8)), torch.ones(2, 8, dtype=torch.long)
    model(input_ids=ids, attention_mask=mask, labels=ids).loss.backward()
    assert model.embedding.weight.grad.is_meta


def test_what_a_query_sees_on_meta_is_what_it_sees_elsewhere():
    """The mask made for the meta device, written out with values, gives a padded batch the same logits."""
    from harness.nn.decoder import _seen

    torch.manual_seed(0)
    model = Decoder(
        DecoderConfig(vocab_size=50, width=16, layers=2, heads=4, length=16, position="rotary")
    ).eval()
    ids, mask = torch.randint(50, (2, 6)), torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    shape = _seen(mask.to("meta"), torch.arange(6, device="meta"))
    seen = mask.bool()[:, None, None, :] & torch.ones(6, 6).tril().bool()
    assert shape.shape == seen.shape
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    one = model(ids, attention_mask=mask).logits
    other = model(ids, attention_mask=seen, position_ids=positions).logits
    assert torch.allclose(one[0], other[0], atol=1e-6)
    assert torch.allclose(one[1, :4], other[1, :4], atol=1e-6)
