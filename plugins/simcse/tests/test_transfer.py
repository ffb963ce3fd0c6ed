"""Transfer tasks: the numbers of SentEval's scikit-learn protocol, on made data and by its own loops."""

import numpy as np
import pytest
from harness_simcse.transfer import BINARY, GRID, WIDE, accuracy, chosen, read
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold

from harness.errors import UsageError

FOLDS = 3


@pytest.fixture(scope="module")
def downstream(tmp_path_factory):
    """SentEval's folder with every task, a few rows each."""
    home, draw = tmp_path_factory.mktemp("downstream"), np.random.default_rng(0)

    def text(label):
        return " ".join(draw.choice([f"w{label}", "a", "b", "c"], size=draw.integers(1, 6)))

    def write(path, rows, start=""):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(start + "".join(f"{row}\n" for row in rows), encoding="utf-8")

    for task, names in BINARY.items():
        for label, name in zip((1, 0), names, strict=True):
            write(f"{task}/{name}", [text(label) for _ in range(15)] + [""])
    for split in ("train", "dev", "test"):
        write(f"SST/binary/sentiment-{split}", [f"{text(i % 2)}\t{i % 2}" for i in range(20)])
    for name in ("train_5500.label", "TREC_10.label"):
        write(f"TREC/{name}", [f"{kind}:x {text(kind)}" for kind in ("ABBR", "HUM", "NUM") for _ in range(6)])
    for split in ("train", "test"):
        rows = [f"{i % 2}\t1\t2\t{text(0)}\t{text(i % 2)}" for i in range(20)]
        write(f"MRPC/msr_paraphrase_{split}.txt", rows, "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n")
    return home


def vectors(splits):
    draw = np.random.default_rng(1)
    texts = sorted({text for rows in splits.values() for row in rows.texts for text in row})
    return {text: draw.normal(size=4) + text.count("w1") for text in texts}


def model(c, x, y):
    return LogisticRegression(C=c, random_state=1111).fit(x, y)


def chosen_by_folds(x, y, grid):
    scores = []
    for c in grid:
        inner = StratifiedKFold(n_splits=FOLDS, shuffle=True, random_state=1111)
        parts = [model(c, x[a], y[a]).score(x[b], y[b]) for a, b in inner.split(x, y)]
        scores.append(round(100 * np.mean(parts), 2))
    return grid[np.argmax(scores)]


@pytest.mark.parametrize("task", BINARY)
def test_a_task_without_a_test_set_is_judged_by_folds_within_folds(downstream, task):
    splits = read(downstream)[task]
    known, rows = vectors(splits), splits["all"]
    assert len(rows.classes) == 32  # the empty lines too, as SentEval counts them
    x, y = np.stack([known[text] for (text,) in rows.texts]), rows.classes
    outer = StratifiedKFold(n_splits=FOLDS, shuffle=True, random_state=1111)
    scores = []
    for a, b in outer.split(x, y):
        c = chosen_by_folds(x[a], y[a], GRID)
        scores.append(round(100 * model(c, x[a], y[a]).score(x[b], y[b]), 2))
    assert accuracy(splits, known, FOLDS) == {"accuracy": round(np.mean(scores), 2)}


def test_a_task_with_a_test_set_chooses_on_its_training_set(downstream):
    splits = read(downstream)["TREC"]
    known = vectors(splits)
    (x, y), (a, b) = (
        (np.stack([known[text] for (text,) in rows.texts]), rows.classes) for rows in splits.values()
    )
    expected = model(chosen_by_folds(x, y, WIDE), x, y).score(a, b)
    assert accuracy(splits, known, FOLDS) == {"accuracy": round(100 * expected, 2)}


def test_two_sentences_are_classified_by_difference_and_product(downstream):
    splits = read(downstream)["MRPC"]
    known = vectors(splits)

    def features(rows):
        u, v = (np.stack([known[row[i]] for row in rows.texts]) for i in (0, 1))
        return np.c_[np.abs(u - v), u * v]

    (x, y), (a, b) = ((features(rows), rows.classes) for rows in splits.values())
    fitted = model(chosen_by_folds(x, y, WIDE), x, y)
    f1 = f1_score(b, fitted.predict(a))
    expected = {"accuracy": round(100 * fitted.score(a, b), 2), "f1": round(100 * f1, 2)}
    assert accuracy(splits, known, FOLDS) == expected


def test_a_validation_set_chooses_where_there_is_one(downstream):
    splits = read(downstream)["SST2"]
    known = vectors(splits)
    x = {name: np.stack([known[text] for (text,) in rows.texts]) for name, rows in splits.items()}
    y = {name: rows.classes for name, rows in splits.items()}
    scores = [round(100 * model(c, x["train"], y["train"]).score(x["valid"], y["valid"]), 2) for c in GRID]
    fitted = model(GRID[np.argmax(scores)], x["train"], y["train"])
    assert accuracy(splits, known) == {"accuracy": round(100 * fitted.score(x["test"], y["test"]), 2)}


def test_what_is_not_there_is_named(downstream, tmp_path):
    with pytest.raises(UsageError, match="no transfer task"):
        read(tmp_path)
    assert chosen(read(downstream), "MR, TREC") == ["MR", "TREC"]
    with pytest.raises(UsageError, match=r"no task 'TRAC'.*'TREC'"):
        chosen(read(downstream), "TRAC")
    with pytest.raises(UsageError, match="MRPC is not in that folder: choose MR"):
        chosen({"MR": {}}, "MRPC")
