"""Semantic textual similarity the way SimCSE's tables have it: cosines, Spearman, all pairs of a set at once.

Seven sets: STS12 to STS16 (each of several subsets), STS-B and SICK-R. No regressor is trained on top. A set's
number is one rank correlation over the pairs of all its subsets; the mean over subsets, and the mean weighted
by their sizes, are other numbers (`aggregation`). Pairs that nobody judged (an empty gold line) are left out
and counted. A table with the columns sentence1, sentence2 and score is a set of its own.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import files
from harness.errors import UsageError

COLUMNS = ("sentence1", "sentence2", "score")
KNOWN = {  # what files that are handed out call them: KLUE-STS, SICK
    "sentence1": ("sentence_A",),
    "sentence2": ("sentence_B",),
    "score": ("labels.real-label", "relatedness_score"),
}
SICK = ("sentence_A", "sentence_B", "relatedness_score")
STS_FILE = re.compile(r"sts-\w+\.(csv|tsv)")  # STS-B as it is handed out
YEAR = re.compile(r"STS(1[2-6])\b.*")


@dataclass
class Pairs:
    """A judged set: two sentences a row, their gold score, the subset each row is of, and a name for each row."""

    first: list[str] = field(default_factory=list)
    second: list[str] = field(default_factory=list)
    gold: list[float] = field(default_factory=list)
    subset: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.gold)

    def add(self, first: str, second: str, gold: float, subset: str, id: str) -> None:
        """Append one pair."""
        for column, value in zip(vars(self).values(), (first, second, gold, subset, id), strict=True):
            column.append(value)

    def only(self, wanted: Callable[[int], bool]) -> Pairs:
        """Return the rows that `wanted` says by number."""
        rows = [i for i in range(len(self)) if wanted(i)]
        return Pairs(*([column[i] for i in rows] for column in vars(self).values()))


@dataclass
class Judged:
    """Sets by name (those for choosing end in `-dev`), and how many rows were left out, by reason."""

    sets: dict[str, Pairs] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)


def sts(
    encode: Callable[[list[str]], np.ndarray], folder: str | Path, aggregation: str = "all"
) -> dict[str, float]:
    """Return the Spearman correlation of each set under `folder`, {set: -1 to 1}, dev sets left out.

    `encode` turns sentences into (n, width); no sentence is given to it twice. `aggregation` is "all" (the
    paper's), "mean" or "wmean" over a set's subsets. Raises UsageError for files that are not what they seem.
    """
    found = {name: pairs for name, pairs in read(Path(folder)).sets.items() if not name.endswith("-dev")}
    cosine = cosines(vectors(encode, found.values()), found)
    return {name: correlation(pairs, cosine[name], aggregation) for name, pairs in found.items()}


def cosines(known: Mapping[str, np.ndarray], sets: Mapping[str, Pairs]) -> dict[str, np.ndarray]:
    """Return the cosine of each pair of each set, (n,), of sentences whose vectors are `known`."""
    found = {}
    for name, pairs in sets.items():
        u, v = (np.stack([known[text] for text in column]) for column in (pairs.first, pairs.second))
        length = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
        found[name] = (u * v).sum(axis=1) / np.maximum(length, 1e-12)
    return found


def vectors(encode: Callable[[list[str]], np.ndarray], sets: Iterable[Pairs]) -> dict[str, np.ndarray]:
    """Return {sentence: vector} for the sentences of `sets`, each of them encoded once."""
    texts = list(dict.fromkeys(text for pairs in sets for text in (*pairs.first, *pairs.second)))
    return dict(zip(texts, np.asarray(encode(texts), dtype=np.float64), strict=True))


def correlation(pairs: Pairs, cosine: np.ndarray, aggregation: str = "all") -> float:
    """Return Spearman's correlation of `cosine` with the gold scores, ties at their mean rank."""
    from scipy.stats import spearmanr

    gold, subset = np.array(pairs.gold), np.array(pairs.subset)
    if aggregation == "all":
        return float(spearmanr(cosine, gold).statistic)
    if aggregation not in ("mean", "wmean"):
        raise UsageError(f"aggregation={aggregation!r} is not known: use all, mean or wmean")
    names = dict.fromkeys(pairs.subset)
    parts = [float(spearmanr(cosine[subset == name], gold[subset == name]).statistic) for name in names]
    sizes = [int((subset == name).sum()) for name in names] if aggregation == "wmean" else None
    return float(np.average(parts, weights=sizes))


def related(pairs: Pairs) -> list[int]:
    """Return a number for each pair, (n,), alike where pairs share a sentence, if only through other pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    number = {text: i for i, text in enumerate(dict.fromkeys((*pairs.first, *pairs.second)))}
    ends = [[number[text] for text in column] for column in (pairs.first, pairs.second)]
    graph = coo_array((np.ones(len(pairs)), tuple(ends)), shape=(len(number), len(number)))
    component = connected_components(graph, directed=False)[1]
    return [int(component[i]) for i in ends[0]]


def read_source(source: Any) -> Judged:
    """Return the sets of a resolved name, whose columns may be called otherwise after a question mark."""
    if not source.renamed and source.path.suffix != ".parquet":
        return read(source.path)
    judged = Judged()
    judged.sets["own"] = table(source.rows(), source.path, judged.skipped)
    return judged


def read(path: Path) -> Judged:
    """Return every set that is found under a folder, or in one file. Raises UsageError where there is none."""
    judged = Judged()
    if path.is_file():
        _file(path, judged)
        return judged
    years: dict[str, list[Path]] = {}
    for file in sorted(path.rglob("STS.input.*.txt")):
        year = YEAR.fullmatch(file.parent.name)
        if year:
            years.setdefault(f"STS{year[1]}", []).append(file)
    for name, inputs in sorted(years.items()):
        judged.sets[name] = Pairs()
        for file in inputs:
            _semeval(file, name, judged)
    for split, name in (("dev", "STSB-dev"), ("test", "STSB")):
        for file in sorted([*path.rglob(f"sts-{split}.csv"), *path.rglob(f"sts-{split}.tsv")])[:1]:
            judged.sets[name] = _stsb(file, judged)
    for sick, name in (("SICK_trial.txt", "SICKR-dev"), ("SICK_test_annotated.txt", "SICKR")):
        for file in sorted(path.rglob(sick))[:1]:
            judged.sets[name] = _sick(file, judged)
    if not judged.sets:
        raise UsageError(
            f"{path} holds no judged sets: give folders called STS12 ... STS16, sts-dev and sts-test (.csv, .tsv), "
            "SICK_test_annotated.txt, or one table with the columns sentence1, sentence2, score"
        )
    return judged


def _file(path: Path, judged: Judged) -> None:
    """Read one file, known by its first line: SICK, SentEval's STS-B (tabs, no header), or a table."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        fields = file.readline().rstrip("\r\n").split("\t")
    if set(SICK) <= set(fields):
        judged.sets["own"] = _sick(path, judged)
    elif len(fields) >= 7 and "score" not in fields:
        judged.sets["own"] = _stsb(path, judged)
    else:
        judged.sets["own"] = table(files.rows(path), path, judged.skipped)


def table(rows: Iterable[Mapping[str, Any]], path: Path, skipped: Counter[str]) -> Pairs:
    """Return a table's rows as pairs. Raises UsageError for a column that is missing or a score that is none."""
    pairs = Pairs()
    for number, row in enumerate(rows, 1):
        given = {name: _given(row, name) for name in COLUMNS}
        missing = [name for name, value in given.items() if value is MISSING]
        if missing:
            override = "+".join(f"{name}:ITS_NAME" for name in missing)
            raise UsageError(
                f"{path} has no column {', '.join(missing)}, only {', '.join(map(str, row))}: name the columns "
                f"sentence1, sentence2 and score, or say '{path}?{override}' (a column in a column: a.b)"
            )
        first, second, score = given.values()
        _add(pairs, first, second, score, "", f"{path} row {number}", skipped)
    return _some(pairs, path)


MISSING = object()


def _given(row: Mapping[str, Any], name: str) -> Any:
    """Return a column's value by its own name or by one that is handed out; MISSING where it has none."""
    for known in (name, *KNOWN[name]):
        try:
            return files.reach(row, known)
        except KeyError:
            continue
    return MISSING


def _semeval(file: Path, name: str, judged: Judged) -> None:
    subset = file.name.removeprefix("STS.input.").removesuffix(".txt")
    scores = file.with_name(file.name.replace("STS.input.", "STS.gs."))
    if not scores.exists():
        raise UsageError(f"{file} has no scores beside it: put {scores.name} there")
    gold = scores.read_text(encoding="utf-8").split("\n")
    texts = file.read_text(encoding="utf-8").split("\n")
    gold, texts = (lines[:-1] if lines[-1] == "" else lines for lines in (gold, texts))
    if len(gold) != len(texts):
        raise UsageError(
            f"{file} has {len(texts)} lines and {scores.name} {len(gold)}: a score a line, empty where none"
        )
    for number, (line, score) in enumerate(zip(texts, gold, strict=True), 1):
        where = f"{file} line {number}"
        if not score.strip():
            judged.skipped["not judged"] += 1
            continue
        first, second = _fields(line, where, 2)[:2]
        _add(judged.sets[name], first, second, score, subset, where, judged.skipped)


def _stsb(file: Path, judged: Judged) -> Pairs:
    pairs = Pairs()
    lines = file.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    header = lines[0].rstrip("\r").split("\t")
    named = set(COLUMNS) <= set(header)
    places = [header.index(name) for name in COLUMNS] if named else [5, 6, 4]
    for number, line in enumerate(lines[named:], 1 + named):
        where = f"{file} line {number}"
        fields = _fields(line, where, 1 + max(places))
        first, second, score = (fields[place] for place in places)
        _add(pairs, first, second, score, "", where, judged.skipped)
    return _some(pairs, file)


def _sick(file: Path, judged: Judged) -> Pairs:
    lines = file.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    header = lines[0].rstrip("\r").split("\t")
    if not set(SICK) <= set(header):
        raise UsageError(f"{file} has no columns {', '.join(SICK)}, only {', '.join(header)}: is it SICK?")
    pairs = Pairs()
    for number, line in enumerate(lines[1:], 2):
        where = f"{file} line {number}"
        fields = _fields(line, where, len(header))
        first, second, score = (fields[header.index(name)] for name in SICK)
        _add(pairs, first, second, score, "", where, judged.skipped)
    return _some(pairs, file)


def _fields(line: str, where: str, number: int) -> Sequence[str]:
    """Return a line's fields, split at tabs with no quoting: a double quote is a plain character."""
    fields = line.rstrip("\r").split("\t")
    if len(fields) < number:
        raise UsageError(
            f"{where} has {len(fields)} columns where {number} are needed: separate them by tabs"
        )
    return fields


def _add(
    pairs: Pairs, first: Any, second: Any, score: Any, subset: str, where: str, skipped: Counter[str]
) -> None:
    """Append a pair, or count why not. The row's name is made of its text, so that runs agree on it."""
    if score is None or not str(score).strip():
        skipped["not judged"] += 1
        return
    try:
        gold = float(score)
    except (TypeError, ValueError):
        gold = math.nan
    if not math.isfinite(gold):
        raise UsageError(f"{where} has the score {score!r}, which is no number: fix it or leave it empty")
    first, second = (" ".join(str(text or "").split()) for text in (first, second))
    if not first or not second:
        skipped["an empty sentence"] += 1
        return
    text = f"{subset}\t{first}\t{second}\t{len(pairs)}"
    pairs.add(first, second, gold, subset, hashlib.sha256(text.encode()).hexdigest()[:16])


def _some(pairs: Pairs, path: Path) -> Pairs:
    if len(pairs) < 2:
        raise UsageError(f"{path} has {len(pairs)} judged pairs: a correlation needs two or more")
    if len(set(pairs.gold)) == 1:
        raise UsageError(f"{path} gives every pair the score {pairs.gold[0]:g}: there is nothing to rank")
    return pairs
