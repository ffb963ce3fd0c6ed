"""What is measured of a metric: agreement with people, Williams' test, the fall after an edit."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from harness_rdass import rdass, rouge, sample
from harness_rdass.candidates import candidates, read_article
from harness_rdass.correlations import williams
from harness_rdass.encoders import CharacterTfidf
from harness_rdass.evaluation import judged, of_articles, preferred
from harness_rdass.judgments import read_judgments, speakers_exchanged
from harness_rdass.metrics import METRICS, copy_bias, drop
from harness_rdass.preparation import prepare
from harness_rdass.settings import Task

from harness.errors import UsageError
from harness.papers.plugins import load
from harness.papers.reduction import reduce

JUDGED = {"relevance": 4, "consistency": 5, "fluency": 3, "coherence": 2}


def dialogue(system: str, summary: str, key: str = "7") -> dict:
    talk = "| Tom: Shall I call Ann? | Ann: No, I call you!"
    other = {name: score - 1 for name, score in JUDGED.items()}
    return {
        "id": key,
        "dialogue": talk,
        "summary": summary,
        "annotations": [JUDGED, other],
        "model_id": system,
    }


def test_the_gold_summary_is_the_reference_and_people_s_scores_are_means():
    (row,) = read_judgments([dialogue("A", "Ann will call Tom."), dialogue("F", "Tom calls.")])
    assert (row["id"], row["system"], row["reference"]) == ("7/F", "F", "Ann will call Tom.")
    assert row["document"] == "Tom: Shall I call Ann?\nAnn: No, I call you!"
    assert (row["relevance"], row["mean"]) == (3.5, 3.5)


def test_a_plain_table_is_read_too_and_may_lack_dimensions():
    texts = {"document": "가 나", "reference": "가", "summary": "나"}
    whole, part = read_judgments([{**texts, **JUDGED}, {**texts, "relevance": "4"}])
    assert whole["mean"] == 4
    assert part["mean"] is None
    assert part["relevance"] == 4.0


def test_a_judged_row_that_cannot_be_used_is_named():
    with pytest.raises(UsageError, match=r"row 1 .* has no gold summary"):
        read_judgments([dialogue("F", "x")])
    with pytest.raises(UsageError, match="row 2 has an empty or no `summary`"):
        read_judgments([dialogue("A", "x"), dialogue("F", " ")])
    with pytest.raises(UsageError, match="row 1 has relevance='good'"):
        read_judgments([{"document": "a", "reference": "a", "summary": "a", "relevance": "good"}])


def test_speakers_change_places_only_where_two_are_named():
    rows = read_judgments([dialogue("A", "x"), dialogue("F", "Tom calls Ann."), dialogue("G", "Tom calls.")])
    (row,) = speakers_exchanged(rows)
    assert (row["summary"], row["edited"]) == ("Tom calls Ann.", "Ann calls Tom.")


def test_williams_test_rejects_a_true_null_as_often_as_promised():
    random = np.random.default_rng(0)
    below = 0
    for _ in range(1000):
        human, shared = random.normal(size=(2, 40))
        first, second = human + shared + random.normal(size=(2, 40))
        below += williams(human, first, second)[1] < 0.05
    assert 30 <= below <= 72  # 50 expected; three deviations


def test_williams_test_has_a_side_and_knows_equals():
    random = np.random.default_rng(1)
    human = random.normal(size=100)
    good, bad = human + 0.3 * random.normal(size=100), human + 3 * random.normal(size=100)
    t, p = williams(human, good, bad)
    assert t > 5
    assert p < 1e-4
    assert williams(human, bad, good) == pytest.approx((-t, p))
    assert np.isnan(williams(human, good, 2 * good + 1)[0])
    assert np.isnan(williams(human, good, np.zeros(100))[0])


def test_the_fall_of_an_edit_is_a_share_of_the_fall_to_an_unrelated_text():
    columns = {"score": np.array([0.9, 0.8]), "edited": np.array([0.8, 0.7]), "other": np.array([0.4, 0.3])}
    assert drop(columns) == pytest.approx(0.2)
    assert reduce(METRICS["entity_drop"], columns) == pytest.approx(0.2)


def test_copying_is_rewarded_when_copies_stand_higher_than_people_put_them():
    human, copied = np.array([1.0, 2.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0, 0.0])
    score = np.array([2.0, 2.0, 1.0, 1.0])
    assert copy_bias({"score": score, "human": human, "copied": copied}) == pytest.approx(2.0)
    assert copy_bias({"score": human, "human": human, "copied": copied}) == 0


def test_a_tie_is_half_a_preference():
    items = preferred({"a": 0.5, "b": 0.5, "c": 0.1, "d": 1.0}, {"a": 0.4, "b": 0.5, "c": 0.2})
    assert (list(items.ids), list(items.columns["preferred"])) == (["a", "b", "c"], [1.0, 0.5, 0.0])


def test_without_data_the_sentence_says_what_to_type(tmp_path):
    with pytest.raises(UsageError, match=r"give data\.judgments="):
        prepare(Task(), {}, None, tmp_path)


def test_judgments_without_an_encoder_are_refused(tmp_path):
    source = SimpleNamespace(rows=lambda: iter([]))
    with pytest.raises(UsageError, match=r"task\.judgments_vectors=tfidf"):
        prepare(Task(), {"judgments": source}, None, tmp_path)


def test_of_constructed_edits_rdass_prefers_the_kept_meaning_and_eojeols_do_not():
    rows = list(candidates(sample.articles(), 0.2, 0))
    found = shares(rows, [sentence for sentences, _ in sample.articles() for sentence in sentences])
    assert found["rdass"] >= 0.75
    assert found["eojeol"] < found["rdass"]


def shares(rows: list[dict], background: list[str]) -> dict[str, float]:
    """Return in which share of articles `para` is above `swap`, by RDASS and by two ROUGE-1."""
    rows = [row for row in rows if row["level"] == "article" and row["kind"] in ("para", "swap")]
    texts = [[row[name] for row in rows] for name in ("document", "reference", "summary")]
    scores = {
        "rdass": rdass(*texts, CharacterTfidf(background)).rdass,
        "eojeol": rouge(*texts[1:], "eojeol").rouge_1,
        "syllable": rouge(*texts[1:], "syllable").rouge_1,
    }
    return {name: float((score[::2] > score[1::2]).mean()) for name, score in scores.items()}


@pytest.mark.slow
def test_on_fifty_articles_rdass_and_syllables_prefer_the_kept_meaning_and_eojeols_do_not():
    home = os.environ.get("HARNESS_DATA")
    if not home:
        pytest.skip("HARNESS_DATA is not set: real data sets are not here")
    files = sorted((Path(home) / "sci-news-sum-kr-50").glob("*.json"))
    articles = [read_article(json.loads(f.read_text(encoding="utf-8")), i) for i, f in enumerate(files, 1)]
    rows = list(candidates(articles, 0.2, 0))
    found = shares(rows, [sentence for sentences, _ in articles for sentence in sentences])
    assert found["rdass"] >= 0.95
    assert found["eojeol"] < 0.3
    assert found["syllable"] >= 0.95


def test_every_rouge_has_its_three_kinds_of_tokens():
    paper = load("rdass").paper
    assert paper is not None
    for order in ("1", "2", "l"):
        assert {f"rouge_{order}_{t}" for t in ("eojeol", "morpheme", "syllable")} <= set(paper.methods)


def test_summaries_of_a_dialogue_and_of_a_system_hang_together_and_so_do_sentences_of_an_article():
    rows = [
        {"id": f"{text}/{system}", "document": text, "system": system}
        for text in ("d", "e")
        for system in "BC"
    ]
    items = judged(rows, {"score": np.arange(4.0)})
    assert items.groups == {"dialogue": [0, 0, 1, 1], "system": ["B", "C", "B", "C"]}
    keys = ["article-0-sentence-0", "article-0-sentence-1", "article-1-sentence-0"]
    assert of_articles({"score": [1, 2, 3]}, keys).groups == {
        "article": ["article-0", "article-0", "article-1"]
    }
