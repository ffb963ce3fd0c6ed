"""Whose answers win: the students' own, to the same questions, by their likeness to the generator's."""

import json

import pytest
from harness_magpie.answers import ANSWERS, likeness, read, versus

from harness.contract.bench import smoke_spec
from harness.errors import HarnessError
from harness.papers.plugins import load
from harness.runs.run import execute

PLUGIN = load("magpie")


def answered(folder, *answers, question="why {}?"):
    folder.mkdir()
    rows = [
        {
            "id": f"question-{i}",
            "question": question.format(i),
            "reference": "rain falls at night",
            "answer": text,
        }
        for i, text in enumerate(answers)
    ]
    (folder / ANSWERS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_answer_that_shares_more_wins_and_the_same_words_tie(tmp_path):
    one = answered(tmp_path / "one", "rain falls at night", "rain", "Rain falls.", "")
    other = answered(tmp_path / "other", "rain falls", "snow", "rain, falls", "no")
    (wins,) = versus(one, other).values()
    assert wins.columns["win"].tolist() == [1.0, 1.0, 0.5, 0.5]
    (back,) = versus(other, one).values()
    assert (wins.columns["win"] + back.columns["win"]).tolist() == [1.0] * 4
    assert wins.ids == back.ids == [f"question-{i}" for i in range(4)]


def test_words_too_many_count_against_an_answer():
    row = {"reference": "rain falls at night", "answer": "rain falls at night"}
    assert likeness(row) == 1
    assert likeness({**row, "answer": "rain falls at night " + "and so on " * 5}) < 0.5


def test_other_questions_and_none_are_refused(tmp_path):
    one = answered(tmp_path / "one", "rain")
    with pytest.raises(HarnessError, match="other questions"):
        versus(one, answered(tmp_path / "other", "rain", question="who {}?"))
    with pytest.raises(HarnessError, match="rerun=true"):
        versus(one, tmp_path)


def test_a_run_keeps_its_student_s_answers_beside_the_generator_s(tmp_path):
    spec = smoke_spec(PLUGIN, "magpie", tmp_path)
    result = execute(spec, PLUGIN)
    assert result.status == "finished", result.error
    rows = read(spec.folder / "output")
    assert [row["id"] for row in rows] == [f"question-{i}" for i in range(len(rows))]
    assert len(rows) > 1
    assert any(row["answer"] for row in rows)
    assert len(rows) == result.items["question_loss"]
    assert "nearer_answers" not in result.metrics
