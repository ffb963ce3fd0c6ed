"""`harness alibi lengths`: the losses are transformers' own, windows what they are called, refusals sentences."""

import json

import numpy as np
import pytest
import torch
from harness_alibi.kinds import positions_of
from harness_alibi.lengths import Plan, curve, plan_of, slid
from harness_alibi.pieces import logits_of, token_nll
from typer.testing import CliRunner

from harness.data.sources import Document
from harness.data.tokens import character_tokenizer
from harness.errors import UsageError
from harness.nn.decoder import Decoder, DecoderConfig

SMALL = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = {
    **SMALL,
    "intermediate_size": 48,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "head_dim": 8,
}
FAMILIES = {
    "llama": GROUPED,
    "qwen2": GROUPED,
    "mistral": {**GROUPED, "sliding_window": 9},
    "gemma2": {**GROUPED, "final_logit_softcapping": 3.0, "sliding_window": 9},
    "granite": {**GROUPED, "logits_scaling": 4.0},
    "cohere": {**GROUPED, "logit_scale": 0.3, "pad_token_id": 0},
    "gpt2": {**SMALL, "n_positions": 64},
    "gpt_neox": {**SMALL, "intermediate_size": 48, "max_position_embeddings": 64},
    "opt": {
        **SMALL,
        "ffn_dim": 48,
        "max_position_embeddings": 64,
        "word_embed_proj_dim": 32,
        "pad_token_id": 1,
    },
    "bloom": SMALL,
    "mpt": {"vocab_size": 60, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
    "falcon": {**SMALL, "alibi": True},
}
KINDS = {
    **dict.fromkeys(("llama", "qwen2", "mistral", "gemma2", "granite", "cohere", "gpt_neox"), "rotary"),
    **dict.fromkeys(("bloom", "mpt", "falcon"), "alibi"),
    **dict.fromkeys(("gpt2", "opt"), "learned"),
}


def causal(family, **more):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**FAMILIES[family], **more})
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def text(tokens=400, vocabulary=60):
    return np.random.default_rng(1).integers(2, vocabulary, size=tokens)


def silent(*_, **__):
    pass


@pytest.mark.parametrize("family", FAMILIES)
def test_the_losses_are_those_of_transformers_on_the_same_windows(family):
    model, tokens = causal(family), text()
    plan = Plan((16, 48), own=48, targets=96, windows=2, stride=16, probes=0)
    found = curve(model, tokens, plan, "cpu", silent)
    for row in found["lengths"]:
        windows = torch.as_tensor(tokens[: 96 + 1]).unfold(0, row["length"] + 1, row["length"])
        theirs = [model(input_ids=w[None], labels=w[None]).loss.item() for w in windows]
        assert row["loss"] == pytest.approx(np.mean(theirs), abs=1e-5)
        # Sliding: the 32 tokens after the first 32, each scored in a window that ends at most 15 later.
        last = [
            torch.nn.functional.cross_entropy(
                model(input_ids=torch.as_tensor(tokens[end - row["length"] : end])[None]).logits[0, -16:],
                torch.as_tensor(tokens[end - 15 : end + 1]),
            ).item()
            for end in (48, 64)
        ]
        assert row["sliding_loss"] == pytest.approx(np.mean(last), abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_in_pieces_are_the_whole_ones(family):
    model, ids = causal(family), torch.as_tensor(text(30))[None]
    seen = []
    model.get_output_embeddings().register_forward_hook(lambda _, given, made: seen.append(made.shape[1]))
    with torch.no_grad():
        whole = model(input_ids=ids).logits
        seen.clear()
        pieces = torch.cat(list(logits_of(model, ids, [slice(0, 11), slice(11, 29), slice(29, 30)])), dim=1)
        assert max(seen) == 18
        assert torch.equal(model(input_ids=ids).logits, whole)  # the model is as it was
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_positions_of_families_are_named(family):
    model = causal(family)
    found = positions_of(model.config, model)
    assert found.kind == KINDS[family]
    assert found.limit == (64 if found.kind == "learned" else None)


def test_llama_2_has_rotary_positions_of_base_10_000():
    from transformers import LlamaConfig

    assert positions_of(LlamaConfig(max_position_embeddings=4096)).told == "rotary, base 10,000"


def test_no_more_logits_than_a_piece_are_in_memory():
    model = causal("llama", vocab_size=3000)
    seen = []
    model.lm_head.register_forward_hook(lambda _, given, made: seen.append(made.shape[1]))
    inputs = torch.as_tensor(text(2500))[None]
    with torch.no_grad():
        assert token_nll(model, inputs[:, :-1], inputs[:, 1:], "cpu").shape == (1, 2499)
    assert max(seen) == 1024


def test_an_mpt_is_scored_past_its_table():
    model = causal("mpt", max_seq_len=16)
    found = curve(model, text(), Plan((16, 128), own=16, targets=128, windows=0, probes=0), "cpu", silent)
    assert [row["length"] for row in found["lengths"]] == [16, 128]


def test_a_model_that_copies_gets_all_of_the_probe_and_a_random_one_none():
    plan = Plan((32, 64), own=32, targets=64, windows=0, probes=8)
    found = curve(causal("llama"), text(vocabulary=60), plan, "cpu", silent)["retrieval"]
    assert [row["distance"] for row in found] == [16, 48]
    assert all(row["accuracy"] < 0.2 for row in found)

    class Copier(torch.nn.Module):
        """Says what followed the last four tokens when they were seen before."""

        config = DecoderConfig()

        def forward(self, input_ids, **_):
            logits = torch.zeros(*input_ids.shape, 60)
            for row, ids in enumerate(input_ids.tolist()):
                for end in range(4, len(ids)):
                    for at in range(end - 4):
                        if ids[at : at + 4] == ids[end - 3 : end + 1]:
                            logits[row, end, ids[at + 4]] = 9.0
            return type("Made", (), {"logits": logits})

    asked = Plan((32,), own=32, targets=32, windows=0, probes=4)
    assert curve(Copier(), text(), asked, "cpu", silent)["retrieval"][0]["accuracy"] == 1.0


def test_positions_are_averaged_where_they_stand():
    model, tokens = causal("llama"), text()
    plan = Plan((64,), own=64, targets=128, windows=0, probes=0)
    found = curve(model, tokens, plan, "cpu", silent)
    places = found["by_position"]
    assert places[0]["from"] == 0
    assert places[-1]["to"] == 64
    shares = [(place["to"] - place["from"]) * place["loss"] for place in places]
    assert sum(shares) / 64 == pytest.approx(found["lengths"][0]["loss"], abs=1e-5)


def test_sliding_scores_the_same_tokens_at_every_length():
    plan = Plan((16, 32, 64), own=32, targets=64, windows=3, stride=8, probes=0)
    model, tokens = causal("llama"), text()
    changed = tokens.copy()
    changed[56 + 3 * 8 + 1 :] = 2  # all that lies behind the scored tokens
    for length in plan.lengths:
        losses = slid(model, tokens, length, plan, "cpu", silent)
        assert len(losses) == 24
        assert np.array_equal(losses, slid(model, changed, length, plan, "cpu", silent))


@pytest.mark.parametrize(
    ("words", "asked", "said"),
    [
        ("0.5x,2y", {}, "is no length"),
        ("0x", {}, "is no length"),
        ("-1x", {}, "is no length"),
        ("", {}, "is no length"),
        ("1.5", {}, "is no length"),
        ("nanx", {}, "is no length"),
        ("1x", {"targets": 10}, "the longest window"),
        ("1x", {"targets": -3}, "the longest window"),
        ("1x", {"windows": -1}, "too few"),
        ("1x", {"stride": 65}, "longer than the shortest"),
        ("1x", {"stride": -1}, "too few"),
        ("1x", {"probes": 1}, "2 or more"),
        ("2x", {}, "none of these"),
    ],
)
def test_what_cannot_be_scored_is_a_sentence(words, asked, said):
    learned = positions_of(DecoderConfig(position="learned", length=64))
    with pytest.raises(UsageError, match=said):
        plan_of(words, learned, 0, **asked)


def test_lengths_beyond_learned_positions_are_named_and_left_out():
    plan, beyond = plan_of("0.5x,1x,2x,512", positions_of(DecoderConfig(position="learned", length=64)))
    assert (plan.lengths, beyond) == ((32, 64), (128, 512))
    assert plan.targets == 32_768
    with pytest.raises(UsageError, match="add --length"):
        plan_of("1x", positions_of(causal("bloom").config))
    assert plan_of("1x,2x", positions_of(causal("bloom").config), 16)[0].lengths == (16, 32)
    assert plan_of("8x", positions_of(causal("bloom").config), 8192)[0].targets == 65_536


@pytest.fixture
def folder(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    story = "the cat sat on the mat and the dog sat on the log. " * 40
    tokenizer = character_tokenizer([Document("a", story)])
    config = LlamaConfig(**{**GROUPED, "vocab_size": len(tokenizer), "max_position_embeddings": 32})
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    tokenizer.save_pretrained(tmp_path / "llama")
    (tmp_path / "story.txt").write_text(story)
    return tmp_path


def asked(*words):
    import typer
    from harness_alibi.commands import tools

    app = typer.Typer()
    tools(app)
    return CliRunner().invoke(app, ["lengths", *map(str, words)])


def test_the_command_prints_draws_and_says_json(folder):
    words = (
        folder / "llama",
        "--data",
        folder / "story.txt",
        "--results",
        folder / "results",
        "--targets",
        256,
    )
    words += ("--out", folder / "reach.svg", "--probes", 4, "--windows", 2, "--device", "cpu")
    plain = asked(*words)
    assert plain.exit_code == 0, plain.output
    assert "rotary, base 10,000" in plain.output
    assert "<svg" in (folder / "reach.svg").read_text()
    found = json.loads(asked(*words, "--json").stdout)
    assert [row["length"] for row in found["lengths"]] == [16, 32, 64, 128, 256]
    assert len(found["retrieval"]) == 4  # 16 tokens have no room for two showings
    assert found["positions"]["kind"] == "rotary"


def test_wrong_inputs_are_sentences_before_work(folder):
    good = {"model": folder / "llama", "--data": folder / "story.txt", "--out": folder / "a.svg"}
    (folder / "empty").mkdir()
    (folder / "bert").mkdir()
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=9, **sizes)).save_pretrained(folder / "bert")
    for changed, said in (
        ({"model": folder / "nothing"}, "does not exist"),
        ({"model": folder / "empty"}, "no safetensors"),
        ({"model": folder / "bert"}, "no encoder"),
        ({"--data": folder / "nothing.txt"}, "does not exist"),
        ({"--targets": 64, "--lengths": "64x"}, "the longest window"),
        ({"--targets": 100_000}, "tokens and"),
        ({"--out": folder / "a.doc"}, "no picture"),
        ({"--out": folder / "no" / "a.svg"}, "there is no folder"),
        ({"--out": folder / "empty.svg" / ".."}, "picture"),
        ({"--precision": "int4"}, "not known"),
        ({"--length": -1}, "no length"),
    ):
        words = {**good, **changed, "--results": folder / "results", "--device": "cpu"}
        first = words.pop("model")
        done = asked(first, *(part for pair in words.items() for part in pair))
        assert isinstance(done.exception, UsageError), (changed, done.output, done.exception)
        assert said in str(done.exception), (changed, done.exception)
        assert not (folder / "a.svg").exists()


def test_the_harnesss_own_decoder_is_scored_like_any_other():
    torch.manual_seed(0)
    model = Decoder(DecoderConfig(vocab_size=60, position="alibi", length=16)).eval()
    tokens = text()
    plan = Plan((16, 64), own=16, targets=64, windows=0, probes=0)
    found = curve(model, tokens, plan, "cpu", silent)["lengths"]
    whole = torch.as_tensor(tokens[:65])[None]
    assert found[1]["loss"] == pytest.approx(model(input_ids=whole, labels=whole).loss.item(), abs=1e-5)
    assert positions_of(model.config).kind == "alibi"
