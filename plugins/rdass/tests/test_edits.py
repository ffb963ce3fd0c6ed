"""The constructed edits do what their names say, and the candidates made of them are what metrics are tested on."""

from random import Random

import pytest
from harness_rdass import edits, sample
from harness_rdass.candidates import candidates, read_article
from harness_rdass.preparation import labelled, pairs

from harness.errors import UsageError


def test_particles_change_and_nothing_else():
    assert edits.particles("김 교수가 학생에게 책을 줬다") == "김 교수는 학생한테 책 줬다"
    assert edits.particles("서울에서는 비가 왔다") == "서울에서 비는 왔다"


@pytest.mark.parametrize(
    ("sentence", "negated"),
    [
        ("연구팀이 신약을 개발했다", "연구팀이 신약을 개발하지 않았다"),
        ("부산시가 버스를 바꾼다", "부산시가 버스를 바꾸지 않는다"),
        ("그는 의사다", "그는 의사가 아니다"),
        ("새 배터리 개발", "새 배터리 개발"),
    ],
)
def test_the_last_verb_is_negated(sentence, negated):
    assert edits.negation(sentence) == negated


def test_every_number_becomes_another_of_its_length():
    text = "2019년 30억 원, 0.5퍼센트"
    changed = edits.number(text, Random(0))
    assert len(changed) == len(text)
    assert all(a != b for a, b in zip(text, changed, strict=True) if a.isdigit())
    assert all((a == b) for a, b in zip(text, changed, strict=True) if not a.isdigit())
    assert changed[0] != "0"


def test_one_name_is_replaced_wherever_it_stands():
    assert edits.entity("부산시는 부산시의 예산을 늘렸다", ["제주"], Random(0)).count("제주") == 2
    assert edits.entity("그는 갔다", ["제주"], Random(0)) == "그는 갔다"


def test_a_fifth_of_the_words_is_replaced():
    words = [f"낱말{'가나다라마바사아자차'[i]}" for i in range(10)]
    changed = edits.swap(" ".join(words), ["다른"], 0.2, Random(0)).split()
    assert sum(a != b for a, b in zip(words, changed, strict=True)) == 2


def test_two_names_change_places():
    assert (
        edits.exchanged("Tom will call Ann, and ann waits", "Tom", "Ann")
        == "Ann will call Tom, and Tom waits"
    )


def test_candidates_are_the_same_each_time_and_say_what_they_are():
    rows = list(candidates(sample.articles(), 0.2, 0))
    assert rows == list(candidates(sample.articles(), 0.2, 0))
    assert rows != list(candidates(sample.articles(), 0.2, 1))
    kinds = {row["kind"] for row in rows if row["level"] == "article"}
    assert kinds == {"exact", "para", "swap", "same", "other", "negation", "number", "entity", "half", "lead"}
    assert all(row["summary"] != row["reference"] for row in rows if row["kind"] not in ("exact", "lead"))


def test_an_article_whose_summary_leads_nowhere_is_named():
    with pytest.raises(UsageError, match="article 3 names sentence 5 of 1"):
        read_article({"sentences": ["하나"], "summaries": [5]}, 3)
    with pytest.raises(UsageError, match="one article cannot"):
        list(candidates(sample.articles()[:1], 0.2, 0))


def test_a_pair_that_cannot_be_used_is_named():
    good = {"sentence1": "가", "sentence2": "나", "score": "2.5", "gold_label": 2}
    assert pairs([good])[0]["score"] == 2.5
    assert labelled([good])[0]["gold_label"] == "contradiction"
    with pytest.raises(UsageError, match="pair 2 has score='x'"):
        pairs([good, {**good, "score": "x"}])
    with pytest.raises(UsageError, match="pair 1 has gold_label='maybe'"):
        labelled([{**good, "gold_label": "maybe"}])
