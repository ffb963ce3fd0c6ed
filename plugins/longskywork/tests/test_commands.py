"""The tools on files, the needle grid of a run, a Llama through all stages, and what is said of bad input."""

import argparse
import json
import textwrap

import numpy as np
import pytest
from harness_longskywork.commands import heatmap_, interleave_, tables_
from harness_longskywork.preparation import check
from harness_longskywork.settings import Task

from harness.contract.bench import smoke_spec
from harness.errors import UsageError
from harness.papers.plugins import load
from harness.runs.run import execute


@pytest.fixture
def text(tmp_path):
    """A short real text: the docstrings of two standard modules."""
    found = [
        str(getattr(value, "__doc__", "")) for m in (argparse, textwrap, json) for value in vars(m).values()
    ]
    path = tmp_path / "docs.txt"
    path.write_text("\n".join(found), encoding="utf-8")
    return path


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_windows_of_ones_own_documents_are_full_and_say_whose_each_token_is(text, tmp_path, capsys):
    lines = ["".join(chr(97 + i % 26) for _ in range(20 + i)) for i in range(40)]
    text.write_text("\n".join([*lines, "x"]), encoding="utf-8")
    out = tmp_path / "cip.jsonl"
    interleave_(str(text), out, window=256, lines=True, results=tmp_path)
    rows = rows_of(out)
    assert all(
        len(row[name]) == 256 for row in rows[:-1] for name in ("input_ids", "position_ids", "documents")
    )
    assert rows[0]["position_ids"] == list(range(256))
    read: dict[int, str] = {}
    for row in rows:
        for token, document in zip(row["input_ids"], row["documents"], strict=True):
            read[document] = read.get(document, "") + chr(token)
    assert [read[number] for number in range(40)] == lines
    said = capsys.readouterr().out
    assert "left out: 1 documents" in said
    assert "tokens between a chunk and the next of its document" in said


def test_tables_are_written_as_conversations_with_checked_answers(tmp_path, capsys):
    out = tmp_path / "synl.jsonl"
    tables_(out, count=4, tokens="800:1500")
    assert "every answer confirmed by DuckDB" in capsys.readouterr().out
    rows = rows_of(out)
    assert len(rows) == 4
    for row in rows:
        assert [m["role"] for m in row["messages"]] == ["user", "assistant"] * len(row["answers"])
        for message, answer in zip(row["messages"][1::2], row["answers"], strict=True):
            assert message["content"] == answer or message["content"].endswith(f"\nAnswer: {answer}")


def test_the_needle_grid_of_a_run_is_drawn(text, tmp_path, monkeypatch):
    spec = smoke_spec(
        load("longskywork"), "copy_warm_up", tmp_path / "results", given={"data.corpus": str(text)}
    )
    result = execute(spec, load("longskywork"))
    assert result.status == "finished", result.error
    heatmap_("copy_warm_up", tmp_path / "needles.svg", tmp_path / "results")
    assert "</svg>" in (tmp_path / "needles.svg").read_text(encoding="utf-8")


def test_looks_at_needles_outlive_a_kill(text, tmp_path, monkeypatch):
    from harness_longskywork import evaluation

    plugin, scored, looks = load("longskywork"), evaluation.scored, []

    def killed(model, rows):
        looks.append(1)
        if len(looks) == 3:  # at the start, after 10 steps, after 20
            raise KeyboardInterrupt
        return scored(model, rows)

    given = {"data.corpus": str(text), "task.needle_steps": "20"}
    spec = smoke_spec(plugin, "copy_warm_up", tmp_path / "results", given=given)
    monkeypatch.setattr(evaluation, "scored", killed)
    with pytest.raises(KeyboardInterrupt):
        execute(spec, plugin)
    monkeypatch.setattr(evaluation, "scored", scored)
    result = execute(spec, plugin)
    assert result.status == "finished", result.error
    kept = json.loads((spec.folder / "output" / "needles" / "steps.json").read_text(encoding="utf-8"))
    assert set(kept["by_step"]) == {"0", "10", "20"}


def test_prose_keeps_the_place_of_a_rare_word(text, tmp_path):
    from harness_longskywork.preparation import prepare
    from harness_longskywork.symbols import load_symbols

    from harness.data.sources import resolve

    text.write_text(
        "\n\n".join(["the cat sat on the mat and a zebra sat on the cat"] * 100), encoding="utf-8"
    )
    prepare(Task(vocabulary=4, prose=8), {"corpus": resolve(str(text), cache=tmp_path)}, None, tmp_path)
    symbols, prose = load_symbols(tmp_path / "symbols.npz"), np.load(tmp_path / "train.npy")
    the, cat, on, rest = symbols.prose  # the three most frequent words, and all others
    assert prose[:13].tolist() == [the, cat, rest, on, the, rest, rest, rest, rest, rest, on, the, cat]


def test_bad_input_gets_a_sentence(text, tmp_path):
    out = tmp_path / "x.jsonl"
    for act, words in (
        (lambda: tables_(out, count=1, tokens="60"), "ask for .* tokens or more a table"),
        (lambda: tables_(out, count=1, tokens="few"), "is no range"),
        (lambda: interleave_(str(tmp_path / "none.txt"), out, results=tmp_path), "none.txt"),
        (lambda: interleave_(str(text), out, window=1, results=tmp_path), "cannot hold 2 chunks"),
        (lambda: heatmap_("cip", tmp_path / "x.svg", tmp_path), "no run under"),
    ):
        with pytest.raises(UsageError, match=words):
            act()
        assert not out.exists()


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"document": 50}, "multiple of 24"),
        ({"copy_share": 1.0}, "share from 0 to below 1"),
        ({"copy_share": -1.0}, "share from 0 to below 1"),
        ({"window": 96}, "shorter than a document of 120 tokens"),
        ({"rows": 80}, "at most 50"),
        ({"vocabulary": 1}, "at least 2"),
    ],
)
def test_sizes_that_do_not_fit_are_named(sizes, words):
    with pytest.raises(UsageError, match=words):
        check(Task(**sizes))


@pytest.mark.slow
def test_a_llama_goes_through_all_stages(text, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = sorted({word for word in text.read_text(encoding="utf-8").lower().split() if word.isalpha()})
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
    given = {"model": str(tmp_path / "llama"), "data.corpus": str(text), "task.vocabulary": "20"}
    plugin = load("longskywork")
    spec = smoke_spec(plugin, "cip_synl", tmp_path / "results", given=given)
    result = execute(spec, plugin)
    assert result.status == "finished", result.error
    saved = json.loads((spec.folder / "output" / "model" / "config.json").read_text(encoding="utf-8"))
    assert saved["model_type"] == "llama"
    assert saved["rope_parameters"]["rope_theta"] == 10_000  # 96 tokens are within its own 2,048
