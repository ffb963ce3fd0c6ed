"""A set from start to end with a tiny model: resumable, every row accounted for, read by others' loaders."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from harness_magpie.export import export
from harness_magpie.rows import append, whole_batches
from harness_magpie.sampling import Sampling
from harness_magpie.synthesis import cleaned, synthesize
from harness_magpie.tagging import Tools
from magpie_models import recipe, tiny_generator

from harness.cli import main
from harness.errors import HarnessError, UsageError

WORDS = (
    "magpie", "synthesize", "--model", "tiny", "--precision", "float32", "--device", "cpu", "--batch-size", "8",
    "--max-instruction-tokens", "24", "--max-answer-tokens", "6",
)  # fmt: skip


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return tiny_generator(tmp_path_factory.mktemp("tiny"))


def test_every_sample_is_accounted_for(generator, tmp_path):
    made = synthesize(recipe(), generator, Tools(), tmp_path)
    assert made.yields["sampled"] == 40
    steps = list(made.yields.values())
    assert steps == sorted(steps, reverse=True)
    assert sum(made.dropped.values()) == 40 - made.yields["kept"]
    assert made.dropped["empty"] + made.dropped["unfinished"] == 40 - made.yields["cleaned"]
    assert made.dropped["empty"] > 0
    assert made.dropped["unfinished"] > 0
    assert made.dropped["valid"] > 0
    assert sum(made.cuts.values()) + made.dropped["unfinished"] >= 40 - made.dropped["empty"]


def test_only_what_passes_the_filter_is_answered(generator, tmp_path):
    made = synthesize(recipe(), generator, Tools(), tmp_path)
    answered = (tmp_path / "stages" / "answers.jsonl").read_text().splitlines()
    assert len(answered) == made.yields["filtered before answering"] < made.yields["cleaned"]


def test_the_same_seed_gives_the_same_set_and_another_seed_another(generator, tmp_path):
    first, same, other = (
        synthesize(recipe(sampling=Sampling(1.0, 1.0, 24, seed)), generator, Tools(), tmp_path / name).rows
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == same
    assert first != other


def test_what_a_kill_left_is_finished_to_the_same_rows(generator, tmp_path):
    whole = synthesize(recipe(), generator, Tools(), tmp_path / "whole").rows
    synthesize(recipe(), generator, Tools(), tmp_path / "cut")
    for name, keep in (("instructions", 0.55), ("answers", 0.7)):  # in the middle of a batch, and of a line
        path = tmp_path / "cut" / "stages" / f"{name}.jsonl"
        os.truncate(path, int(path.stat().st_size * keep))
    assert synthesize(recipe(), generator, Tools(), tmp_path / "cut").rows == whole
    ids = [row["id"] for row in whole]
    assert len(set(ids)) == len(ids)


@pytest.mark.fault
def test_a_real_kill_is_gone_on_from(tmp_path):
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "harness", *WORDS, "--count", "800", "--filter", "none", "--out", "set"]
    path = tmp_path / "set" / "stages" / "instructions.jsonl"
    running = subprocess.Popen(words, cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL)
    deadline = time.time() + 120
    while time.time() < deadline and not (path.exists() and path.stat().st_size > 20_000):
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    had = len(path.read_text().splitlines())
    assert 0 < had < 800
    subprocess.run(words, cwd=tmp_path, env=environ, check=True, stdout=subprocess.DEVNULL)
    unbroken = [*words[:-1], "unbroken"]
    subprocess.run(unbroken, cwd=tmp_path, env=environ, check=True, stdout=subprocess.DEVNULL)
    first, second = ((tmp_path / name / "train.jsonl").read_text() for name in ("set", "unbroken"))
    assert first == second
    ids = [json.loads(line)["id"] for line in first.splitlines()]
    assert len(set(ids)) == len(ids)


def test_another_recipe_in_the_same_folder_is_refused(generator, tmp_path):
    synthesize(recipe(), generator, Tools(), tmp_path)
    with pytest.raises(UsageError, match="made with preset=valid, not none"):
        synthesize(recipe(preset="none"), generator, Tools(), tmp_path)


def test_a_model_that_never_stops_is_named_and_its_rows_are_kept(generator, tmp_path):
    from dataclasses import replace

    endless = replace(generator, ends=set())
    with pytest.raises(HarnessError, match="ended none of its first 8 instructions within 24 tokens"):
        synthesize(recipe(), endless, Tools(), tmp_path)
    assert len(whole_batches(tmp_path / "stages" / "instructions.jsonl", 8, 40)) == 8


def test_a_judge_of_prose_is_named_and_the_instructions_are_kept(generator, tmp_path):
    prose = Tools(judge=lambda prompts, attempt: ["It is fine."] * len(prompts))
    with pytest.raises(HarnessError, match="the judge wrote no label"):
        synthesize(recipe(), generator, prose, tmp_path)
    assert len(whole_batches(tmp_path / "stages" / "instructions.jsonl", 8, 40)) == 40


def test_a_judge_s_labels_reach_filter_and_rows(generator, tmp_path):
    def judge(prompts, attempt):
        good = ["poem" in p or "sea" in p for p in prompts]
        return [
            json.dumps({"category": "Others", "difficulty": "medium", "quality": "good" if g else "poor"})
            for g in good
        ]

    tools = Tools(judge=judge, reward_difference=lambda q, a: [len(text) - 20.0 for text in a])
    made = synthesize(recipe(preset="air", count=200), generator, tools, tmp_path)
    assert 0 < made.yields["kept"] <= 20
    assert made.dropped["quality"] > 0
    assert made.dropped["reward difference"] > 0
    assert all(row["quality"] == "good" and row["reward_difference"] > 0 for row in made.rows)


def test_a_full_disk_is_named():
    from pathlib import Path

    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(HarnessError, match="the disk is full while writing /dev/full"):
        append(Path("/dev/full"), [{"id": 0}])


def test_empty_and_overlong_are_told_apart():
    dropped: Counter[str] = Counter()
    rows = [
        {"instruction": "", "ended": True},
        {"instruction": "", "ended": False},
        {"instruction": "Why?", "ended": False},
        {"instruction": "Why?", "ended": True},
    ]
    assert len(cleaned(rows, dropped)) == 1
    assert dropped == {"empty": 2, "unfinished": 1}


@pytest.mark.parametrize("kept", [0, 1, 5, 8, 9, 16, 17])
def test_a_file_is_read_up_to_its_last_whole_batch(tmp_path, kept):
    path = tmp_path / "rows.jsonl"
    append(path, [{"id": i} for i in range(kept)])
    with path.open("a") as file:
        file.write('{"id": 99')
    found = whole_batches(path, 8, 17)
    assert [row["id"] for row in found] == list(range(kept if kept == 17 else kept // 8 * 8))
    assert path.read_text().count("\n") == len(found)


def test_the_set_is_what_datasets_and_trainers_read(generator, tmp_path):
    from datasets import load_dataset

    made = synthesize(recipe(), generator, Tools(), tmp_path / "set")
    export(recipe(), made, tmp_path / "set")
    whole = load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    lines = load_dataset(
        "json", data_files=str(tmp_path / "set/train.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert whole["messages"] == lines["messages"]
    assert len(whole) == made.yields["kept"]
    for row in whole:
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
        assert all(turn["content"] for turn in row["messages"])
        assert (row["model"], row["revision"], row["seed"]) == ("tiny", "r1", 0)
        assert json.loads(row["sampling"])["top_k"] == 0
        assert row["template"].startswith("<|system|> be kind")
        # TRL hands `messages` to the tokenizer's own template.
        assert row["messages"][0]["content"] in generator.tokenizer.apply_chat_template(
            row["messages"], tokenize=False
        )


def test_the_card_tells_licence_yields_and_how(generator, tmp_path):
    made = synthesize(recipe(), generator, Tools(), tmp_path)
    paths = export(recipe(), made, tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    for step, rows in made.yields.items():
        assert f"| {step} | {rows} |" in card
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "<script" not in page
    assert all(path.exists() for path in paths)


def test_text_of_a_model_is_escaped_on_the_page(generator, tmp_path):
    made = synthesize(recipe(), generator, Tools(), tmp_path)
    made.rows[0]["answer"] = "<script>alert(1)</script>"
    export(recipe(), made, tmp_path)
    assert "<script" not in (tmp_path / "report.html").read_text()


def test_nothing_left_is_said_with_the_reasons(generator, tmp_path):
    made = synthesize(recipe(), generator, Tools(), tmp_path)
    made.rows = []
    with pytest.raises(UsageError, match=r"no row is left of 40 \(.*valid"):
        export(recipe(), made, tmp_path)


MISTAKES = {
    "count 0": (["--count", "0"], "asks for nothing"),
    "unknown filter": (["--filter", "pr"], "did you mean 'pro'"),
    "a filter without its judge": (["--filter", "pro"], "needs --judge and --reward"),
    "half easy without a judge": (["--filter", "pro6", "--reward", "x"], "needs --judge"),
    "unknown domain": (["--domain", "maths"], "did you mean 'math'"),
    "a pooling of no encoder": (["--pooling", "cls"], "add --encoder"),
    "unknown mode": (["--count", "1", "--mode", "lines"], "mode=lines is not known"),
    "temperature below 0": (["--temperature", "-1"], "--temperature -1 is none: give 0 (greedy) or more"),
    "temperature nan": (["--temperature", "nan"], "--temperature nan is none: give 0 (greedy) or more"),
    "top_p above 1": (["--top-p", "2"], "--top-p 2 is no share: give more than 0 and at most 1"),
    "top_p 0": (["--top-p", "0"], "--top-p 0 is no share: give more than 0 and at most 1"),
    "an encoder that is none": (["--count", "1", "--encoder", "."], "has no config.json"),
    "a file for a folder": (["--count", "1", "--out", "taken"], "taken is a file, no folder to write to"),
    "below a file": (["--count", "1", "--out", "taken/set"], "taken is a file, no folder to write to"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_sentence_with_the_mend(mistake, tmp_path, monkeypatch, capsys):
    words, said = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    with pytest.raises(SystemExit) as left:
        main([*WORDS, *words])
    assert left.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith("harness: ")
    assert said in line
    assert not (tmp_path / "magpie-set" / "train.jsonl").exists()
    assert not (
        tmp_path / "magpie-set" / "stages"
    ).exists()  # the same command, put right, may use the folder


def test_an_encoder_s_neighbours_are_those_of_sentence_transformers(tmp_path, monkeypatch):
    from harness_magpie.preparation import tiny_tokenizer
    from sentence_transformers import SentenceTransformer
    from sklearn.neighbors import NearestNeighbors
    from transformers import BertConfig, BertModel

    made = tiny_tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(made), **sizes)).save_pretrained(tmp_path / "bert")
    made.save_pretrained(tmp_path / "bert")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main([*WORDS, "--count", "60", "--filter", "none", "--encoder", "bert", "--shard", "16"])
    assert not left.value.code
    tagged = [json.loads(line) for line in (tmp_path / "magpie-set" / "train.jsonl").read_text().splitlines()]
    lines = (tmp_path / "magpie-set" / "stages" / "instructions.jsonl").read_text().splitlines()
    texts = [row["instruction"] for row in map(json.loads, lines) if row["ended"] and row["instruction"]]
    vectors = SentenceTransformer(str(tmp_path / "bert")).encode(texts, normalize_embeddings=True)
    far = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(vectors).kneighbors(vectors)[0][:, 1] ** 2
    wanted = dict(zip(texts, far, strict=True))
    assert len(tagged) > 20
    for row in tagged:
        assert row["distance"] == pytest.approx(wanted[row["messages"][0]["content"]], abs=1e-5)


def test_a_base_model_is_refused_by_name(tmp_path, monkeypatch, capsys):
    from harness_magpie.preparation import tiny_chat_model

    tiny_chat_model(tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main([*WORDS, "--count", "1", "--model", "base"])
    assert "no chat template, so it is a base model" in capsys.readouterr().err


def test_alpaca_eval_s_file_goes_in_and_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = [{"instruction": "tell me a poem.", "dataset": "own"}, {"instruction": "why is rain?"}]
    (tmp_path / "questions.json").write_text(json.dumps(asked))
    with pytest.raises(SystemExit) as left:
        main(
            ["magpie", "answer", "questions.json", "--model", "tiny", "--max-tokens", "6", "--precision",
             "float32", "--device", "cpu"]
        )  # fmt: skip
    assert not left.value.code
    found = json.loads((tmp_path / "outputs.json").read_text())
    assert [row["instruction"] for row in found] == [row["instruction"] for row in asked]
    assert all(row["generator"] == "tiny" and isinstance(row["output"], str) for row in found)
    assert found[0]["dataset"] == "own"


def test_languages_are_told_from_short_questions():
    from harness_magpie.commands import languages

    assert languages(["오늘 서울 날씨는 어때요?", "What is the capital of France?"]) == ["ko", "en"]
    assert languages([]) == []


def test_scorers_from_the_command_line_reach_the_rows(tmp_path, monkeypatch):
    from harness_magpie.preparation import tiny_config, tiny_tokenizer
    from transformers import LlamaForSequenceClassification

    made = tiny_tokenizer()
    config = tiny_config(len(made))
    config.num_labels = 1
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "judge-of-answers")
    made.save_pretrained(tmp_path / "judge-of-answers")
    monkeypatch.chdir(tmp_path)
    words = ["--count", "16", "--filter", "none", "--base", "tiny", "--reward", "judge-of-answers"]
    with pytest.raises(SystemExit) as left:
        main([*WORDS, *words])
    assert not left.value.code
    rows = [json.loads(line) for line in (tmp_path / "magpie-set" / "train.jsonl").read_text().splitlines()]
    assert rows
    assert all(row["reward_difference"] == 0 for row in rows)  # a model beside itself
    assert len({row["reward"] for row in rows}) > 1


def test_a_judge_that_only_babbles_is_named_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main([*WORDS, "--count", "8", "--judge", "self", "--filter", "none"])
    assert left.value.code == 1
    assert "the judge wrote no label in JSON" in capsys.readouterr().err
    assert (tmp_path / "magpie-set" / "stages" / "instructions.jsonl").read_text().count("\n") == 8
