"""Training and judging: the windows a method sees, what a mask hides, and items that are the same for all."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from harness_iclm import windows
from harness_iclm.documents import paragraphs, read
from harness_iclm.evaluation import repeated, window_losses
from harness_iclm.packing import whole_windows
from harness_iclm.preparation import load_windows, part_of
from harness_iclm.settings import Task
from harness_iclm.training import WindowBatches, decoder, predictions, rows_of, step

from harness.data.sources import resolve
from harness.data.tokens import starts
from harness.errors import HarnessError, UsageError

TASK = Task(width=16, layers=2, heads=2, feedforward=32, length=24)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return decoder(TASK, 50).eval()


def corpus(documents: int = 12) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    begins = np.append(0, np.cumsum(random.integers(3, 9, size=documents)))
    return random.integers(1, 50, size=begins[-1]), begins


@pytest.mark.parametrize("masked", [True, False])
def test_a_mask_hides_every_other_document_and_no_mask_none(model, masked):
    tokens, begins = corpus()
    row = np.array([[0, 0, begins[1]], [1, 0, begins[2] - begins[1]]])
    batch = rows_of([row], tokens, begins, masked)
    with torch.no_grad():
        before = predictions(model, batch)
        batch["input_ids"][0, 0] = 1 + batch["input_ids"][0, 0] % 48
        after = predictions(model, batch)
    assert not torch.equal(before[0, 1], after[0, 1])
    second = slice(int(begins[1]), None)
    assert torch.equal(before[0, second], after[0, second]) == masked


def test_with_a_mask_a_documents_loss_is_that_of_the_document_alone(model):
    tokens, begins = corpus()
    packed = whole_windows(np.arange(12), np.diff(begins), 24)
    together, places = window_losses(model, list(packed), tokens, begins, True, "cpu")
    alone, _ = window_losses(
        model, [np.array([[d, 0, begins[d + 1] - begins[d]]]) for d in range(12)], tokens, begins, True, "cpu"
    )
    assert together == pytest.approx(alone, abs=1e-5)
    assert max(places.values()) >= 2
    unmasked, _ = window_losses(model, list(packed), tokens, begins, False, "cpu")
    assert any(abs(unmasked[d] - alone[d]) > 1e-4 for d in range(12) if places[d])


def test_a_batch_is_the_windows_tokens_in_the_packings_order():
    tokens, begins = corpus()
    order = np.array([3, 1, 2, 0, *range(4, 12)])
    packed = windows(order, np.diff(begins), 10, shuffled=False)
    laid = np.concatenate([tokens[begins[d] : begins[d + 1]] for d in order])
    batches = WindowBatches(tokens, begins, packed, 10, 2, 0, False)
    assert next(batches)["input_ids"].flatten().tolist() == laid[:20].tolist()


def test_every_pass_sees_each_full_window_once_and_can_be_resumed():
    tokens, begins = corpus(40)
    packed = windows(np.arange(40), np.diff(begins), 10)
    full = len(tokens) // 10
    batches = WindowBatches(tokens, begins, packed, 10, 1, 5, True)
    passes = [[tuple(next(batches)["input_ids"][0].tolist()) for _ in range(full)] for _ in range(3)]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(passes[2])
    assert passes[0] != passes[1] != passes[2]
    again = WindowBatches(tokens, begins, packed, 10, 1, 5, True)
    again.load_state_dict({"drawn": full})
    assert tuple(next(again)["input_ids"][0].tolist()) == passes[1][0]


def test_documents_that_fill_no_window_are_told():
    tokens, begins = corpus(2)
    with pytest.raises(HarnessError, match="no window of 100 tokens"):
        WindowBatches(tokens, begins, windows(np.arange(2), np.diff(begins), 100), 100, 1, 0, False)


def test_the_loss_of_a_step_is_the_models_own(model):
    tokens, begins = corpus()
    batch = rows_of([np.array([[0, 0, begins[1]]])], tokens, begins, False)
    wanted = model(input_ids=batch["input_ids"], labels=batch["input_ids"], use_cache=False).loss
    assert step(model, batch).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_whole_windows_cut_no_document_that_fits():
    packed = whole_windows(np.array([2, 0, 1, 3]), np.array([4, 5, 3, 99]), 10)
    assert [piece.tolist() for piece in packed] == [
        [[2, 0, 3], [0, 0, 4]], [[1, 0, 5]], [[3, 0, 10]]
    ]  # fmt: skip


def test_repetition_by_hand():
    assert repeated([1, 2, 3, 4], [5, 1, 2, 3, 4]) == pytest.approx(1 / 5)
    assert repeated([1], [2, 3, 4, 5, 6]) == 0.0
    assert repeated([7], [7, 7, 7, 7, 7]) == pytest.approx(2 / 5)
    assert repeated([1, 2], []) == 0.0


def test_a_documents_split_is_its_names_and_an_own_test_set_is_the_test():
    names = [f"d{i}" for i in range(5000)]
    parts = [part_of(name, "corpus", False) for name in names]
    assert 0.10 < parts.count("test") / 5000 < 0.14
    assert 0.03 < parts.count("validation") / 5000 < 0.05
    assert "test" not in {part_of(name, "corpus", True) for name in names}
    assert part_of("d0", "test", True) == "test"


# Reading


def test_paragraphs_lose_no_word_and_short_ones_join_the_next():
    text = "a title\n\n" + "word " * 30 + "\n\n" + "other " * 25 + "\n\nthe end"
    found = list(paragraphs(text))
    assert len(found) == 3
    assert " ".join(found).split() == text.split()
    assert found[0].startswith("a title")


def test_a_csv_without_header_is_read_as_class_title_text(tmp_path):
    (tmp_path / "test.csv").write_text("".join(f'"{i % 4 + 1}","T{i}","a\\text"\n' for i in range(120)))
    found = list(read(resolve(str(tmp_path / "test.csv"), cache=tmp_path, columns=())))
    assert len(found) == 120
    assert found[7].text == "T7 . a text"
    (tmp_path / "test.csv").write_text('"1","T","a"\n"2","b"\n')
    with pytest.raises(UsageError, match="record 2 has 2 fields"):
        list(read(resolve(str(tmp_path / "test.csv"), cache=tmp_path, columns=())))


# Through the harness


def made_corpus(path: Path, documents: int = 260) -> Path:
    """Write documents of made words about a few topics; two empty ones and two copies among them."""
    random = np.random.default_rng(0)
    lines = []
    for number in range(documents):
        words = [
            f"t{number % 9}w{random.integers(30)}" if place % 2 else f"w{random.integers(90)}"
            for place in range(20)
        ]
        lines.append({"id": f"d{number}", "text": " ".join(words)})
    lines += [{"id": "empty-1", "text": " "}, {"id": "empty-2", "text": ""}]
    lines += [{"id": f"copy-{i}", "text": lines[i]["text"]} for i in range(2)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Results of smoke runs of five methods on one made corpus."""
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("runs")
    text = made_corpus(folder / "corpus.jsonl")
    methods = (
        "iclm/random,iclm/in_context,iclm/in_context_masked,iclm/nearest_neighbours,iclm/best_fit_masked"
    )
    words = ["run", "-m", f"method={methods}", "budget=smoke", f"data.corpus={text}", "task.documents=0"]
    words += ["task.length=64", "task.steps=8", "device=cpu", "tracking=off"]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "results"


def metrics(results: Path, method: str) -> dict[str, float]:
    (path,) = results.glob(f"runs/iclm/{method}/*/result.json")
    return json.loads(path.read_text())["metrics"]


@pytest.mark.slow
def test_prepared_data_count_what_was_left_out_and_hold_documents_out(runs):
    (folder,) = runs.glob("stages/iclm-data-*[0-9a-f]")
    counts = json.loads((folder / "counts.json").read_text())
    assert counts["read"] == 264
    assert counts["empty"] == 2
    assert counts["duplicates"] == 2
    left_out = pq.read_table(folder / "duplicates.parquet").to_pylist()
    assert [(row["id"], row["kept_id"], row["similarity"]) for row in left_out] == [
        ("copy-0", "d0", 1.0), ("copy-1", "d1", 1.0)
    ]  # fmt: skip
    assert counts["train"] + counts["validation"] + counts["test"] == 262 - counts["duplicates"]
    tokens, begins = np.load(folder / "test.npy"), starts(folder / "test.npy")
    packings = {name: load_windows(folder / f"test-{name}.npz") for name in ("related", "shuffled")}
    for packed in packings.values():
        assert sorted(packed.pieces[:, 0].tolist()) == list(range(counts["test"]))
    with np.load(folder / "test-contexts.npz") as found:
        assert found["related"].shape == found["unrelated"].shape
        for target, own, other in zip(*(found[n] for n in ("targets", "related", "unrelated")), strict=True):
            text = tokens[begins[target] : begins[target + 1]].tolist()
            assert own.tolist() != other.tolist()
            assert own[-len(text) :].tolist() != text


@pytest.mark.slow
def test_methods_differ_in_order_alone(runs):
    found = {m: metrics(runs, m) for m in ("random", "in_context", "in_context_masked", "nearest_neighbours")}
    assert found["in_context"]["adjacent_similarity"] > found["random"]["adjacent_similarity"] + 0.2
    for name in ("adjacent_similarity", "window_similarity", "documents_cut"):
        assert found["in_context"][name] == found["in_context_masked"][name]
    assert found["in_context"]["loss_related"] != found["in_context_masked"]["loss_related"]
    assert found["nearest_neighbours"]["documents_used"] < 1
    assert found["in_context"]["documents_used"] == found["random"]["documents_used"] == 1
    best = metrics(runs, "best_fit_masked")
    assert best["documents_used"] == 1
    assert best["documents_cut"] < found["random"]["documents_cut"]
    assert best["loss_own_packing"] == best["loss_shuffled"]
    # One learned from random windows, the other from related ones; each is judged at home too.
    assert found["random"]["loss_own_packing"] == found["random"]["loss_shuffled"]
    assert found["in_context"]["loss_own_packing"] == found["in_context"]["loss_related"]


@pytest.mark.slow
def test_a_masked_model_finds_both_packings_equal(runs):
    found = metrics(runs, "in_context_masked")
    assert found["loss_related"] == pytest.approx(found["loss_shuffled"], abs=1e-4)


@pytest.mark.slow
def test_the_context_gain_is_paired_over_the_same_targets(runs):
    import pandas as pd

    ids = []
    for method in ("random", "in_context"):
        (path,) = runs.glob(f"runs/iclm/{method}/*/items.parquet")
        items = pd.read_parquet(path)
        ids.append(items[items.metric == "context_gain"].id.tolist() if "metric" in items else list(items))
    assert ids[0] == ids[1]
    found = metrics(runs, "in_context")
    gain = found["loss_after_unrelated"] - found["loss_after_related"]
    assert found["context_gain"] == pytest.approx(gain, abs=1e-6)


def test_few_shot_tasks_are_tasks_of_lm_eval():
    from datasets import Dataset
    from harness_iclm.few_shot import CLASSES, READING, classification, means
    from harness_iclm.preparation import tokenizer_for

    from harness.data.sources import Document
    from harness.nn.evals import lm_eval_scores

    rows = [{"text": f"news {i}", "label": i % 4} for i in range(8)]
    task = classification("ag_news", shots=2)
    for key in ("dataset_path", "training_split", "fewshot_split"):
        task.pop(key)
    made = Dataset.from_list(rows)
    task |= {"custom_dataset": lambda **_: {"test": made, "train": made}, "fewshot_split": "train"}
    tokenizer = tokenizer_for(Task(vocabulary=300), [Document("a", "news world sports")], Path("."))
    small = decoder(Task(width=16, layers=1, heads=2, feedforward=16, length=256), len(tokenizer))
    found, _ = lm_eval_scores(small, tokenizer, [task], max_length=256)
    assert 0 <= found["iclm_ag_news"]["acc"] <= 1
    every = {f"iclm_{name}": {"acc": 0.5} for name in CLASSES} | {name: {"acc": 0.25} for name in READING}
    assert means(every) == {"classification_accuracy": 0.5, "reading_accuracy": 0.25}


def test_a_documents_own_first_half_is_worth_what_a_model_that_copies_makes_of_it(monkeypatch):
    """Such a model loses a nat on each token that it has not seen: the halves of these texts repeat each other."""
    from harness_iclm import evaluation

    def losses(model, batch, device):
        ids = batch["input_ids"].numpy()
        return np.array(
            [[float(token not in row[: at + 1]) for at, token in enumerate(row[1:])] for row in ids]
        )

    monkeypatch.setattr(evaluation, "token_losses", losses)
    texts = [np.tile(np.arange(1 + 4 * n, 5 + 4 * n), 2) for n in range(6)]
    assert evaluation.second_half(None, texts, "cpu") == pytest.approx(np.ones(6))
