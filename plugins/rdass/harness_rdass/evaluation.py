"""Put a metric to the test: agreement with people, constructed edits, and the encoder on sentence pairs.

Scores are cached by what decides them, so that a method can be set against ROUGE and s(p, r) by Williams' test
without anything being scored twice. Nothing is tuned, so there is no held-out half: both splits are everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from harness import Items
from harness_rdass.correlations import williams
from harness_rdass.metrics import BROKEN, KINDS, RIVALS, STATISTICS, TABLES, TARGETS
from harness_rdass.preparation import Row, read
from harness_rdass.scoring import SEMANTIC, Texts, scores, texts_of, truncated
from harness_rdass.settings import Score, Scorer, Tokens, Vectors

Found = dict[str, float | Items]
ROUGES = (Score.rouge_1, Score.rouge_2, Score.rouge_l)


def evaluate(run: Any, split: str) -> Found:
    """Return every metric that what was given allows; say of the others why not."""
    tables = {
        name: read(run.data_dir / f"{name}.jsonl") for name in ("judgments", "speakers", "candidates", "sts")
    }
    task = run.task
    found: Found = {}
    if tables["judgments"]:
        found |= agreement(run, tables["judgments"], task.judgments_vectors)
    if tables["speakers"]:
        found |= speakers(run, tables["speakers"], task.judgments_vectors)
    if tables["candidates"]:
        found |= constructed(run, tables["candidates"], task.articles_vectors)
    if tables["sts"]:
        found |= similarity(run, tables["sts"], task.articles_vectors)
    explain(run, found, tables)
    return found


def agreement(run: Any, rows: list[Row], kind: Vectors) -> Found:
    """Correlate with people's scores: all summaries, those of systems that do not copy, and systems."""
    texts = texts_of(rows)
    score = scores(run, run.method, texts, kind)
    copied = np.array([row["system"] in run.task.copying_systems for row in rows])
    found: Found = {}
    for target in TARGETS:
        if any(row[target] is None for row in rows):
            continue
        human = np.array([row[target] for row in rows], dtype=float)
        columns = {"score": score, "human": human}
        parts = {"": judged(rows, columns), "system_": Items(*per_system(rows, columns))}
        if 2 < (~copied).sum() < len(rows):
            kept = [row for row, copy in zip(rows, copied, strict=True) if not copy]
            parts["abstractive_"] = judged(kept, {"score": score[~copied], "human": human[~copied]})
        for where, items in parts.items():
            found |= correlations(f"{where}{{}}_{target}", items)
    if "pearson_mean" in found:
        human = np.array([row["mean"] for row in rows], dtype=float)
        found |= against_rivals(run, texts, kind, score, human, "", np.ones(len(rows), dtype=bool))
        if "abstractive_pearson_mean" in found:
            found |= against_rivals(run, texts, kind, score, human, "abstractive_", ~copied)
        if copied.any() and not copied.all() and np.ptp(score) > 0:
            columns = {"score": score, "human": human, "copied": copied.astype(float)}
            found["copy_bias"] = judged(rows, columns)
    if run.method.score in SEMANTIC:
        found["truncated_judgments"] = truncated(run, texts, kind)
    return found


def judged(rows: Sequence[Row], columns: Mapping[str, np.ndarray]) -> Items:
    """Return judged summaries as items: those of one dialogue, and those of one system, are not independent."""
    number = {document: i for i, document in enumerate(dict.fromkeys(row["document"] for row in rows))}
    groups = {
        "dialogue": [number[row["document"]] for row in rows],
        "system": [row["system"] for row in rows],
    }
    return Items(columns, [row["id"] for row in rows], groups)


def correlations(name: str, items: Items, statistics: Iterable[str] = STATISTICS) -> Found:
    """Return the items under each statistic's name; none where a column is constant: no correlation exists."""
    if len(items.ids) < 3 or any(np.ptp(column) == 0 for column in items.columns.values()):
        return {}
    return {name.format(statistic): items for statistic in statistics}


def per_system(
    rows: Sequence[Row], columns: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the mean of each column over each system's summaries, and the systems."""
    systems = sorted({row["system"] for row in rows})
    member = np.array([row["system"] for row in rows])
    means = {
        name: np.array([column[member == system].mean() for system in systems])
        for name, column in columns.items()
    }
    return means, systems


def against_rivals(
    run: Any, texts: Texts, kind: Vectors, score: np.ndarray, human: np.ndarray, where: str, kept: np.ndarray
) -> Found:
    """Return Williams' t and p of this metric against the best ROUGE and against s(p, r)."""
    rouges = [scores(run, Scorer(order, tokens), texts, kind) for order in ROUGES for tokens in Tokens]
    varied = [rouge for rouge in rouges if np.ptp(rouge[kept]) > 0]
    best = max(varied, key=lambda rouge: np.corrcoef(rouge[kept], human[kept])[0, 1], default=None)
    reference = scores(run, Scorer(Score.reference), texts, kind)
    found: Found = {}
    for rival, other in zip(RIVALS, (best, reference), strict=True):
        if other is not None:
            t, p = williams(human[kept], score[kept], other[kept])
            if np.isfinite(t):
                found |= {f"{where}williams_t_{rival}": t, f"{where}williams_p_{rival}": p}
    return found


def speakers(run: Any, rows: list[Row], kind: Vectors) -> Found:
    """Return how far scores fall when two speakers are exchanged: the columns that `metrics.drop` reads."""
    versions = ("summary", "edited", "other")
    texts = Texts(
        [row["document"] for _ in versions for row in rows],
        [row["reference"] for _ in versions for row in rows],
        [row[version] for version in versions for row in rows],
    )
    before, edited, other = np.split(scores(run, run.method, texts, kind), 3)
    if np.isclose(before.mean(), other.mean()):
        return {}
    columns = {"score": before, "edited": edited, "other": other}
    return {"speakers_drop": judged(rows, columns)}


def constructed(run: Any, rows: list[Row], kind: Vectors) -> Found:
    """Return what the metric makes of edits whose effect is known, by article and by summary sentence."""
    texts = texts_of(rows)
    score = scores(run, run.method, texts, kind)
    by_kind: dict[str, dict[str, dict[str, float]]] = {"article": {}, "sentence": {}}
    for row, value in zip(rows, score, strict=True):
        by_kind[row["level"]].setdefault(row["kind"], {})[row["item"]] = float(value)
    articles, sentences = by_kind["article"], by_kind["sentence"]
    found: Found = {}
    for name in KINDS:
        if name in articles:
            found[f"score_{name}"] = Items({"score": list(articles[name].values())}, list(articles[name]))
    orders = [("para", name, f"para_over_{name}", articles) for name in KINDS if name != "para"]
    orders += [("para", name, f"sentence_para_over_{name}", sentences) for name in BROKEN]
    orders += [("same", "other", "same_over_other", articles)]
    for above, below, name, table in orders:
        items = preferred(table.get(above, {}), table.get(below, {}))
        if items.ids:
            found[name] = items
    golden = [(row, value) for row, value in zip(rows, score, strict=True) if row["gold"] is not None]
    golden = [(row, value) for row, value in golden if row["level"] == "article"]
    columns = {"score": [value for _, value in golden], "human": [row["gold"] for row, _ in golden]}
    keys = [f"{row['item']}-{row['kind']}" for row, _ in golden]
    groups = {"article": [row["item"] for row, _ in golden], "edit": [row["kind"] for row, _ in golden]}
    found |= correlations("constructed_{}", Items(columns, keys, groups, fixed=["edit"]))
    for name in (*BROKEN, "para"):
        keys = [key for key in sentences.get(name, {}) if key in sentences["exact"]]
        if keys:
            versions = {"score": "exact", "edited": name, "other": "other"}
            columns = {column: [sentences[v][key] for key in keys] for column, v in versions.items()}
            if np.mean(columns["score"]) != np.mean(columns["other"]):
                found[f"{name}_drop"] = of_articles(columns, keys)
    if run.method.score in SEMANTIC:
        found["truncated_articles"] = truncated(run, texts, kind)
    return found


def preferred(above: Mapping[str, float], below: Mapping[str, float]) -> Items:
    """Return for each item both have 1 where `above` scores higher, 0 where lower, 0.5 where the same."""
    keys = [key for key in above if key in below]
    won = [float(np.sign(round(above[key] - below[key], 12))) / 2 + 0.5 for key in keys]
    return of_articles({"preferred": won}, keys)


def of_articles(columns: Mapping[str, Any], keys: Sequence[str]) -> Items:
    """Return articles or their sentences as items; the sentences of one article are not independent."""
    return Items(columns, keys, {"article": [key.partition("-sentence-")[0] for key in keys]})


def similarity(run: Any, rows: list[Row], kind: Vectors) -> Found:
    """Correlate the metric's view of sentence pairs with their scores: a gate for any encoder."""
    if run.method.score in (Score.length, Score.lead_overlap):
        return {}
    first, second = [row["sentence1"] for row in rows], [row["sentence2"] for row in rows]
    score = scores(run, run.method, Texts(first, first, second), kind)
    columns = {"score": score, "human": np.array([row["score"] for row in rows])}
    items = Items(columns, [f"pair-{i}" for i in range(len(rows))])
    return correlations("sts_{}", items, ("spearman", "pearson"))


SOURCES = {
    "judgments": "data.judgments is not given",
    "speakers": "no judged summary names two speakers of its document",
    "candidates": "data.articles is not given",
    "sts": "data.sts is not given",
}


def explain(run: Any, found: Found, tables: Mapping[str, list[Row]]) -> None:
    """Say of every metric that is not there why it is not."""
    for table, metrics in TABLES.items():
        for name in set(metrics) - set(found):
            if not tables[table]:
                reason = SOURCES[table if tables["judgments"] or table != "speakers" else "judgments"]
            elif name.startswith("truncated_"):
                reason = "this method reads no document through an encoder"
            elif "williams" in name:
                reason = "the rival is this method itself, or too little varies to compare them"
            elif name.startswith("sts_"):
                reason = "this method does not compare two sentences"
            elif name.startswith("abstractive_") or name == "copy_bias":
                reason = "needs both copying and other systems: task.copying_systems names the former"
            else:
                reason = "the data lack the column or the edit, or its scores do not vary"
            run.absent(name, reason)
