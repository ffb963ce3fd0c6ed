"""PEFT is the oracle: the same logits from the same files, both ways, for each family and each setting."""

import warnings

import peft
import pytest
import torch
from harness_lora import LoraConfig, inject, load_adapter, merge, save_adapter
from harness_lora.forms import FORMS, convert, read
from harness_lora.injection import unload
from lora_families import (
    ATTENTION,
    ENCODERS,
    GENERATORS,
    folder_of,
    loaded,
    logits,
    trained,
    whole_folder_of,
)

from harness.errors import HarnessError

warnings.filterwarnings("ignore", module="peft")
FAMILIES = [*GENERATORS, *ENCODERS]
TASK = dict.fromkeys(ENCODERS, "SEQ_CLS")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("families")


def quickly(names, *some):
    """Return the names, all but some marked slow."""
    return [name if name in some else pytest.param(name, marks=pytest.mark.oracle) for name in names]


def close(found, want):
    torch.testing.assert_close(found, want, rtol=0, atol=1e-5 * max(1.0, float(want.abs().max())))


def by_peft(name, folder, out, resize=0, **settings):
    """Return the logits of an adapter that PEFT made, trained and saved, and of it merged."""
    model = loaded(name, folder)
    if resize:
        torch.manual_seed(5)
        model.resize_token_embeddings(resize, mean_resizing=False)
    settings = {"r": 3, "lora_alpha": 7, "target_modules": ATTENTION, "task_type": TASK.get(name), **settings}
    theirs = trained(peft.get_peft_model(model, peft.LoraConfig(**settings)))
    theirs.save_pretrained(out)
    want = logits(theirs)
    before = logits(loaded(name, folder))
    assert (want[..., : before.shape[-1]] - before).abs().max() > 1e-2
    return want


def agrees(name, folder, out, want, tmp_path):
    """Hold what PEFT wrote in `out` against ours: loaded, converted to each form, and read by PEFT again."""
    ours = load_adapter(loaded(name, folder), out)
    close(logits(ours), want)
    again = peft.PeftModel.from_pretrained(
        based_on(ours, name, folder), save_adapter(ours, tmp_path / "again")
    )
    close(logits(again.eval()), want)
    for form in FORMS:
        convert(out, form, tmp_path / form)
        close(logits(read(tmp_path / form)), want)


def based_on(ours, name, folder):
    model = loaded(name, folder)
    rows = ours.get_input_embeddings().weight.shape[0]
    if rows != model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(rows)
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_what_peft_trained_is_the_same_model_here(name, home, tmp_path):
    folder = whole_folder_of(name, home)
    want = by_peft(name, folder, tmp_path / "theirs")
    agrees(name, folder, tmp_path / "theirs", want, tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_was_trained_here_is_the_same_model_in_peft_and_in_each_form(name, home, tmp_path):
    folder = folder_of(name, home)
    ours = trained(inject(loaded(name, folder), LoraConfig(rank=2, alpha=6)))
    want = logits(ours)
    save_adapter(ours, tmp_path / "ours")
    theirs = peft.PeftModel.from_pretrained(loaded(name, folder), tmp_path / "ours").eval()
    close(logits(theirs), want)
    close(logits(load_adapter(loaded(name, folder), tmp_path / "ours")), want)
    for form in FORMS:
        convert(tmp_path / "ours", form, tmp_path / form)
        close(logits(read(tmp_path / form)), want)
    close(logits(unload(merge(ours))), want)


LINEAR = [name for name in FAMILIES if name != "distilbert"]  # on which PEFT itself fails


@pytest.mark.parametrize("name", quickly(LINEAR, "gpt2", "roberta"))
def test_peft_on_all_linear_layers_is_the_same_model_here(name, home, tmp_path):
    folder = whole_folder_of(name, home)
    want = by_peft(name, folder, tmp_path / "theirs", target_modules="all-linear")
    agrees(name, folder, tmp_path / "theirs", want, tmp_path)


SETTINGS = {
    "rslora": {"use_rslora": True},
    "gaussian": {"init_lora_weights": "gaussian"},
    "excluded names": {"exclude_modules": ["v_proj", "v", "value", "c_proj"], "target_modules": "all-linear"},
    "excluded pattern": {"exclude_modules": r".*(layers|h|block)\.0\..*"},
    "some layers": {"layers_to_transform": [1]},
    "one layer by its list": {"layers_to_transform": 0, "layers_pattern": ["layers", "h", "block"]},
    "ranks": {
        "rank_pattern": {"q_proj": 2, r"h\.1\.attn\.c_attn": 5, "q": 1},
        "alpha_pattern": {"v_proj": 3.5},
    },
    "a rank above the width": {"r": 64},
    "all biases": {"bias": "all"},
    "biases of adapted layers": {"bias": "lora_only"},
    "dora": {"use_dora": True},
    "dora on all": {"use_dora": True, "target_modules": "all-linear", "bias": "all"},
    "an embedding": {"target_modules": [*ATTENTION, "embed_tokens", "wte", "shared"]},
    "an embedding with dora": {"target_modules": [*ATTENTION, "embed_tokens", "wte"], "use_dora": True},
    "the output layer": {"target_modules": [*ATTENTION, "lm_head"]},
    "the output layer by dora": {"target_modules": [*ATTENTION, "lm_head"], "use_dora": True},
    "a saved embedding": {"modules_to_save": ["embed_tokens", "wte", "shared"]},
    "a saved output layer": {"modules_to_save": ["lm_head"]},
    "both saved": {"modules_to_save": ["embed_tokens", "wte", "lm_head"]},
    "both saved and tied": {"modules_to_save": ["embed_tokens", "wte"], "ensure_weight_tying": True},
    "some tokens": {"trainable_token_indices": [1, 5, 7]},
    "added tokens": {"resize": 53},
    "added tokens, trained": {"resize": 53, "trainable_token_indices": [5, 49, 50]},
    "added tokens, saved": {"resize": 53, "modules_to_save": ["embed_tokens", "wte", "lm_head"]},
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", quickly(GENERATORS, "llama-tied"))
def test_each_setting_of_peft_is_the_same_model_here(name, setting, home, tmp_path):
    if setting == "both saved and tied" and name in ("t5", "t5-gated", "bart"):
        pytest.skip("PEFT's own forward fails here")
    folder = whole_folder_of(name, home)
    want = by_peft(name, folder, tmp_path / "theirs", **SETTINGS[setting])
    agrees(name, folder, tmp_path / "theirs", want, tmp_path)


@pytest.mark.parametrize("name", quickly(["bert", "distilbert", "electra"], "distilbert"))
@pytest.mark.parametrize(
    "setting", ["all biases", "biases of adapted layers", "dora", "some layers", "ranks"]
)
def test_each_setting_of_peft_is_the_same_classifier_here(name, setting, home, tmp_path):
    folder = whole_folder_of(name, home)
    want = by_peft(name, folder, tmp_path / "theirs", **SETTINGS[setting])
    agrees(name, folder, tmp_path / "theirs", want, tmp_path)


def test_saved_modules_inside_one_another_are_refused_as_peft_cannot_read_them_either(home, tmp_path):
    folder = whole_folder_of("bert", home)
    by_peft("bert", folder, tmp_path / "ad", modules_to_save=["embeddings"])
    with pytest.raises(KeyError):
        peft.PeftModel.from_pretrained(loaded("bert", folder), tmp_path / "ad")
    with pytest.raises(HarnessError, match="inside one another"):
        load_adapter(loaded("bert", folder), tmp_path / "ad")


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_added_tokens_of_an_adapted_end_are_read_where_the_other_end_is_tied_to_it_else_refused(
    target, home, tmp_path
):
    settings = {"resize": 53, "target_modules": ["q_proj", target]}
    folder = folder_of("llama-tied", home)
    want = by_peft("llama-tied", folder, tmp_path / "tied", **settings)
    agrees("llama-tied", folder, tmp_path / "tied", want, tmp_path)
    other = {"lm_head": "model.embed_tokens", "embed_tokens": "lm_head"}[target]
    by_peft(
        "llama", folder_of("llama", home), tmp_path / "lost", **settings
    )  # the other end's rows are not saved
    with pytest.raises(
        HarnessError, match=rf"53 tokens and its base 48, and it does not hold {other}\.weight"
    ):
        convert(tmp_path / "lost", "merged", tmp_path / "merged-lost")


@pytest.mark.parametrize(
    "ends", [{"target_modules": ["q_proj", "lm_head"]}, {"modules_to_save": ["lm_head"]}]
)
def test_encoder_and_decoder_keep_their_embedding_where_a_resized_output_layer_is_its_own(
    ends, home, tmp_path
):
    folder = folder_of("bart", home)
    want = by_peft("bart", folder, tmp_path / "theirs", resize=53, **ends)
    agrees("bart", folder, tmp_path / "theirs", want, tmp_path)


def test_an_output_layer_adapted_with_its_embedding_is_refused_for_that_reason(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=64, tie_word_embeddings=True, **sizes)).save_pretrained(
        tmp_path / "base"
    )
    base = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=2, target_modules=["embed_tokens"], ensure_weight_tying=True
    )
    peft.get_peft_model(base, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(HarnessError, match="merge it with PEFT first"):
        load_adapter(LlamaForCausalLM.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
