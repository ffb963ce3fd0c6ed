"""Adapters and prefixes: what the paper compares LoRA with, at as many parameters, on any family of models."""

import re

import pytest
import torch
import transformers
from harness_lora import METHODS, parameter_counts
from harness_lora.bases import small
from harness_lora.rivals import Adapter, add_adapters, add_prefix, ends_of
from harness_lora.settings import Task
from harness_lora.training import adapt, load, save
from lora_families import GROUPED, SIZES, T5, folder_of, loaded, logits
from lora_models import decoder, ids, llama, roberta

from harness.contract.bench import smoke_spec
from harness.errors import UsageError
from harness.nn.generate import generate
from harness.nn.pricing import shaped
from harness.papers.plugins import load as plugin_of
from harness.runs.run import execute, open_run, prepared

BLOOM = {"vocab_size": 48, "hidden_size": 16, "n_layer": 2, "n_head": 2}
MORE = {  # families whose blocks end in layers of other names, or keep the same ones elsewhere
    "bloom": BLOOM,
    "falcon": SIZES,
    "gptj": {"vocab_size": 48, "n_embd": 16, "n_layer": 2, "n_head": 2, "rotary_dim": 4},
    "gpt_neo": {
        "vocab_size": 48,
        "hidden_size": 16,
        "num_layers": 2,
        "num_heads": 2,
        "attention_types": [[["global", "local"], 1]],
    },
    "modernbert": {**SIZES, "pad_token_id": 0},
}
CAUSAL = ("llama", "qwen3", "gemma3", "phi", "phi3", "neox", "gpt2")


def trained(model) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def counted(method: str) -> int:
    return parameter_counts(adapt(small(Task(), 100), METHODS[method].config))["trainable"]


def stirred(model):
    """Move what is trained a little, as training would."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trained(model).values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_rivals_have_as_many_parameters_as_the_lora_that_they_are_compared_with():
    assert counted("adapters") == pytest.approx(counted("lora_r8"), rel=0.02)
    assert counted("prefix") == counted("lora_attention")


def test_an_adapters_width_is_the_nearest_to_loras_parameters():
    model = small(Task(), 100)
    add_adapters(model, 0, rank=8)
    (width,) = {m.down.out_features for m in model.modules() if isinstance(m, Adapter)}
    off = [abs(8 * (2 * 128 * m + m + 128) - counted("lora_r8")) for m in (width - 1, width, width + 1)]
    assert off[1] == min(off)


@pytest.mark.parametrize("family", CAUSAL)
def test_adapters_stand_behind_attention_and_feedforward_and_start_as_nothing(family, tmp_path):
    model = loaded(family, folder_of(family, tmp_path))
    before = logits(model)
    adapt(model, METHODS["adapters"].config)
    assert sum(isinstance(m, Adapter) for m in model.modules()) == 2 * 2
    assert all(name.split(".")[-2] in ("down", "up") for name in trained(model))
    assert torch.equal(logits(model), before)
    assert not torch.allclose(logits(stirred(model)), before, atol=1e-3)
    assert parameter_counts(model)["head"] == 0


@pytest.mark.parametrize("family", ["roberta", "distilbert", "deberta-v2", "electra", "albert"])
def test_adapters_of_a_classifier_leave_its_head_alone_and_it_is_trained_too(family, tmp_path):
    model = loaded(family, folder_of(family, tmp_path))
    before = logits(model)
    adapt(model, METHODS["adapters"].config)
    assert sum(isinstance(m, Adapter) for m in model.modules()) == (2 if family == "albert" else 4)
    assert torch.equal(logits(model), before)
    assert 0 < parameter_counts(model)["head"] < parameter_counts(model)["trainable"]


@pytest.mark.parametrize("family", MORE)
def test_no_family_has_adapters_behind_one_half_of_its_blocks(family):
    model = shaped({"model_type": family, **MORE[family]}, "AutoModelForSequenceClassification")
    ends = ends_of(model)
    assert len(ends) == 2 * 2
    assert sum("att" in name.lower() for name in ends) == 2


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "gpt_oss"])
def test_blocks_of_experts_get_no_adapters_rather_than_half_of_them(family):
    with pytest.raises(UsageError, match="gets no adapters"):
        ends_of(shaped({"model_type": family, **GROUPED}))


def test_an_adapter_is_a_bottleneck_added_to_what_comes_in():
    adapter, x = Adapter(3, 2), torch.tensor([[1.0, -2.0, 0.5]])
    assert torch.equal(adapter(x), x)
    with torch.no_grad():
        adapter.up.weight.fill_(1.0)
        adapter.up.bias.fill_(0.25)
    bent = torch.nn.functional.gelu(x @ adapter.down.weight.T + adapter.down.bias)
    torch.testing.assert_close(adapter(x), x + bent.sum() + 0.25)


@pytest.mark.parametrize("family", CAUSAL)
def test_a_prefix_is_pefts(family, tmp_path):
    import peft

    model = loaded(family, folder_of(family, tmp_path))
    plain = logits(model)
    add_prefix(model, 4)
    states = stirred(model.requires_grad_(False).prefix.requires_grad_(True)).states
    base = loaded(family, folder_of(family, tmp_path))
    theirs = peft.get_peft_model(base, peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    with torch.no_grad():
        flat = states.permute(3, 0, 1, 2, 4).reshape(4, -1)
        theirs.prompt_encoder["default"].embedding.weight.copy_(flat)
    torch.testing.assert_close(logits(model), logits(theirs.eval()), rtol=0, atol=1e-5)
    assert not torch.allclose(logits(model), plain, atol=1e-3)


@pytest.mark.parametrize("make", [decoder, llama])
def test_a_prefix_starts_as_words_before_the_text(make):
    torch.manual_seed(5)
    words = torch.randint(50, (1, 4))
    told = make()(torch.cat([words.expand(2, -1), ids()], dim=1)).logits[:, 4:]
    model = make()
    torch.manual_seed(5)
    add_prefix(model, 4)
    torch.testing.assert_close(model(ids()).logits, told, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [decoder, llama])
def test_only_the_prefix_is_trained_and_every_layer_of_it_learns(make):
    model = adapt(make(), METHODS["prefix"].config)
    assert set(trained(model)) == {"prefix.states"}
    model(input_ids=ids(), use_cache=False).logits.square().sum().backward()
    assert (model.prefix.states.grad.abs().amax(dim=(2, 3, 4)) > 0).all()


@pytest.mark.parametrize("make", [decoder, llama])
def test_text_behind_a_prefix_is_the_same_with_a_cache_and_beside_longer_prompts(make):
    model = stirred(adapt(make(), METHODS["prefix"].config))
    prompts = [[3, 4, 5, 6, 7, 8], [9, 10]]
    made = generate(model, prompts, max_new_tokens=5, temperature=0.0)
    for prompt, answer in zip(prompts, made, strict=True):
        so_far = list(prompt)
        for _ in range(5):
            so_far.append(int(model(torch.tensor([so_far])).logits[0, -1].argmax()))
        assert so_far[len(prompt) :] == answer


@pytest.mark.parametrize("method", ["adapters", "prefix"])
def test_what_a_rival_trained_comes_back(method, tmp_path):
    from harness.nn.weights import load_trained

    config = METHODS[method].config
    model = stirred(adapt(decoder(), config))
    save(model, config, tmp_path)
    again = adapt(decoder(), config)
    load_trained(again, tmp_path / "trained.safetensors")
    assert torch.equal(again(ids()).logits, model(ids()).logits)


def test_a_model_that_a_rival_cannot_work_on_says_so():
    gemma = transformers.AutoConfig.for_model("gemma2", **GROUPED, sliding_window=4)
    with pytest.raises(UsageError, match="cache"):
        add_prefix(roberta(), 4)
    with pytest.raises(UsageError, match=r"looks back on fewer than method\.prefix=4 tokens"):
        add_prefix(transformers.AutoModelForCausalLM.from_config(gemma), 4)
    with pytest.raises(UsageError, match="no adapters"):
        add_adapters(torch.nn.Sequential(torch.nn.Linear(2, 2)), 1, 1)


@pytest.mark.parametrize("make", [decoder, llama])
def test_a_prefix_is_never_thrown_away_with_the_activations(make):
    model = adapt(make(), METHODS["prefix"].config).train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    with pytest.raises(UsageError, match="checkpoint_activations"):
        model(input_ids=ids(), use_cache=False)
    model.eval()(input_ids=ids())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["adapters", "prefix"])
def test_a_run_of_a_rival_answers_prompts_and_says_what_it_costs(method, tmp_path):
    words = "\n".join(f"name {n}||Alba is number {n} ." for n in range(60))
    (tmp_path / "pairs.txt").write_text(words, encoding="utf-8")
    (tmp_path / "general.txt").write_text("the river runs low. " * 300, encoding="utf-8")
    given = {"data.general": str(tmp_path / "general.txt"), "data.train": str(tmp_path / "pairs.txt")}
    plugin = plugin_of("lora")
    spec = smoke_spec(plugin, method, tmp_path / "results", given={**given, "task.length": "48"})
    result = execute(spec, plugin)
    assert result.status == "finished", result.error
    assert 0 <= result.metrics["bleu"] <= 100
    assert result.measured["latency"] > 0
    assert "merged" in result.absent["merged_bytes"]
    run = open_run(spec, plugin)
    run.data_dir = prepared(spec, plugin, run)
    assert trained(load(run))


@pytest.mark.parametrize(
    ("family", "method", "told"),
    [
        ("bert", "prefix", "a causal language model|cache"),
        ("mixtral", "adapters", "gets no adapters"),
        ("llama", "bitfit", "this model has no biases"),
        ("t5", "lora_r8", "is a t5, of which there is no causal language model"),
    ],
)
def test_a_model_that_a_method_cannot_train_is_refused_before_the_first_run(
    family, method, told, tmp_path, capsys
):
    from harness.cli import main

    sizes = {"t5": T5, "mixtral": GROUPED, "llama": GROUPED}.get(family, SIZES)
    transformers.AutoConfig.for_model(family, **sizes).save_pretrained(tmp_path / "mine")
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"")
    data = "labels.csv" if family == "bert" else "mine.txt"
    (tmp_path / "labels.csv").write_text("text,label\ngood,1\nbad,0\n")
    (tmp_path / "mine.txt").write_text("the river runs low. " * 300)
    words = [f"data.train={tmp_path / data}", f"model={tmp_path / 'mine'}", f"results={tmp_path / 'results'}"]
    with pytest.raises(SystemExit) as left:
        main(["run", "-m", f"method=lora/full,lora/{method}", *words, "budget=smoke", "tracking=off"])
    assert left.value.code == 2
    assert re.search(told, capsys.readouterr().err)
    assert not list((tmp_path / "results").rglob("result.json"))
