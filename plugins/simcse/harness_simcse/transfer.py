"""Transfer tasks as SentEval has them: a logistic regression over frozen vectors, accuracy in percent.

MR, CR, SUBJ and MPQA are judged by ten folds, the strength of regularization chosen by folds within each; TREC and
MRPC have a test set, and choose by folds of the training set; SST2 chooses on its own validation set. The folds, the
grid and the order of the rows are those of SentEval's scikit-learn protocol (`usepytorch=False`, seed 1111). The
paper's tables have SentEval's other protocol, a linear layer trained by Adam: close, but another number.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UsageError, nearest

SEED = 1111
FOLDS = 10
BINARY = {  # task -> the file of class 1, of class 0
    "MR": ("rt-polarity.pos", "rt-polarity.neg"),
    "CR": ("custrev.pos", "custrev.neg"),
    "SUBJ": ("subj.objective", "subj.subjective"),
    "MPQA": ("mpqa.pos", "mpqa.neg"),
}
TASKS = (*BINARY, "SST2", "TREC", "MRPC")
GRID = [2.0**t for t in range(-2, 4)]
WIDE = [2.0**t for t in range(-1, 6)]  # where there is a test set


@dataclass(frozen=True)
class Rows:
    """Texts (two a row for MRPC) and their classes, in SentEval's order: by length, then class."""

    texts: list[tuple[str, ...]]
    classes: np.ndarray


def read(folder: Path) -> dict[str, dict[str, Rows]]:
    """Return the tasks that are found under a folder, `{task: {split: rows}}`. Raises UsageError where none is."""
    found: dict[str, dict[str, Rows]] = {}
    for task, names in BINARY.items():
        if files := _together(folder, names):
            texts = [[(line,) for line in _lines(file, "latin-1")] for file in files]
            found[task] = {"all": _rows([*texts[0], *texts[1]], [1] * len(texts[0]) + [0] * len(texts[1]))}
    if files := _together(folder, ("sentiment-train", "sentiment-dev", "sentiment-test")):
        found["SST2"] = {
            split: _labelled(file, lambda line: line.rpartition("\t")[::2])
            for split, file in zip(("train", "valid", "test"), files, strict=True)
        }
    if files := _together(folder, ("train_5500.label", "TREC_10.label")):
        found["TREC"] = {
            split: _labelled(file, _question, "latin-1")
            for split, file in zip(("train", "test"), files, strict=True)
        }
    if files := _together(folder, ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt")):
        found["MRPC"] = {split: _pairs(file) for split, file in zip(("train", "test"), files, strict=True)}
    if not found:
        raise UsageError(
            f"{folder} holds no transfer task: give SentEval's data/downstream folder, with MR, CR, SUBJ, MPQA, "
            "SST/binary, TREC or MRPC in it"
        )
    return found


def chosen(found: Mapping[str, Any], names: str) -> list[str]:
    """Return the tasks of a list with commas; all that were found where it is empty."""
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(found)
    for name in wanted:
        if name not in TASKS:
            raise UsageError(f"there is no task {name!r}: {nearest(name, TASKS)}")
        if name not in found:
            raise UsageError(f"{name} is not in that folder: choose {', '.join(found)}")
    return wanted


def accuracy(
    splits: Mapping[str, Rows], known: Mapping[str, np.ndarray], folds: int = FOLDS
) -> dict[str, float]:
    """Return `accuracy` of a task in percent, and `f1` of MRPC, from the vector of each text."""
    x = {split: features(rows, known) for split, rows in splits.items()}
    y = {split: rows.classes for split, rows in splits.items()}
    if "all" in splits:
        return {"accuracy": by_folds(x["all"], y["all"], folds)}
    if "valid" in splits:
        scores = [percent(_fitted(x["train"], y["train"], c).score(x["valid"], y["valid"])) for c in GRID]
        model = _fitted(x["train"], y["train"], GRID[int(np.argmax(scores))])
    else:
        model = _fitted(x["train"], y["train"], best(x["train"], y["train"], WIDE, folds))
    found = {"accuracy": percent(model.score(x["test"], y["test"]))}
    if len(splits["test"].texts[0]) == 2:
        from sklearn.metrics import f1_score

        found["f1"] = percent(f1_score(y["test"], model.predict(x["test"])))
    return found


def features(rows: Rows, known: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what is classified, (n, width): a text's vector, or |u - v| and u * v of two."""
    sides = [np.stack([known[text[i]] for text in rows.texts]) for i in range(len(rows.texts[0]))]
    if len(sides) == 1:
        return sides[0]
    u, v = sides
    return np.concatenate([np.abs(u - v), u * v], axis=1)


def by_folds(x: np.ndarray, y: np.ndarray, folds: int = FOLDS) -> float:
    """Return the mean accuracy over test folds, the regularization of each chosen on the others."""
    scores = []
    for train, test in _folds(x, y, folds):
        model = _fitted(x[train], y[train], best(x[train], y[train], GRID, folds))
        scores.append(percent(model.score(x[test], y[test])))
    return round(float(np.mean(scores)), 2)


def best(x: np.ndarray, y: np.ndarray, grid: Sequence[float], folds: int) -> float:
    """Return the first of `grid` with the highest mean accuracy over folds."""
    scores = []
    for c in grid:
        parts = [
            _fitted(x[train], y[train], c).score(x[test], y[test]) for train, test in _folds(x, y, folds)
        ]
        scores.append(percent(np.mean(parts)))
    return grid[int(np.argmax(scores))]


def percent(share: Any) -> float:
    """Return a share in percent, to two places, as SentEval rounds before it compares."""
    return round(100 * float(share), 2)


def _folds(x: np.ndarray, y: np.ndarray, folds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedKFold

    return StratifiedKFold(folds, shuffle=True, random_state=SEED).split(x, y)  # type: ignore[no-any-return]


def _fitted(x: np.ndarray, y: np.ndarray, c: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the protocol stops after a hundred steps
        return LogisticRegression(C=c, random_state=SEED).fit(x, y)


def _together(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the files of these names in one folder under `folder`; none where no folder has them all."""
    for first in sorted(folder.rglob(names[0])):
        files = [first.with_name(name) for name in names]
        if all(file.is_file() for file in files):
            return files
    return []


def _lines(file: Path, encoding: str) -> list[str]:
    return [" ".join(line.split()) for line in file.read_text(encoding=encoding).splitlines()]


def _rows(texts: Sequence[tuple[str, ...]], classes: Sequence[int]) -> Rows:
    order = sorted(range(len(texts)), key=lambda i: (*(len(text.split()) for text in texts[i]), classes[i]))
    read = [tuple(text or "." for text in texts[i]) for i in order]  # an empty line is a dot there
    return Rows(read, np.array([classes[i] for i in order]))


def _labelled(file: Path, parts: Callable[[str], Any], encoding: str = "utf-8-sig") -> Rows:
    texts, classes = [], []
    for line in file.read_text(encoding=encoding).split("\n"):
        if line.strip():
            text, label = parts(line.strip())
            texts.append((" ".join(text.split()),))
            classes.append(label)
    names = sorted(set(classes))
    return _rows(texts, [names.index(label) for label in classes])


def _question(line: str) -> tuple[str, str]:
    label, _, rest = line.partition(":")
    return rest.partition(" ")[2], label


def _pairs(file: Path) -> Rows:
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8-sig").split("\n")[1:] if line.strip()]
    texts = [(" ".join(row[3].split()), " ".join(row[4].split())) for row in rows]
    return _rows(texts, [int(row[0]) for row in rows])
