"""The plugin from end to end: what is trained on, what is exported, and what is said about bad input."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from harness_simcse.nli import rows as nli_rows
from harness_simcse.nli import triplets as nli_triplets
from harness_simcse.patient import cut, identity, new_head, patient, restore, save, set_dropout
from harness_simcse.preparation import apart, half, tiny_bert
from harness_simcse.protocol import Pairs
from harness_simcse.sentences import Batches, crop, delete_words, gather, lines, triplets
from harness_simcse.settings import Head, Objective, SimCSE, Task, Trained
from harness_simcse.training import whitening_layer

from harness.data.sources import Document
from harness.errors import UsageError
from harness.nn.encoder import load_encoder

SENTENCES = [
    f"sentence number {n} is about {thing}" for n in range(9) for thing in ("a cat", "the sea", "some bread")
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    tiny_bert(SENTENCES, folder)
    return folder


def test_batches_are_a_function_of_seed_and_number_and_an_epoch_has_each_row_once(bert):
    encoder = load_encoder(bert)
    rows = [[text, text] for text in SENTENCES]
    first, again, other = (Batches(rows, encoder, 9, seed, 32) for seed in (0, 0, 1))
    seen = [first.places(n) for n in range(6)]
    assert sorted(chain(*seen[:3])) == sorted(chain(*seen[3:])) == list(range(27))
    assert seen[:3] != seen[3:]
    assert seen[0] != other.places(0)
    for _ in range(4):
        next(first)
    again.load_state_dict(first.state_dict())
    a, b = next(first), next(again)
    assert torch.equal(a["input_ids"], b["input_ids"])
    assert a["input_ids"].shape[:2] == (9, 2)
    assert torch.equal(a["input_ids"][:, 0], a["input_ids"][:, 1])


def test_training_sentences_are_cut_and_judged_ones_are_not(bert):
    encoder = load_encoder(bert)
    batch = next(Batches([[text, text] for text in SENTENCES], encoder, 4, 0, 5))
    assert batch["input_ids"].shape[2] == 5
    assert max(map(len, encoder.ids(SENTENCES))) > 5


def test_a_batch_of_one_and_too_few_sentences_are_refused(bert):
    encoder = load_encoder(bert)
    with pytest.raises(UsageError, match="a batch of 1 has no negatives"):
        Batches([["a"]] * 5, encoder, 1, 0, 32)
    with pytest.raises(UsageError, match="a batch of 8 needs as many sentences and there are 5"):
        Batches([["a"]] * 5, encoder, 8, 0, 32)


def test_crop_keeps_neighbours_and_deletion_keeps_the_order():
    text = " ".join(map(str, range(10)))
    draw = np.random.default_rng(0)
    for _ in range(20):
        cropped = [int(word) for word in crop(text, 0.2, draw).split()]
        assert cropped == list(range(cropped[0], cropped[0] + 8))
        deleted = [int(word) for word in delete_words(text, 0.2, draw).split()]
        assert len(deleted) == 8
        assert deleted == sorted(deleted)
    assert crop("word", 0.9, draw) == delete_words("word", 0.9, draw) == "word"


def test_rows_that_are_left_out_are_counted():
    from collections import Counter

    skipped: Counter[str] = Counter()
    assert lines([Document("1", " a  b \n\n c"), Document("2", "")], skipped) == ["a b", "c"]
    rows = [{"sent0": "a", "sent1": "b", "hard_neg": "c"}, {"sent0": "a", "sent1": None, "hard_neg": "c"}]
    assert triplets(rows, skipped) == [["a", "b", "c"]]
    assert sum(skipped.values()) == 3


def test_a_table_is_halved_the_same_way_whatever_its_order():
    pairs = Pairs(SENTENCES, SENTENCES[::-1], [1.0] * 27, [""] * 27, SENTENCES)
    turned = pairs.only(lambda i: True)
    turned = Pairs(*(column[::-1] for column in vars(turned).values()))
    choosing, judging = half(pairs, "0"), half(pairs, "1")
    assert sorted(choosing.ids) == sorted(half(turned, "0").ids)
    assert len(choosing) + len(judging) == 27
    assert not set(choosing.ids) & set(judging.ids)


def test_the_linear_layer_starts_by_changing_nothing_and_is_all_that_learns(bert):
    untrained = patient(SimCSE(Objective.nothing), Task(), bert)
    learning = patient(SimCSE(), Task(), bert)
    np.testing.assert_allclose(learning.encode(SENTENCES), untrained.encode(SENTENCES), atol=1e-6)
    assert {name for name, p in learning.named_parameters() if p.requires_grad} == {
        "head.0.0.weight",
        "head.0.0.bias",
    }


def test_cut_to_all_its_layers_a_model_is_itself_and_to_fewer_it_is_not(bert):
    whole = load_encoder(bert).encode(SENTENCES)
    np.testing.assert_array_equal(cut(load_encoder(bert), 2).encode(SENTENCES), whole)
    one = cut(load_encoder(bert), 1)
    assert one.model.config.num_hidden_layers == 1
    assert np.abs(one.encode(SENTENCES) - whole).max() > 1e-3
    with pytest.raises(UsageError, match="the model has 2 layers"):
        cut(load_encoder(bert), 3)


def test_the_unsupervised_head_is_not_there_when_judging_and_the_supervised_one_is(bert):
    task = Task(layers=None, trained=Trained.encoder)
    assert patient(SimCSE(), task, bert).head is None
    assert patient(SimCSE(Objective.supervised, head=Head.kept), task, bert).head is not None


@pytest.mark.parametrize(
    ("method", "task"),
    [
        (SimCSE(), Task()),
        (SimCSE(), Task(layers=1, trained=Trained.encoder)),
        (
            SimCSE(Objective.supervised, head=Head.kept),
            Task(layers=None, trained=Trained.encoder, pooling="cls"),
        ),
        (SimCSE(Objective.whitening), Task()),
    ],
)
def test_what_a_run_leaves_is_restored_and_exported_with_the_same_vectors(bert, tmp_path, method, task):
    torch.manual_seed(0)
    trained = patient(method, task, bert)
    if method.objective is Objective.whitening:
        x = trained.encode(SENTENCES)
        trained.head = torch.nn.Sequential(whitening_layer(x))
        y = trained.encode(SENTENCES)
        np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-4)
    else:
        with torch.no_grad():
            for p in trained.parameters():
                if p.requires_grad:
                    p += 0.05 * torch.randn_like(p)
    vectors = trained.encode(SENTENCES)
    save(trained, tmp_path / "last.safetensors")
    again = patient(method, task, bert)
    restore(again, tmp_path / "last.safetensors")
    np.testing.assert_allclose(again.encode(SENTENCES), vectors, atol=1e-6)
    again.save(tmp_path / "exported")
    np.testing.assert_allclose(load_encoder(tmp_path / "exported").encode(SENTENCES), vectors, atol=1e-6)


@pytest.mark.parametrize("pooling", ["lasttoken", "mean+max"])
def test_a_prompt_and_any_pooling_reach_a_run_s_encoder(bert, pooling):
    task = Task(layers=None, pooling=pooling, prompt="the sea ")
    found = patient(SimCSE(), task, bert)
    assert (found.pooling, found.prompt) == (pooling, "the sea ")
    plain = patient(SimCSE(Objective.nothing), Task(layers=None, pooling=pooling), bert)
    expected = plain.encode([f"the sea {text}" for text in SENTENCES])
    np.testing.assert_allclose(found.encode(SENTENCES), expected, atol=1e-6)
    words = patient(SimCSE(Objective.nothing), Task(prompt="the sea "), bert)
    assert words.prompt == "the sea "


def test_the_head_starts_small_and_the_identity_is_one():
    torch.manual_seed(0)
    linear = new_head(300)[0]
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not linear.bias.any()
    x = torch.randn(3, 4)
    assert torch.equal(identity(4)(x), x)


def test_dropout_of_zero_leaves_none_in_word_vectors(bert):
    words = cut(load_encoder(bert), 0)
    assert words.model.dropout.p == 0.1
    set_dropout(words, 0.0)
    batch = words.pad(words.ids(SENTENCES))
    words.train()
    assert torch.equal(words.embed(batch), words.embed(batch))


def test_triplets_need_an_entailed_and_a_contradicted_hypothesis(tmp_path):
    given = [
        ("p", "e", "entailment"),
        ("p", "n", "neutral"),
        ("p", "c", "contradiction"),
        ("q", "e", "entailment"),
    ]
    assert nli_triplets(given) == [("p", "e", "c")]
    for name, column in zip(("s1", "s2", "labels"), zip(*given, strict=True), strict=True):
        (tmp_path / f"{name}.dev").write_text("\n".join(column) + "\n")
    assert list(nli_rows(tmp_path)) == given
    table = tmp_path / "nli.jsonl"
    names = ("premise", "hypothesis", "gold_label")
    table.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in given))
    assert list(nli_rows(table)) == given
    table.write_text('{"a": 1}\n')
    with pytest.raises(UsageError, match="NLI needs sentence1, sentence2 and gold_label"):
        list(nli_rows(table))


def test_judged_sentences_are_not_trained_on_and_are_counted():
    pairs = Pairs(["A man is walking."], ["Nobody sings"], [1.0], [""], ["1"])
    sentences = ["a man is walking", "A dog is walking.", "NOBODY SINGS!", "!?"]
    rows = [["a dog", "a cat", "nobody sings"], ["a dog", "a cat", "a mouse"]]
    skipped = Counter()
    assert apart(sentences, rows, {"own": pairs}, skipped) == (["A dog is walking.", "!?"], rows[1:])
    assert list(skipped.values()) == [2, 1]
    with pytest.raises(UsageError, match="give other text"):
        apart(["nobody sings"], [], {"own": pairs}, skipped)


def harness(folder: Path, *words: str) -> subprocess.CompletedProcess:
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environ)


@pytest.mark.slow
def test_own_data_a_run_and_its_export_that_sentence_transformers_loads(bert, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    backwards = [" ".join(reversed(text.split())) for text in SENTENCES]  # what is judged is not trained on
    (tmp_path / "mine.txt").write_text("\n".join(backwards * 3) + "\n\n")
    pairs = [f"{a}\t{b}\t{i % 6}" for i, (a, b) in enumerate(pairwise(SENTENCES))]
    (tmp_path / "mine.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *pairs]) + "\n")
    words = ["method=simcse/unsupervised", f"model={bert}", "data.sentences=mine.txt", "data.sts=mine.tsv"]
    small = [
        "task.steps=4",
        "task.batch_size=8",
        "task.look_every=2",
        "device=cpu",
        "tracking=off",
        "tuned=false",
    ]
    done = harness(tmp_path, "run", *words, *small)
    assert done.returncode == 0, done.stderr
    [result] = tmp_path.glob("results/runs/simcse/unsupervised/*/result.json")
    metrics = json.loads(result.read_text())["metrics"]
    assert metrics["skipped_rows"] == 1  # the empty line at the end
    done = harness(tmp_path, "simcse", "export", result.parent.name[:6], "--to", "out")
    assert done.returncode == 0, done.stderr
    oracle = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    theirs = oracle.encode(SENTENCES)
    np.testing.assert_allclose(theirs, load_encoder(tmp_path / "out").encode(SENTENCES), atol=1e-6)
    trained = patient(SimCSE(), Task(), bert)
    restore(trained, result.parent / "output" / "best.safetensors")
    np.testing.assert_allclose(theirs, trained.encode(SENTENCES), atol=1e-6)
    long = " ".join(SENTENCES * 3)  # 400 tokens and more, of a model that reads 128
    np.testing.assert_allclose(oracle.encode([long]), trained.encode([long]), atol=1e-6)
    from huggingface_hub import ModelCard

    card = ModelCard.load(tmp_path / "out" / "README.md").data
    assert (card.library_name, card.pipeline_tag) == ("sentence-transformers", "sentence-similarity")
    assert card.eval_results[0].metric_value == metrics["test@best"]
    assert card.eval_results[0].dataset_name == "mine.tsv"
    absent = json.loads(result.read_text())["absent"]
    assert absent["STS12@best"] == absent["average@last"] == ""  # nobody asked for them
    again = harness(tmp_path, "simcse", "export", result.parent.name[:6], "--to", "out")
    assert again.returncode == 2
    assert "not empty" in again.stderr


@pytest.mark.slow
def test_a_batch_in_pieces_is_the_same_run_without_dropout(tmp_path):
    words = ["run", "method=simcse/no_dropout", "budget=smoke", "device=cpu", "tracking=off", "tuned=false"]
    for name, piece in (("whole", "null"), ("pieces", "3")):
        done = harness(tmp_path, *words, f"fit.micro_batch={piece}", f"results={name}")
        assert done.returncode == 0, done.stderr
    whole, pieces = (
        json.loads(next(tmp_path.glob(f"{name}/runs/simcse/no_dropout/*/result.json")).read_text())
        for name in ("whole", "pieces")
    )
    assert whole["run_key"] == pieces["run_key"]
    assert pieces["metrics"]["uniformity"] == pytest.approx(whole["metrics"]["uniformity"], abs=1e-4)


@pytest.mark.slow
def test_without_judged_pairs_one_sentence_says_what_to_type(bert, tmp_path):
    done = harness(tmp_path, "run", "method=simcse/untuned", f"model={bert}", "device=cpu", "tracking=off")
    assert done.returncode == 1
    assert "data.sts is empty" in done.stdout + done.stderr


def test_sentences_are_gathered_of_plain_files_and_of_both_sides_of_sts_pairs(tmp_path):
    plain, sts = tmp_path / "subj.objective", tmp_path / "sts-train.csv"
    plain.write_bytes("a  caf\u00e9\n\nb\n".encode("latin-1"))
    sts.write_text("\n".join(f"g\tf\ty\t{n}\t{n}.0\tleft {n}\tright {n}" for n in (1, 2)))
    assert gather(plain) == ["a caf\u00e9", "b"]
    assert gather(sts) == ["left 1", "left 2", "right 1", "right 2"]
    with pytest.raises(UsageError, match="is no file"):
        gather(tmp_path / "missing")
