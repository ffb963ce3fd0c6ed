"""What each method trains, on each kind of data, and that its numbers mean what they say."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from harness_lora import METHODS, parameter_counts
from harness_lora.evaluation import best_rouge_l, bleu_counts, counts, evaluate
from harness_lora.metrics import bleu
from harness_lora.pricing import gpt2_parameters, published
from harness_lora.training import adapt, batches, padded
from lora_models import decoder, llama, roberta

from harness.contract.bench import smoke_spec
from harness.data.batches import Shuffled
from harness.errors import UsageError
from harness.papers.plugins import load
from harness.runs.run import execute, open_run, prepared

MENUS = [
    ("name : Alba | food : Thai", "Alba serves Thai food ."),
    ("name : Brio", "Brio is a place to eat ."),
]


EQUAL = ("lora_attention", "lora_q", "lora_qkvo")


def trained(model, method: str) -> set[str]:
    adapt(model, METHODS[method].config)
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_each_method_trains_what_it_says():
    assert trained(decoder(), "full") == {n for n, _ in decoder().named_parameters()}
    assert trained(decoder(), "base") == set()
    assert trained(decoder(), "head_only") == {"lm_head.weight"}
    assert all(name.endswith(".bias") for name in trained(decoder(), "bitfit"))
    assert len(trained(decoder(), "bitfit")) == 2 * (4 + 2 + 2) + 1  # q k v o, up down, two norms; final norm
    assert {n.split(".")[3] for n in trained(decoder(), "lora_attention")} == {"q_proj", "v_proj"}
    assert len(trained(decoder(), "lora_r8")) == 2 * 2 * 6  # A and B, two layers, six matrices


def test_matrices_are_compared_at_equal_parameters():
    counted = {m: parameter_counts(adapt(decoder(), METHODS[m].config))["trainable"] for m in EQUAL}
    assert len(set(counted.values())) == 1, counted
    assert {n.split(".")[3] for n in trained(decoder(), "lora_q")} == {"q_proj"}
    assert {n.split(".")[3] for n in trained(decoder(), "lora_qkvo")} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    }


def test_a_method_of_few_data_draws_from_their_beginning_alone(tmp_path):
    np.save(tmp_path / "train.npy", np.arange(10_000))
    (tmp_path / "form.json").write_text('{"kind": "text"}')
    task = SimpleNamespace(length=8, batch_size=50)
    for method, most in (("lora_few", 500), ("full_few", 500), ("lora_r8", 10_000)):
        run = SimpleNamespace(task=task, method=METHODS[method].config, data_dir=tmp_path, seed=0)
        drawn = next(batches(run))["input_ids"]
        assert most / 2 < int(drawn.max()) < most, method


def test_a_classifiers_new_head_is_trained_by_every_method_but_the_base():
    for name in METHODS.keys() - {"prefix"}:  # an encoder keeps no cache to stand in
        head = {n for n in trained(roberta(), name) if n.startswith("classifier.")}
        assert bool(head) == (name != "base"), name


def test_bitfit_on_a_model_without_biases_says_so():
    with pytest.raises(UsageError, match="no biases"):
        trained(llama(), "bitfit")


@pytest.mark.parametrize("method", ["lora_r8", "full", "bitfit"])
def test_optimizer_bytes_are_what_adam_really_keeps(method):
    model = adapt(decoder(), METHODS[method].config)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters)
    sum((p**2).sum() for p in parameters).backward()
    optimizer.step()
    kept = sum(t.numel() * t.element_size() for state in optimizer.state.values() for t in state.values())
    assert counts(model)["optimizer_bytes"] == kept


def test_the_papers_settings_have_the_counts_of_its_formula():
    assert gpt2_parameters(24, 1024, 4) == 393_216
    assert gpt2_parameters(36, 1280, 4) == 737_280
    notes = " ".join(published())
    assert "294,912" in notes
    assert "592,130" in notes


def test_bleu_of_counts_is_sacrebleus_corpus_bleu():
    import sacrebleu

    texts = ["the cat sat on the mat", "a dog ran over the hill today", "rain"]
    references = [
        ["the cat sat on a mat", "a cat sat on the mat"],
        ["a dog ran over the hills"],
        ["rain falls"],
    ]
    columns = {name: np.asarray(c) for name, c in bleu_counts(texts, references).items()}
    padded_references = [[r[i] if i < len(r) else None for r in references] for i in range(2)]
    want = sacrebleu.corpus_bleu(texts, padded_references).score
    assert bleu(columns) == pytest.approx(want)


def test_rouge_l_takes_the_best_reference():
    # longest common subsequence 2 of 2 and 4 words: F = 2 * 1 * 0.5 / 1.5
    assert best_rouge_l(["the cat"], [["the cat sat down", "no match here"]]) == [pytest.approx(100 * 2 / 3)]


def test_only_the_completion_is_learned():
    batch = padded([{"ids": [5, 6, 7, 8, 9], "prompt": 3}, {"ids": [5, 6, 7], "prompt": 1}])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [5, 6, 0, 0]]
    assert batch["labels"].tolist() == [[-100, -100, 8, 9], [6, 7, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_examples_come_all_once_a_pass_in_an_order_of_the_seeds_own_and_go_on_where_they_stopped():
    some = [{"ids": [n, n], "label": n} for n in range(5)]
    batches = Shuffled(some, 5, 1, padded)
    first, second = next(batches)["labels"].tolist(), next(batches)["labels"].tolist()
    assert sorted(first) == sorted(second) == list(range(5))
    assert first != second
    later = Shuffled(some, 5, 1, padded)
    later.load_state_dict({"drawn": 1})
    assert next(later)["labels"].tolist() == second


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a short general text, where runs share their stages."""
    folder = tmp_path_factory.mktemp("lora")
    words = " ".join(f"{word} {n}" for n in range(400) for word in ("the", "river", "runs", "low"))
    (folder / "general.txt").write_text(words, encoding="utf-8")
    return folder


def pairs(folder):
    rows = [{"prompt": f"{p} {n}", "completion": c} for n in range(40) for p, c in MENUS for _ in range(2)]
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def ran(home, method: str, train, **overrides: str):
    """Return the result of a smoke run on the data in `train`."""
    given = {"data.general": str(home / "general.txt"), "data.train": str(train), **overrides}
    return execute(smoke_spec(load("lora"), method, home / "results", given=given), load("lora"))


def finished(home, method: str, train, **overrides: str):
    result = ran(home, method, train, **overrides)
    assert result.status == "finished", result.error
    return result


def test_prompts_with_completions_get_bleu_and_rouge(home, tmp_path):
    overrides = {"task.length": "48", "task.new_tokens": "8"}
    result = finished(home, "lora_r4", pairs(tmp_path), **overrides)
    assert 0 <= result.metrics["bleu"] <= 100
    assert result.metrics["rouge_l"] >= 0
    assert "labels" in result.absent["accuracy"]


def test_the_papers_own_text_form_of_e2e_is_read_as_pairs(home, tmp_path):
    path = tmp_path / "e2e.txt"
    path.write_text("\n".join(f"{p} {n}||{c}" for n in range(40) for p, c in MENUS), encoding="utf-8")
    result = finished(home, "head_only", path, **{"task.length": "48"})
    assert "bleu" in result.metrics


def test_windows_of_one_text_are_contiguous_and_completions_of_a_prompt_hang_together(home, tmp_path):
    plugin = load("lora")
    (tmp_path / "plain.txt").write_text("the low river runs on. " * 200, encoding="utf-8")
    for train, groups, contiguous in (
        (tmp_path / "plain.txt", {}, True),
        (pairs(tmp_path), {"prompt"}, False),
    ):
        given = {"data.general": str(home / "general.txt"), "data.train": str(train), "task.length": "48"}
        spec = smoke_spec(plugin, "base", home / "results", given=given)
        assert execute(spec, plugin).status == "finished"
        run = open_run(spec, plugin)
        run.data_dir = prepared(spec, plugin, run)
        items = evaluate(run, "test")["loss"]
        assert (set(items.groups), items.contiguous) == (set(groups), contiguous)


def tokenizer(folder):
    from harness.data.sources import Document
    from harness.data.tokens import character_tokenizer

    character_tokenizer([Document("x", "abcdefghijklmnopqrstuvwxyz .")]).save_pretrained(folder)


def distilbert():
    """Return a body whose classifier has a layer that is new, and not called so."""
    from lora_families import ENCODERS
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    return DistilBertForMaskedLM(DistilBertConfig(**ENCODERS["distilbert"][1]))


@pytest.mark.parametrize(
    ("method", "body", "head"),
    [
        ("lora_r4", roberta, parameter_counts(roberta())["head"]),
        ("full", roberta, parameter_counts(roberta())["head"]),
        ("lora_r4", distilbert, 16 * 16 + 16 + 2 * 16 + 2),
    ],
)
def test_an_encoder_learns_labels(method, body, head, home, tmp_path):
    body().save_pretrained(tmp_path / "model")
    tokenizer(tmp_path / "model")
    rows = [
        f"{word} {n % 7} {chr(97 + n % 26)}\t{label}"
        for n in range(60)
        for word, label in (("good", "좋음"), ("bad", "나쁨"))
    ]
    (tmp_path / "labels.tsv").write_text("sentence\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    train = f"'{tmp_path}/labels.tsv?text:sentence'"
    result = finished(home, method, train, model=str(tmp_path / "model"))
    assert 0 <= result.metrics["accuracy"] <= 1
    assert result.metrics["head_parameters"] == head
    assert "general_perplexity" in result.absent
    if method == "lora_r4":
        from harness_lora.commands import place
        from harness_lora.forms import FORMS, convert, read

        kept = place(result.run_key[:8], home / "results")
        want = read(kept)(torch.arange(3, 19)[None]).logits
        for form in FORMS:
            convert(kept, form, tmp_path / form)
            model = read(tmp_path / form)
            torch.testing.assert_close(model(torch.arange(3, 19)[None]).logits, want, rtol=0, atol=1e-5)
            assert model.config.id2label == {0: "나쁨", 1: "좋음"}


def test_the_merged_model_answers_lm_evals_questions(home, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [{"ask": f"the river {n} is", "gold": n % 2} for n in range(6)]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    task = {
        "task": "rivers",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "test.jsonl")}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "{{ask}}",
        "doc_to_target": "{{gold}}",
        "doc_to_choice": ["low", "high"],
        "metric_list": [{"metric": "acc"}],
    }
    (tmp_path / "rivers.yaml").write_text(json.dumps(task), encoding="utf-8")  # JSON is YAML
    given = {"task.lm_eval": "[rivers]", "task.lm_eval_folder": str(tmp_path), "task.lm_eval_limit": "4"}
    result = finished(home, "lora_r4", home / "general.txt", **given)
    assert result.metrics["lm_eval"] in (0, 0.25, 0.5, 0.75, 1)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "labels.jsonl",
            "\n".join(f'{{"text": "a {n}", "label": {n % 2}}}' for n in range(90)),
            "add model=",
        ),
        ("odd.jsonl", '{"question": "q", "answer": "a"}', "question, answer"),
    ],
    ids=["labels without a model", "other columns"],
)
def test_data_that_cannot_be_learned_from_are_refused_before_a_run(name, text, message, home, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        ran(home, "full", tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("short.txt", "too short to be cut in three", "28 characters"),
        ("few.jsonl", '{"prompt": "q", "completion": "a"}', "give data."),
    ],
)
def test_data_that_cannot_be_learned_from_say_why(name, text, message, home, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    result = ran(home, "full", tmp_path / name)
    assert result.status == "failed"
    assert message in result.error["message"]


def test_a_run_leaves_an_adapter_that_peft_loads_with_equal_logits(home):
    import peft
    from harness_lora.commands import place
    from harness_lora.forms import read

    result = finished(home, "lora_r4", home / "general.txt")
    folder = place(result.run_key[:8], home / "results")
    ours = read(folder)
    ids = torch.arange(3, 19)[None]
    base = type(ours).from_pretrained(
        json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    )
    theirs = peft.PeftModel.from_pretrained(base.eval(), folder).eval()
    torch.testing.assert_close(theirs(ids).logits, ours(ids).logits, rtol=0, atol=1e-6)
