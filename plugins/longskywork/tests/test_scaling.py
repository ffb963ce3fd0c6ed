"""The larger RoPE base: closed forms, and the same on models."""

import pytest
from harness_longskywork import ntk_base
from harness_longskywork.models import rope, scaled, small
from harness_longskywork.settings import LongSkywork, Scaling, Task

from harness.errors import UsageError
from harness.nn.decoder import Decoder, DecoderConfig


def angles(base, head, position):
    return [position * base ** (-2 * i / head) for i in range(head // 2)]


def test_four_times_the_length_with_heads_of_64_raises_the_base_4_18_times():
    assert ntk_base(10_000, 4, 64) / 10_000 == pytest.approx(4.18, abs=0.005)


@pytest.mark.parametrize(("base", "scale", "head"), [(1e3, 4, 16), (1e4, 8, 128), (1e6, 2.5, 64)])
def test_the_slowest_pair_turns_as_before_at_the_new_length_and_the_fastest_is_unchanged(base, scale, head):
    before, after = angles(base, head, 1000), angles(ntk_base(base, scale, head), head, 1000 * scale)
    assert after[-1] == pytest.approx(before[-1])
    assert after[0] == pytest.approx(scale * before[0])  # the same speed at every position


def test_the_rule_is_the_toolboxs_own():
    position = {"base": 1000.0, "scaling": "ntk", "factor": 4.0}
    config = DecoderConfig(width=64, heads=4, position="rotary", position_options=position)
    assert Decoder(config).position.base == pytest.approx(ntk_base(1000.0, 4.0, 16))


def test_a_scaled_model_is_saved_with_its_new_base(tmp_path):
    small(Task(), 100).save_pretrained(tmp_path / "a")
    model = scaled(tmp_path / "a", LongSkywork(), 480)
    assert model.position.base == pytest.approx(ntk_base(1000.0, 4.0, 16))
    model.save_pretrained(tmp_path / "b")
    assert Decoder.from_pretrained(tmp_path / "b").position.base == pytest.approx(model.position.base)
    assert scaled(tmp_path / "a", LongSkywork(scaling=Scaling.none), 480).position.base == 1000.0
    assert scaled(tmp_path / "a", LongSkywork(scaling=Scaling.abf, abf_base=5e6), 480).position.base == 5e6


def test_a_llama_gets_the_new_base_and_turns_by_it(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    model = scaled(tmp_path, LongSkywork(), 4 * 2048)
    assert rope(model.config) == (pytest.approx(ntk_base(10_000.0, 4.0, 16)), 16)
    frequency = model.model.rotary_emb.inv_freq
    assert float(frequency[-1]) == pytest.approx(1 / 10_000 ** (14 / 16) / 4, rel=1e-4)


def small_of(name: str, **options):
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        "vocab_size": 64,
        "hidden_size": 64,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = AutoConfig.for_model(name, **sizes, max_position_embeddings=256, **options)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("name", ["llama", "qwen2", "phi", "gpt_neox", "stablelm"])
def test_the_slowest_pair_that_a_model_turns_is_slowed_by_the_factor(name, tmp_path):
    """Phi, NeoX and StableLM turn a part of each head: the rule counts that part alone."""
    model = small_of(name)
    model.save_pretrained(tmp_path)
    turned = {"llama": 32, "qwen2": 32, "phi": 16, "gpt_neox": 8, "stablelm": 8}[name]
    longer = scaled(tmp_path, LongSkywork(), 1024)
    assert rope(model.config) == (10_000.0, turned)
    longer.save_pretrained(tmp_path / "long")
    again = scaled(tmp_path / "long", LongSkywork(scaling=Scaling.none), 1024)
    for found in (longer, again):
        before, after = (
            next(module.inv_freq for name, module in one.named_modules() if name.endswith("rotary_emb"))
            for one in (model, found)
        )
        assert len(after) == turned // 2
        assert float(before[-1] / after[-1]) == pytest.approx(4.0, rel=1e-4)
        assert float(before[0] / after[0]) == pytest.approx(1.0)
        assert found.config.max_position_embeddings == 1024


def test_a_window_within_the_models_own_length_leaves_base_and_length_alone(tmp_path):
    small_of("llama").save_pretrained(tmp_path)
    model = scaled(tmp_path, LongSkywork(), 96)
    assert rope(model.config)[0] == 10_000.0
    assert model.config.max_position_embeddings == 256
    assert rope(scaled(tmp_path, LongSkywork(), 96, trained=48).config)[0] > 10_000.0  # said by hand


def test_a_rope_that_is_scaled_already_is_refused(tmp_path):
    yarn = {
        "rope_type": "yarn",
        "rope_theta": 10_000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    small_of("llama", rope_parameters=yarn).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="scales its RoPE already"):
        scaled(tmp_path, LongSkywork(), 1024)
    assert (
        scaled(tmp_path, LongSkywork(scaling=Scaling.none), 1024).config.rope_parameters["rope_type"]
        == "yarn"
    )


def test_a_model_without_rope_is_named(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=8, n_embd=8, n_layer=1, n_head=1)).save_pretrained(
        tmp_path / "gpt2"
    )
    Decoder(DecoderConfig(width=16, heads=2)).save_pretrained(tmp_path / "sinusoidal")
    for name, words in (
        ("gpt2", "without one RoPE base"),
        ("sinusoidal", "sinusoidal positions and no RoPE"),
    ):
        with pytest.raises(UsageError, match=words):
            scaled(tmp_path / name, LongSkywork(), 256)


def test_a_sweep_on_a_model_without_rope_is_refused_before_its_first_run(tmp_path, capsys):
    from transformers import GPT2Config, GPT2LMHeadModel

    from harness.cli import main

    GPT2LMHeadModel(GPT2Config(vocab_size=8, n_embd=8, n_layer=1, n_head=1)).save_pretrained(
        tmp_path / "mine"
    )
    methods = "longskywork/base_scaled_only,longskywork/cip"
    words = ["-m", f"method={methods}", f"model={tmp_path / 'mine'}", f"results={tmp_path / 'results'}"]
    with pytest.raises(SystemExit) as left:
        main(["run", *words, "budget=smoke", "tracking=off"])
    assert left.value.code == 2
    assert "gpt2 without one RoPE base" in capsys.readouterr().err
    assert not list((tmp_path / "results").rglob("result.json"))


def test_a_base_by_hand_is_asked_for_before_a_run_starts():
    for base in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match=r"set method\.abf_base"):
            LongSkywork(scaling=Scaling.abf, abf_base=base)


def test_nothing_to_stretch_is_said():
    for arguments in ((1e4, 2.0, 2), (1e4, 0.0, 64)):
        with pytest.raises(ValueError, match=r"give 4 or more|must be above 0"):
            ntk_base(*arguments)


def wrong_exponent(base, scale, head):
    return base * scale ** (head / (head + 2))


def test_a_wrong_exponent_breaks_the_closed_form():
    with pytest.raises(AssertionError):
        assert angles(wrong_exponent(1e4, 4, 64), 64, 4000)[-1] == pytest.approx(angles(1e4, 64, 1000)[-1])
