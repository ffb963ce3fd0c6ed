"""The tools, run as a user runs them, the model that a user gives, and what is said of bad input."""

import json

import pytest

SMOKE = ("budget=smoke", "device=cpu", "tracking=off")


def test_windows_of_ones_own_documents_are_full_and_say_whose_each_token_is(harness, text):
    words = ("--documents", str(text), "--lines", "--window", "256", "--out", "cip.jsonl")
    done = harness("longskywork", "interleave", *words)
    rows = [json.loads(line) for line in (harness.folder / "cip.jsonl").read_text().splitlines()]
    assert all(
        len(row[name]) == 256 for row in rows[:-1] for name in ("input_ids", "position_ids", "documents")
    )
    assert rows[0]["position_ids"] == list(range(256))
    kept = [line for line in text.read_text(encoding="utf-8").splitlines() if len(line.strip()) > 1]
    read = {}
    for row in rows:
        for token, document in zip(row["input_ids"], row["documents"], strict=True):
            read.setdefault(document, []).append(chr(token))
    assert len("".join(map("".join, read.values()))) >= sum(map(len, kept)) * 0.9
    assert "tokens between a chunk and the next of its document" in done.stdout


def test_tables_are_written_as_conversations_that_a_chat_template_reads(harness):
    done = harness("longskywork", "tables", "--count", "4", "--tokens", "800:1500", "--out", "synl.jsonl")
    assert "every answer confirmed by DuckDB" in done.stdout
    rows = [json.loads(line) for line in (harness.folder / "synl.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["user", "assistant"] * len(row["answers"])
        for message, answer in zip(row["messages"][1::2], row["answers"], strict=True):
            assert message["content"] == answer or message["content"].endswith(f"\nAnswer: {answer}")


def test_the_needle_grid_of_a_run_is_drawn(harness, text):
    harness("run", "method=longskywork/copy_warm_up", *SMOKE, f"data.corpus={text}")
    done = harness("longskywork", "heatmap", "copy_warm_up")
    assert "needles.svg" in done.stdout
    assert (harness.folder / "needles.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("longskywork", "tables", "--tokens", "60", "--out", "x.jsonl"), "ask for larger tables"),
        (("longskywork", "tables", "--tokens", "few", "--out", "x.jsonl"), "--tokens=few is no range"),
        (("longskywork", "interleave", "--documents", "none.txt", "--out", "x.jsonl"), "none.txt"),
        (("longskywork", "heatmap", "cip"), "run it first"),
    ],
)
def test_bad_input_gets_a_sentence(harness, words, said):
    done = harness(*words, code=2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (harness.folder / "x.jsonl").exists()


@pytest.mark.slow
def test_a_llama_goes_through_all_stages(harness, text, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from harness.data.sources import resolve

    words = sorted(
        {w for w in resolve(str(text), cache=tmp_path).path.read_text().lower().split() if w.isalpha()}
    )
    more = [f"{a}{b}{c}" for a in "qxz" for b in "aeiouy" for c in "bcdfghjklmnpqrstvwxz"]
    tokens = dict.fromkeys(["<unk>", *words, *more])
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(tmp_path / "llama")
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    given = (f"model={tmp_path / 'llama'}", f"data.corpus={text}", "task.vocabulary=20")
    harness("run", "method=longskywork/cip_synl", *SMOKE, *given)
    (result,) = harness.folder.glob("results/runs/longskywork/cip_synl/*/result.json")
    record = json.loads(result.read_text())
    assert record["status"] == "finished", record["error"]
    saved = json.loads((result.parent / "output" / "model" / "config.json").read_text())
    assert saved["model_type"] == "llama"
    assert saved["rope_parameters"]["rope_theta"] > 10_000
