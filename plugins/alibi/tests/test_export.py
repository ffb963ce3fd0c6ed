"""What a run trained, as a BLOOM or MPT that plain transformers loads: the same logits, and text past L."""

import json
import subprocess
import sys

import pytest
import torch
from harness_alibi import exporting
from harness_alibi.exporting import ERF_BY_TANH, OFFSET, RELU, export, width_of

from harness.data.sources import Document
from harness.data.tokens import character_tokenizer
from harness.errors import HarnessError, UsageError
from harness.nn.decoder import Decoder, DecoderConfig


def trained(folder, **more):
    """Leave a decoder whose weights, norms and biases are all far from where they start."""
    torch.manual_seed(0)
    tokenizer = character_tokenizer([Document("a", "the quick brown fox jumps over the lazy dog")])
    sizes = {
        "vocab_size": len(tokenizer),
        "width": 32,
        "layers": 2,
        "heads": 4,
        "feedforward": 64,
        "length": 16,
    }
    model = Decoder(DecoderConfig(**{**sizes, "position": "alibi", **more})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def ids(length=64):
    return torch.randint(20, (2, length), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("bloom", {}),
        ("bloom", {"heads": 1}),
        ("bloom", {"heads": 6, "width": 36}),
        ("bloom", {"activation": "relu"}),
        ("bloom", {"activation": "gelu_pytorch_tanh"}),
        ("bloom", {"biases": False}),
        ("bloom", {"feedforward": 200, "tie_word_embeddings": False, "scale_embeddings": False}),
        ("mpt", {"biases": False}),
        ("mpt", {"biases": False, "heads": 6, "width": 36}),
        ("mpt", {"biases": False, "feedforward": 200, "activation": "relu"}),
    ],
    ids=str,
)
@torch.no_grad()
def test_it_has_the_same_logits_and_the_same_text_past_l(family, more, tmp_path):
    from transformers import AutoModelForCausalLM

    model = trained(tmp_path / "ours", **more)
    export(tmp_path / "ours", family, tmp_path / "theirs")
    made = AutoModelForCausalLM.from_pretrained(tmp_path / "theirs").eval()
    assert made.config.model_type == family
    assert (made(ids()).logits - model(ids()).logits).abs().max() < 1e-4
    mask = torch.ones(2, 8, dtype=torch.long)
    text = model.generate(ids(8), attention_mask=mask, max_new_tokens=40, do_sample=False)  # L is 16
    assert (
        made.generate(ids(8), attention_mask=mask, max_new_tokens=40, do_sample=False).tolist()
        == text.tolist()
    )


def test_the_exact_gelu_is_seven_of_blooms():
    x = torch.linspace(-40, 40, 20_001, dtype=torch.float64)
    tanh = torch.nn.functional.gelu
    made = OFFSET + sum(a * tanh(s * x + b, approximate="tanh") for a, s, b in ERF_BY_TANH)
    assert (made - tanh(x)).abs().max() < 3e-7
    assert (tanh(x, approximate="tanh") - tanh(x)).abs().max() > 4e-4  # what it would be without
    made = sum(a * tanh(s * x) for a, s, _ in RELU)
    assert (made - x.clamp(min=0)).abs().max() < 2e-7


def test_a_model_without_gelu_is_hardly_wider():
    config = DecoderConfig(width=1024, heads=8, feedforward=4096, activation="relu")
    assert width_of(config, "bloom") == 1032
    assert width_of(config, "mpt") == 1024


def test_plain_transformers_loads_and_generates_with_no_code_of_ours(tmp_path):
    trained(tmp_path / "ours")
    export(tmp_path / "ours", "bloom", tmp_path / "theirs")
    code = (
        "import sys; from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"m = AutoModelForCausalLM.from_pretrained({str(tmp_path / 'theirs')!r})\n"
        f"t = AutoTokenizer.from_pretrained({str(tmp_path / 'theirs')!r})\n"
        "out = m.generate(**t('the quick', return_tensors='pt', return_token_type_ids=False), max_new_tokens=40)\n"
        "assert not any(n.startswith('harness') for n in sys.modules)\n"
        "print(out.shape[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 16


@pytest.mark.parametrize(
    ("family", "more", "said"),
    [
        ("bloom", {"position": "rotary"}, "rotary"),
        ("bloom", {"position_options": {"learned_slopes": True}}, "learned_slopes"),
        ("bloom", {"position_options": {"half_heads": True}}, "half_heads"),
        ("mpt", {"position_options": {"interpolated": True}}, "interpolated"),
        ("bloom", {"activation": "silu"}, "activation silu"),
        ("mpt", {"activation": "gelu_new", "biases": False}, "activation gelu_new"),
        ("mpt", {}, "no biases"),
    ],
    ids=str,
)
def test_what_has_no_exact_counterpart_is_refused_by_name(family, more, said, tmp_path):
    trained(tmp_path / "ours", **more)
    with pytest.raises(UsageError, match=said):
        export(tmp_path / "ours", family, tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()


def test_an_output_that_is_there_is_left_alone(tmp_path):
    trained(tmp_path / "ours")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "precious.txt").write_text("kept")
    (tmp_path / "file").write_text("kept")
    for out in ("theirs", "file"):
        with pytest.raises(UsageError, match="there already"):
            export(tmp_path / "ours", "bloom", tmp_path / out)
    assert (tmp_path / "theirs" / "precious.txt").read_text() == "kept"


def test_logits_that_differ_are_not_written(tmp_path, monkeypatch):
    trained(tmp_path / "ours")
    monkeypatch.setitem(exporting.UNITS["bloom"], "gelu", (exporting.EXACT, 0.0))  # the wrong form of GELU
    with pytest.raises(HarnessError, match="apart"):
        export(tmp_path / "ours", "bloom", tmp_path / "theirs")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours"]


def test_a_finished_run_is_exported_by_the_command(tmp_path):
    import typer
    from harness_alibi.commands import tools
    from typer.testing import CliRunner

    run = tmp_path / "results" / "runs" / "alibi" / "alibi" / "0123456789abcdef"
    trained(run / "output")
    app = typer.Typer()
    tools(app)
    words = ["export", str(run / "output"), "--to", "bloom", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "the same logits" in done.output
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "bloom"
    for words, said in (
        (["export", "nothing", "--to", "bloom", "--out", str(tmp_path / "b")], "no folder"),
        (["export", str(run / "output"), "--to", "blom", "--out", str(tmp_path / "b")], "not known"),
        (["export", str(tmp_path), "--to", "bloom", "--out", str(tmp_path / "b")], "no config.json"),
    ):
        done = CliRunner().invoke(app, words)
        assert isinstance(done.exception, UsageError)
        assert said in str(done.exception)
