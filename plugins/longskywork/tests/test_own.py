"""One's own windows and conversations: what the tools write is what the stages train on."""

import json

import numpy as np
import pytest
from harness_longskywork.commands import heatmap_, interleave_, tables_, template_
from harness_longskywork.own import answers_of, read_conversations, read_windows, side_by_side, windows_of
from harness_longskywork.symbols import IGNORED

from harness.contract.bench import smoke_spec
from harness.errors import UsageError
from harness.papers.plugins import load
from harness.runs.run import execute

CHATML = (
    "{%- for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{%- endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{%- endif %}"
)
DEFAULTED = (  # SmolLM2's and Qwen2's form: a system message of its own where none is given
    "{%- if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{%- endif %}" + CHATML
)
WORDS = (  # Alpaca's form in Korean: turns marked by words, contents stripped
    "{%- for m in messages %}{%- if m['role'] == 'user' %}### 명령어:\n{{ m['content'] | trim }}\n\n"
    "{%- elif m['role'] == 'assistant' %}### 응답:\n{{ m['content'] | trim }}</s>\n{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}### 응답:\n{%- endif %}"
)


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    """A tiny Llama with a tokenizer of single words and characters, and a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("chatty")
    more = [f"{a}{b}{c}" for a in "qxz" for b in "aeiouy" for c in "bcdfghjklmnpqrstvwxz"]
    alphabet = [chr(n) for n in range(32, 127)] + ["\n"]
    tokens = dict.fromkeys(["<unk>", "<|end|>", "<|im_start|>", "<|im_end|>", *alphabet, *more])
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Whitespace()]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<|end|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )  # fmt: skip
    made.chat_template = DEFAULTED
    made.save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokens), max_position_embeddings=64, **sizes)
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    rng = np.random.default_rng(0)
    words = [f"{a}{b}{c}" for a in "qxz" for b in "aeiou" for c in "bcdfg"]
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n".join(" ".join(rng.choice(words, 60)) for _ in range(60)), encoding="utf-8")
    return path


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_document_ends_in_the_tokenizers_mark_and_nowhere_else(chatty, corpus, tmp_path):
    out = tmp_path / "cip.jsonl"
    interleave_(str(corpus), out, window=96, tokenizer=str(chatty), lines=True, results=tmp_path)
    read: dict[int, list[int]] = {}
    for row in rows_of(out):
        for token, document in zip(row["input_ids"], row["documents"], strict=True):
            read.setdefault(document, []).append(token)
    assert len(read) == 60
    assert all(ids[-1] == 1 and ids.count(1) == 1 for ids in read.values())
    interleave_(str(corpus), out, window=96, tokenizer=str(chatty), marks=False, lines=True, results=tmp_path)
    assert all(1 not in row["input_ids"] for row in rows_of(out))


@pytest.mark.parametrize("least", [1, 10, 25])
def test_no_chunk_is_shorter_than_asked_where_its_part_has_so_many(least):
    from harness_longskywork import interleave

    documents = [range(int(n)) for n in np.random.default_rng(0).integers(2, 200, 400)]
    shortest = []
    for pieces in interleave(documents, window=1000, chunks=2, seed=0, least=least):
        sizes = pieces[:, 2] - pieces[:, 1]
        for document in np.unique(pieces[:, 0]):
            part = sizes[pieces[:, 0] == document]
            if part.sum() >= 2 * least:
                shortest.append(part.min())
    assert min(shortest) == least


def test_a_file_of_windows_serves_both_orders(chatty, corpus, tmp_path):
    out = tmp_path / "cip.jsonl"
    interleave_(str(corpus), out, window=96, tokenizer=str(chatty), lines=True, results=tmp_path)
    kept = read_windows(rows_of(out), 96, 1000)
    interleaved, in_a_row = kept["interleave"], kept["concatenate"]
    assert interleaved.shape == in_a_row.shape
    full = rows_of(out)[: len(interleaved)]
    assert interleaved[:, 0].tolist() == [row["input_ids"] for row in full]
    owners = in_a_row[:, 1].ravel()
    assert (np.diff(owners) >= 0).all()
    for document in np.unique(owners):
        once = in_a_row.transpose(1, 0, 2).reshape(2, -1)
        again = interleaved.transpose(1, 0, 2).reshape(2, -1)
        assert once[0][once[1] == document].tolist() == again[0][again[1] == document].tolist()
    np.savez(tmp_path / "windows.npz", **kept)
    masked = side_by_side(windows_of(tmp_path / "windows.npz", "concatenate", masked=True)[:2])
    assert set(masked) == {"input_ids", "labels", "segments"}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"input_ids": [1, 2], "documents": [0, 0]}], "say task.window=2"),
        ([{"input_ids": [1, 99, 2, 3], "documents": [0] * 4}], "model= reads 10"),
        ([{"input_ids": [1, 2, 3, 4]}], "in row 1"),
    ],
)
def test_windows_that_do_not_fit_are_named(rows, words):
    with pytest.raises(UsageError, match=words):
        read_windows(rows, 4, 10)


@pytest.mark.parametrize("template", [CHATML, DEFAULTED, WORDS])
def test_only_answers_and_the_ends_of_their_turns_are_learned(chatty, template):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(chatty)
    tokenizer.chat_template = template
    messages = [
        {"role": "user", "content": "a b"}, {"role": "assistant", "content": "c d"},
        {"role": "user", "content": "e"}, {"role": "assistant", "content": "f"},
    ]  # fmt: skip
    ids, learned = answers_of(tokenizer, messages)
    told = tokenizer.convert_ids_to_tokens([i for i, asked in zip(ids, learned, strict=True) if asked])
    assert [token for token in told if token in "abcdef"] == ["c", "d", "f"]
    if template != WORDS:
        assert told.count("<|im_end|>") == 2
        assert "<|im_start|>" not in told


def test_a_conversation_longer_than_the_window_is_left_out(chatty):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(chatty)
    short, long = (
        {"messages": [{"role": "user", "content": "a " * n}, {"role": "assistant", "content": "b"}]}
        for n in (3, 90)
    )
    kept = read_conversations([short, long], tokenizer, 40)
    assert len(kept["ends"]) == 1
    assert (kept["labels"] != IGNORED).sum() < len(kept["ids"])
    with pytest.raises(UsageError, match="raise it"):
        read_conversations([long], tokenizer, 40)


@pytest.mark.parametrize("template", [CHATML, DEFAULTED, WORDS])
def test_a_marked_template_renders_as_the_models_own_and_tells_trl_the_answers(chatty, template, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(chatty)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path / "own")
    template_(str(tmp_path / "own"), tmp_path / "marked.jinja", tmp_path)
    marked = (tmp_path / "marked.jinja").read_text(encoding="utf-8")
    messages = [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}] * 2
    own, new = (
        tokenizer.apply_chat_template(messages, tokenize=False, chat_template=t) for t in (template, marked)
    )
    assert own == new
    told = tokenizer.apply_chat_template(
        messages, chat_template=marked, return_assistant_tokens_mask=True, return_dict=True
    )
    ids, learned = answers_of(tokenizer, messages)
    assert told["input_ids"] == ids
    assert [bool(one) for one in told["assistant_masks"]] == learned


def test_a_template_that_counts_turns_is_refused(chatty, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(chatty)
    tokenizer.chat_template = (
        "{%- for m in messages %}{{ loop.index }}{{ m['role'] }}{{ m['content'] }}{%- endfor %}"
    )
    tokenizer.save_pretrained(tmp_path / "own")
    with pytest.raises(UsageError, match="by hand"):
        template_(str(tmp_path / "own"), tmp_path / "marked.jinja", tmp_path)
    assert not (tmp_path / "marked.jinja").exists()


def test_tables_in_korean_have_answers_that_another_executor_confirms(tmp_path, capsys):
    out = tmp_path / "ko.jsonl"
    for split in ("train", "test"):
        tables_(out, count=12, tokens="600:1500", split=split, language="ko", results=tmp_path)
        assert "every answer confirmed by DuckDB" in capsys.readouterr().out
        for row in rows_of(out):
            asked = [message["content"] for message in row["messages"][::2]]
            assert all(any("가" <= letter <= "힣" for letter in text) for text in asked)
            assert len(row["programs"]) == len(row["answers"])
            assert all(json.loads(program)["operation"] for program in row["programs"])


def test_no_header_and_no_wording_of_the_korean_test_set_is_trained_on():
    from harness_longskywork.korean import KOREAN

    headers = {
        split: {name for one in found for name in (one.key, one.group, one.reference, *dict(one.more))}
        for split, found in KOREAN.schemas.items()
    }
    assert not headers["train"] & headers["test"]
    words = {
        split: {text for texts in found.values() for text in texts}
        for split, found in KOREAN.wordings.items()
    }
    assert not words["train"] & words["test"]
    assert set(KOREAN.wordings["train"]) == set(KOREAN.wordings["test"])


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda f: tables_(f / "a.jsonl", count=0, results=f), "asks for nothing"),
        (lambda f: tables_(f / "a.jsonl", count=-3, results=f), "asks for nothing"),
        (lambda f: tables_(f / "a.jsonl", language="fr", results=f), "en or ko"),
        (lambda f: tables_(f, results=f), "is a folder"),
        (lambda f: tables_(f / "none" / "a.jsonl", results=f), "no folder"),
        (lambda f: tables_(f / "a.jsonl", tokenizer=str(f), results=f), "holds no tokenizer"),
        (lambda f: tables_(f / "a.jsonl", tokenizer="./not/there", results=f), "not/there"),
        (
            lambda f: heatmap_("cip", f / "a.doc", results=f),
            r"is no picture: end it in \.svg, \.png or \.pdf",
        ),
        (lambda f: interleave_("x.txt", f, results=f), "is a folder"),
        (lambda f: interleave_("x.txt", f / "a.jsonl", least=0, results=f), "1 or more"),
        (lambda f: interleave_("x.txt", f / "a.jsonl", tokenizer=str(f), results=f), "holds no tokenizer"),
    ],
)
def test_what_cannot_work_is_said_and_nothing_is_emptied(act, words, tmp_path):
    (tmp_path / "a.jsonl").write_text("kept")
    with pytest.raises(UsageError, match=words):
        act(tmp_path)
    assert (tmp_path / "a.jsonl").read_text() == "kept"


@pytest.mark.parametrize("name", ["mine", "mine/a.txt"])
def test_what_is_read_is_not_written_over(name, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("a text of one's own " * 20)
    out = tmp_path / "mine" / "a.txt"
    with pytest.raises(UsageError, match="lies in what is read"):
        interleave_(str(tmp_path / name), out, window=64, results=tmp_path)
    assert out.read_text().startswith("a text")


def test_a_seed_below_nought_is_a_sentence():
    from harness.cli import main

    for words in (["interleave", "--documents", "x.txt"], ["tables"]):
        with pytest.raises(SystemExit) as left:
            main(["longskywork", *words, "--out", "x.jsonl", "--seed", "-1"])
        assert left.value.code == 2


def test_documents_that_fill_their_windows_alone_are_warned_of(tmp_path, capsys):
    (tmp_path / "book.txt").write_text("a long book without an end " * 200)
    interleave_(str(tmp_path / "book.txt"), tmp_path / "out.jsonl", window=64, results=tmp_path)
    assert "ordinary text with cuts" in capsys.readouterr().err


@pytest.mark.slow
def test_public_long_tasks_run_where_their_data_can_be_had_and_are_refused_by_name_elsewhere(
    chatty, tmp_path, capsys
):
    from importlib.util import find_spec

    from harness_longskywork.commands import tasks_

    with pytest.raises(UsageError, match="longbench_qasper"):
        tasks_(str(chatty), tasks="longbench_qasper", results=tmp_path)
    with pytest.raises(UsageError, match="are no lengths"):
        tasks_(str(chatty), lengths="4k", results=tmp_path)
    if find_spec("wonderwords") is None:
        with pytest.raises(UsageError, match="niah_single_1: pip install"):
            tasks_(str(chatty), results=tmp_path)


@pytest.mark.slow
def test_stages_train_on_ones_own_windows_and_conversations(chatty, corpus, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    windows, talks = tmp_path / "cip.jsonl", tmp_path / "talks.jsonl"
    interleave_(str(corpus), windows, window=96, tokenizer=str(chatty), lines=True, results=tmp_path)
    talks.write_text(
        "\n".join(
            json.dumps(
                {
                    "messages": [
                        {"role": "user", "content": f"qab {n}"},
                        {"role": "assistant", "content": "qeb"},
                    ]
                }
            )
            for n in range(8)
        )
    )
    given = {
        "model": str(chatty), "data.corpus": str(corpus), "data.windows": str(windows),
        "data.conversations": str(talks), "task.vocabulary": "20", "task.copy_steps": "0",
    }  # fmt: skip
    plugin = load("longskywork")
    for method in ("cip_synl", "concatenate_masked"):
        spec = smoke_spec(plugin, method, tmp_path / "results", given=given)
        result = execute(spec, plugin)
        assert result.status == "finished", result.error
        folder = spec.folder / "output" / "model"
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        assert model.config.max_position_embeddings == 96
        assert model.config.rope_parameters["rope_theta"] > 10_000
        assert tokenizer.chat_template == DEFAULTED


@pytest.mark.parametrize(
    ("tokens", "fix"), [(230, "lower task.vocabulary to 13"), (100, "choose a model of a larger vocabulary")]
)
def test_a_vocabulary_that_the_tokenizer_has_no_words_for_is_told_with_what_helps(tokens, fix, monkeypatch):
    from types import SimpleNamespace

    from harness_longskywork import preparation

    class Words:
        def __len__(self):
            return tokens

        def decode(self, ids):
            return " " + "".join(chr(97 + int(digit)) for digit in f"{ids[0]:03}")

    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=tokens))
    monkeypatch.setattr(preparation, "tokenizer_of", lambda model: Words())
    monkeypatch.setattr(preparation, "config_of", lambda model: config)
    ranked = [Words().decode([number]).strip() for number in range(tokens)]
    with pytest.raises(UsageError, match=fix):
        preparation.of_model(None, ranked, 50)
    if tokens > 218:
        assert len(preparation.of_model(None, ranked, 13)[0]) == 12
