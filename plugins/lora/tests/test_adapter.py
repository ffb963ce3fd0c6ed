"""Adapters are PEFT's: the same files, the same numbers, both ways; and what is not understood is refused."""

import copy
import json

import peft
import pytest
import torch
from harness_lora import LoraConfig, inject, load_adapter, save_adapter
from harness_lora.adapter import fingerprint, read_config
from lora_models import decoder, ids, llama, roberta, stirred

from harness.errors import HarnessError, UsageError

BASES = {"decoder": decoder, "llama": llama, "classifier": roberta}


def adapted(kind: str, **settings):
    heads = ("classifier",) if kind == "classifier" else ()
    return stirred(inject(BASES[kind](), LoraConfig(**{"rank": 4, "alpha": 8, "heads": heads, **settings})))


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("rslora", [False, True])
def test_an_adapter_of_ours_gives_the_same_logits_in_peft(kind, rslora, tmp_path):
    model = adapted(kind, rslora=rslora)
    save_adapter(model, tmp_path)
    theirs = peft.PeftModel.from_pretrained(BASES[kind](), tmp_path).eval()
    want = model(ids()).logits
    torch.testing.assert_close(theirs(input_ids=ids()).logits, want, rtol=0, atol=1e-6)
    assert (want - BASES[kind]()(ids()).logits).abs().max() > 1e-3


@pytest.mark.parametrize("kind", BASES)
def test_an_adapter_trained_by_peft_gives_the_same_logits_here(kind, tmp_path):
    classifies = kind == "classifier"
    config = peft.LoraConfig(
        r=3,
        lora_alpha=7,
        target_modules=["query", "value"] if classifies else ["q_proj", "v_proj", "up_proj"],
        task_type="SEQ_CLS" if classifies else "CAUSAL_LM",
        use_rslora=classifies,
    )
    theirs = peft.get_peft_model(BASES[kind](), config)
    optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=0.01)
    for _ in range(3):
        labels = torch.tensor([0, 1]) if classifies else ids()
        theirs(input_ids=ids(), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    theirs.eval().save_pretrained(tmp_path)
    ours = load_adapter(BASES[kind](), tmp_path)
    torch.testing.assert_close(ours(ids()).logits, theirs(input_ids=ids()).logits, rtol=0, atol=1e-6)


def test_an_adapter_survives_saving_and_loading_bit_for_bit(tmp_path):
    model = adapted("decoder", dropout=0.1, gaussian=True)
    again = load_adapter(decoder(), save_adapter(model, tmp_path))
    assert torch.equal(again(ids()).logits, model(ids()).logits)
    assert again.lora_config == model.lora_config


def test_the_same_targets_mean_the_same_modules_in_peft():
    for targets in (("q_proj", "up_proj"), r".*\.(k|o)_proj", "all-linear"):
        ours = inject(decoder(), LoraConfig(targets=targets))
        given = list(targets) if isinstance(targets, tuple) else targets
        theirs = peft.get_peft_model(decoder(), peft.LoraConfig(target_modules=given))
        named = {n.removeprefix("base_model.model.").replace(".default", "") for n in theirs.state_dict()}
        assert {n for n in ours.state_dict() if "lora_" in n} == {n for n in named if "lora_" in n}


def test_an_adapter_on_another_base_is_refused_by_name(tmp_path):
    model = adapted("decoder")
    model.config._name_or_path = "good/base"
    save_adapter(model, tmp_path)
    other = decoder(seed=1)
    other.config._name_or_path = "other/base"
    with pytest.raises(UsageError, match=r"good/base.*other/base"):
        load_adapter(other, tmp_path)
    load_adapter(decoder(seed=1), tmp_path, any_base=True)


def test_an_adapter_of_peft_is_refused_by_the_names_it_has(tmp_path):
    base = decoder()
    base.name_or_path = "good/base"
    config = peft.LoraConfig(target_modules=["q_proj"], revision="abc123")
    peft.get_peft_model(base, config).save_pretrained(tmp_path)
    other = decoder()
    other.config._name_or_path = "other/base"
    with pytest.raises(UsageError, match=r"good/base.*other/base"):
        load_adapter(other, tmp_path)
    moved = decoder()
    moved.config._name_or_path, moved.config._commit_hash = "good/base", "ffff00"
    with pytest.raises(UsageError, match=r"abc123.*ffff00"):
        load_adapter(moved, tmp_path)


def test_a_base_has_one_fingerprint_in_float32_and_bfloat16_adapted_or_not():
    want = fingerprint(decoder())
    assert fingerprint(decoder().to(torch.bfloat16)) == want
    assert fingerprint(adapted("decoder")) == want
    assert fingerprint(decoder(seed=1)) != want


def change(folder, **values):
    said = {**read_config(folder), **values}
    (folder / "adapter_config.json").write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lora_bias": True, "peft_version": "9.9"}, "lora_bias=True .written by PEFT 9.9."),
        ({"telepathy": {"range": 3}}, "telepathy"),
        ({"use_dora": True}, "lacks .*lora_magnitude_vector"),
        ({"bias": "all"}, "lacks .*bias"),
        ({"bias": "some"}, "one of none, all and lora_only"),
        ({"rank_pattern": {"q_proj": 2}}, "rank is not what the config says"),
        ({"target_parameters": ["experts.gate_up_proj"]}, "fused matrices"),
        ({"layer_replication": [[0, 1]]}, "repeats layers"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"r": None}, "does not say r"),
        ({"lora_alpha": None}, "does not say lora_alpha"),
        ({"r": 5}, "rank is not what the config says"),
        ({"target_modules": ["q_proj"]}, "no place for"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lacks lm_head"),
    ],
)
def test_what_a_config_says_and_we_do_not_do_is_refused(values, message, tmp_path):
    save_adapter(adapted("decoder", targets=("q_proj", "v_proj")), tmp_path)
    change(tmp_path, **values)
    with pytest.raises(HarnessError, match=message):
        load_adapter(decoder(), tmp_path)


def test_unknown_keys_that_are_switched_off_do_no_harm(tmp_path):
    save_adapter(adapted("decoder"), tmp_path)
    before = load_adapter(decoder(), tmp_path).state_dict()
    change(tmp_path, telepathy=None, levitation=False)
    after = load_adapter(decoder(), tmp_path).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_torn_or_pickled_adapter_is_refused(tmp_path):
    save_adapter(adapted("decoder"), tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="damaged"):
        load_adapter(decoder(), tmp_path)
    weights.rename(tmp_path / "adapter_model.bin")
    with pytest.raises(UsageError, match="pickle"):
        load_adapter(decoder(), tmp_path)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(UsageError, match="not JSON"):
        load_adapter(decoder(), tmp_path)


def test_a_merged_model_is_not_saved_as_an_adapter(tmp_path):
    from harness_lora import merge

    with pytest.raises(UsageError, match="unmerge"):
        save_adapter(merge(adapted("decoder")), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": ("q_prok",)}, "q_proj"),
        ({"targets": ("q_proj", "nowhere")}, "nowhere"),
        ({"targets": ".*nothing"}, "matches nothing"),
        ({"targets": "(" }, "regular expression"),
        ({"targets": ("attention_norm",)}, "LayerNorm"),
        ({"rank": 33, "targets": ("q_proj",)}, "use 1 to 32"),
        ({"rank": 0}, "rank=0"),
    ],
)  # fmt: skip
def test_targets_and_ranks_that_cannot_be_are_refused_and_leave_the_model_alone(settings, message):
    model = decoder()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UsageError, match=message):
        inject(model, LoraConfig(**settings))
    assert all(p.requires_grad for p in model.parameters())
    assert model.state_dict().keys() == before.keys()


def test_lora_is_not_put_on_lora():
    with pytest.raises(UsageError, match="already"):
        inject(inject(decoder(), LoraConfig()), LoraConfig())
