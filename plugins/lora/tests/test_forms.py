"""The three storage forms: each round trip keeps the logits, and what a form has lost is said."""

import json

import pytest
import torch
from harness_lora import LoraConfig, inject, parameter_counts
from harness_lora.forms import convert, form_in, inspect, read, write
from lora_models import decoder, ids, llama, roberta, stirred
from typer.testing import CliRunner

from harness.cli import _app
from harness.errors import UsageError

BASES = {"decoder": decoder, "llama": llama, "classifier": roberta}


@pytest.fixture(params=BASES)
def made(request, tmp_path):
    """A base on disk, an adapted model on it, and its logits."""
    BASES[request.param]().save_pretrained(tmp_path / "base")
    model = read(tmp_path / "base")
    heads = ("classifier",) if request.param == "classifier" else ()
    stirred(inject(model, LoraConfig(4, 8.0, 0.1, heads=heads)))
    return tmp_path, model, model(ids()).logits.detach()


def logits(folder, base="") -> torch.Tensor:
    return read(folder, base)(ids()).logits.detach()


def test_an_adapter_becomes_the_other_two_forms_and_comes_back(made):
    home, model, want = made
    write(model, home / "adapter", "adapter")
    for form in ("merged", "checkpoint"):
        convert(home / "adapter", form, home / form)
        assert form_in(home / form) == form
        torch.testing.assert_close(logits(home / form), want, rtol=1e-5, atol=1e-5)
    convert(home / "checkpoint", "adapter", home / "again")
    assert torch.equal(logits(home / "again"), want)
    convert(home / "checkpoint", "merged", home / "merged-2")
    assert torch.equal(logits(home / "merged-2"), logits(home / "merged"))


def test_a_merged_model_is_an_ordinary_one(made):
    home, model, want = made
    write(model, home / "adapter", "adapter")
    convert(home / "adapter", "merged", home / "merged")
    plain = type(model).from_pretrained(home / "merged").eval()
    torch.testing.assert_close(plain(ids()).logits, want, rtol=1e-5, atol=1e-5)
    base = parameter_counts(type(model).from_pretrained(home / "base"))
    assert parameter_counts(plain)["total"] == base["total"]


def test_a_merged_model_cannot_become_an_adapter_again(made):
    home, model, _ = made
    write(model, home / "merged", "merged")
    for form in ("adapter", "checkpoint"):
        with pytest.raises(UsageError, match="lost"):
            convert(home / "merged", form, home / "x")


def test_inspect_tells_form_rank_targets_sizes_and_counts(made):
    home, model, _ = made
    counts = parameter_counts(model)
    write(model, home / "adapter", "adapter")
    found = inspect(home / "adapter")
    assert (found["form"], found["rank"], found["alpha"], found["dropout"]) == ("adapter", 4, 8.0, 0.1)
    assert found["base"] == str(home / "base")
    assert found["targets"] == "all-linear"
    assert found["adapter_parameters"] == counts["adapter"]
    assert found["head_parameters"] == counts["head"]
    assert found["trainable_parameters"] == counts["trainable"]
    assert found["bytes"] == (home / "adapter" / "adapter_model.safetensors").stat().st_size
    write(model, home / "checkpoint", "checkpoint")
    assert inspect(home / "checkpoint")["total_parameters"] == counts["total"]
    write(model, home / "merged", "merged")
    assert inspect(home / "merged")["total_parameters"] == counts["total"] - counts["adapter"]


def test_a_merged_tied_output_layer_is_stored_beside_its_embedding(tmp_path):
    llama().save_pretrained(tmp_path / "base")
    model = stirred(inject(read(tmp_path / "base"), LoraConfig(targets=("lm_head", "q_proj"))))
    want = model(ids()).logits.detach()
    write(model, tmp_path / "adapter", "adapter")
    for form in ("checkpoint", "merged"):
        convert(tmp_path / "adapter", form, tmp_path / form)
        torch.testing.assert_close(logits(tmp_path / form), want, rtol=1e-5, atol=1e-5)
    merged = read(tmp_path / "merged")
    assert merged.lm_head.weight is not merged.model.embed_tokens.weight
    untouched = llama().model.embed_tokens.weight
    assert torch.equal(merged.model.embed_tokens.weight, untouched)


def test_an_adapter_converted_onto_another_base_is_refused(made):
    home, model, want = made
    write(model, home / "adapter", "adapter")
    other = type(model)(model.config)
    other.save_pretrained(home / "other")
    with pytest.raises(UsageError, match="other"):
        convert(home / "adapter", "merged", home / "merged", base=str(home / "other"))
    assert not (home / "merged").exists()
    convert(home / "adapter", "merged", home / "merged", base=str(home / "other"), any_base=True)
    assert not torch.allclose(logits(home / "merged"), want)


def test_a_training_folder_of_peft_is_an_adapter_with_state_beside_it(tmp_path):
    write(stirred(inject(decoder(), LoraConfig())), tmp_path, "adapter")
    (tmp_path / "optimizer.pt").write_bytes(b"state")
    assert inspect(tmp_path)["form"] == "adapter"
    assert inspect(tmp_path)["training_state"] == ["optimizer.pt"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["convert", "nowhere", "--to", "merged"], "no folder, and no run"),
        (["convert", "adapter", "--to", "merge"], "did you mean 'merged'"),
        (["convert", "adapter", "--to", "merged", "--out", "adapter"], "already"),
        (["convert", "adapter", "--to", "merged", "--base", "gone/far/away"], "gone/far/away"),
        (["inspect", "empty"], "holds no adapter"),
        (["inspect", "torn"], "damaged"),
    ],
)
def test_commands_that_cannot_be_done_say_why(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "model.safetensors").write_bytes(b"\x08torn")
    write(stirred(inject(decoder(), LoraConfig())), tmp_path / "adapter", "adapter")
    done = CliRunner().invoke(_app(["lora"]), ["lora", *words])
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_the_commands_convert_and_inspect(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    decoder().save_pretrained(tmp_path / "base")
    write(stirred(inject(read(tmp_path / "base"), LoraConfig())), tmp_path / "adapter", "adapter")
    app, run = _app(["lora"]), CliRunner().invoke
    done = run(app, ["lora", "convert", "adapter", "--to", "merged"])
    assert done.exit_code == 0, done.output
    assert "adapter-merged: merged" in done.output
    told = json.loads(run(app, ["lora", "inspect", "adapter-merged", "--json"]).output)
    assert told["form"] == "merged"
    assert "all-linear" in run(app, ["lora", "inspect", "adapter"]).output
