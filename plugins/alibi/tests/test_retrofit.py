"""ALiBi in place of rotary positions: the bias is the paper's, nothing of the rotation is left, and it comes back."""

import copy
from types import SimpleNamespace

import pytest
import torch
from harness_alibi import alibi_bias
from harness_alibi.models import load, save
from harness_alibi.preparation import fits
from harness_alibi.retrofit import FAMILIES, refuse, replace_rotary, retrofitted
from harness_alibi.settings import Alibi, Retrofit, Task
from harness_alibi.training import windows_of

from harness.errors import UsageError

SIZES = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "head_dim": 8, "max_position_embeddings": 32, "sliding_window": None,
    "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip


def llama(family="llama", **more):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**SIZES, **more})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def ids(length=20, rows=2):
    return torch.randint(50, (rows, length), generator=torch.Generator().manual_seed(1))


class Still(torch.nn.Module):
    """The oracle's own: a rotation by nought."""

    def forward(self, x, position_ids):
        shape = (*position_ids.shape, 8)
        return torch.ones(shape), torch.zeros(shape)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_it_is_the_same_model_under_a_mask_that_holds_the_papers_bias(family):
    plain = llama(family)
    model = copy.deepcopy(plain)
    replace_rotary(model)
    plain.model.rotary_emb = Still()
    plain.set_attn_implementation("eager")
    future = torch.full((20, 20), torch.finfo(torch.float32).min).triu(1)
    mask = (alibi_bias(4, 20, 20) + future)[None]
    expected = plain(ids(), attention_mask=mask).logits
    torch.testing.assert_close(model(ids()).logits, expected, atol=1e-5, rtol=0)
    assert (llama(family)(ids()).logits - expected).abs().max() > 1e-2


@torch.no_grad()
def test_caches_padding_and_generation_past_l_agree_with_the_whole_pass():
    model = llama()
    replace_rotary(model)
    whole = model(ids(), use_cache=False).logits
    first = model(ids()[:, :7], use_cache=True)
    parts = [first.logits, model(ids()[:, 7:15], past_key_values=first.past_key_values).logits]
    parts += [model(ids()[:, i : i + 1], past_key_values=first.past_key_values).logits for i in range(15, 20)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)
    padded = torch.cat([torch.zeros(2, 5, dtype=torch.long), ids()], dim=1)
    mask = torch.cat([torch.zeros(2, 5), torch.ones(2, 20)], dim=1).long()
    torch.testing.assert_close(model(padded, attention_mask=mask).logits[:, 5:], whole, atol=1e-5, rtol=0)
    made = model.generate(ids(), max_new_tokens=30, do_sample=False)  # to 50 tokens; 32 were its length
    assert (
        made.tolist() == model.generate(ids(), max_new_tokens=30, do_sample=False, use_cache=False).tolist()
    )
    static = model.generate(ids(), max_new_tokens=30, do_sample=False, cache_implementation="static")
    assert made.tolist() == static.tolist()


@torch.no_grad()
def test_a_saved_one_comes_back_and_plain_transformers_does_not_take_it_for_a_rotary_one(tmp_path):
    from transformers import AutoModelForCausalLM

    llama().save_pretrained(tmp_path / "rotary")
    model = retrofitted(tmp_path / "rotary", Retrofit("alibi"), 32).eval()
    save(model, tmp_path / "alibi")
    again = load(tmp_path / "alibi")
    assert torch.equal(again(ids()).logits, model(ids()).logits)
    save(again, tmp_path / "again")
    assert torch.equal(load(tmp_path / "again")(ids()).logits, model(ids()).logits)
    with pytest.raises(ValueError, match="harness-alibi"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "alibi")


@torch.no_grad()
def test_baselines_are_plain_llamas_whose_angles_are_the_known_ones(tmp_path):
    from transformers import AutoModelForCausalLM

    llama().save_pretrained(tmp_path / "rotary")
    position = torch.arange(64)[None]
    plain = llama().model.rotary_emb(torch.zeros(1), position)
    for kind in ("rotary", "rotary_base", "interpolated"):
        model = retrofitted(tmp_path / "rotary", Retrofit(kind, factor=8.0), 32).eval()
        save(model, tmp_path / kind)
        again = AutoModelForCausalLM.from_pretrained(tmp_path / kind)
        assert torch.equal(again(ids()).logits, model(ids()).logits)
        assert again.config.max_position_embeddings == (32 if kind == "rotary" else 256)
    cos, _ = load(tmp_path / "rotary").model.rotary_emb(torch.zeros(1), position)
    torch.testing.assert_close(cos, plain[0])
    cos, _ = load(tmp_path / "interpolated").model.rotary_emb(torch.zeros(1), 8 * position)
    torch.testing.assert_close(cos, plain[0], atol=1e-5, rtol=0)
    cos, _ = load(tmp_path / "rotary_base").model.rotary_emb(torch.zeros(1), torch.tensor([[7, 56]]))
    torch.testing.assert_close(
        cos[0, 1, 3], plain[0][0, 7, 3], atol=1e-5, rtol=0
    )  # the slowest: 8 times as far
    torch.testing.assert_close(cos[0, 0, 0], plain[0][0, 7, 0])  # the fastest: as before


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"family": "gpt2"}, "is a gpt2"),
        ({"family": "bloom"}, "is a bloom"),
        ({"family": "gemma2"}, "is a gemma2"),
        ({"family": "mistral", "sliding_window": 4096}, "sliding window"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "already"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4}}, "already"),
    ],
)
def test_models_whose_positions_cannot_be_replaced_are_refused_before_anything_is_trained(
    config, said, tmp_path
):
    from transformers import AutoConfig

    family = config.pop("family", "llama")
    found = AutoConfig.for_model(family, **config)
    with pytest.raises(UsageError, match=said):
        refuse(found, "mine")
    found.save_pretrained(tmp_path)
    source = SimpleNamespace(documents=lambda: iter(()))
    with pytest.raises(UsageError, match=said):
        fits(Task(), {"corpus": source}, SimpleNamespace(path=tmp_path, name="mine"))


def test_a_retrofitted_one_is_not_retrofitted_again(tmp_path):
    model = llama()
    replace_rotary(model)
    with pytest.raises(UsageError, match="already"):
        refuse(model.config, "mine")
    save(model, tmp_path)
    with pytest.raises(UsageError, match="model=mine has ALiBi already"):
        fits(Task(), {}, SimpleNamespace(path=tmp_path, name="mine"))


def test_a_tokenizer_that_is_not_there_is_told_before_a_run_starts(tmp_path):
    with pytest.raises(UsageError, match=r"task\.tokenizer=.* write characters, words, a folder"):
        fits(Task(tokenizer=str(tmp_path)), {}, None)
    fits(Task(), {}, None)


def test_an_unknown_kind_and_a_window_that_does_not_fit_are_sentences():
    with pytest.raises(UsageError, match="no retrofit"):
        Retrofit("alibbi")
    with pytest.raises(
        UsageError, match=r"method\.position=alibbi is no way to know positions: did you mean 'alibi'"
    ):
        Alibi("alibbi")
    for factor in (0.0, 0.5, -8.0, float("nan")):
        with pytest.raises(UsageError, match="lengthens nothing"):
            Retrofit(factor=factor)
    assert windows_of(Task(), Retrofit(window=8)) == (4, 512)
    for window in (0, -1, 3):
        with pytest.raises(UsageError, match="divisor"):
            windows_of(Task(), Retrofit(window=window))


def test_a_gradient_reaches_every_weight_and_a_step_runs_on_the_meta_device():
    for device in ("cpu", "meta"):
        with torch.device(device):
            model = llama()
            replace_rotary(model)
            given = torch.zeros(2, 9, dtype=torch.long)
        model.train()(given, labels=given).loss.backward()
        assert all(p.grad is not None and p.grad.device.type == device for p in model.parameters())


def test_a_plan_is_of_the_model_that_is_given(tmp_path, capsys):
    import json

    from harness.cli import main

    model = llama(vocab_size=77)
    model.save_pretrained(tmp_path / "mine")
    given = (
        "plan",
        "method=alibi/retrofit",
        f"model={tmp_path / 'mine'}",
        "budget=smoke",
        f"results={tmp_path}",
    )
    with pytest.raises(SystemExit) as left:
        main([*given, "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == model.num_parameters()
    assert found["tokens"] == 4 * 4 * 16  # steps, windows, L


def test_a_full_plan_is_the_papers_training():
    """286,000 steps of 8 x 9,216 tokens: 21.1 billion, 204 epochs of WikiText-103's 103.2 million."""
    from harness_alibi import BUDGETS

    full = BUDGETS["full"]["task"]
    tokens = full["steps"] * full["batch_size"] * full["length"]
    assert tokens == 286_000 * 8 * 9_216
    assert tokens / 103.2e6 == pytest.approx(205, abs=1)
