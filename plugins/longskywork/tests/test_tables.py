"""Tables with questions: an executor that knows nothing of the generator answers every one alike."""

import duckdb
import numpy as np
import pytest
from harness_longskywork import tables
from harness_longskywork.checking import errors, executed, load
from harness_longskywork.schemas import KINDS, SCHEMAS, WORDINGS
from harness_longskywork.serialising import FORMS, head, read, row_text
from harness_longskywork.synl import plain_length
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from harness.errors import UsageError


@pytest.fixture(scope="module")
def some():
    return tables(150, (800, 4000), seed=0)


def test_another_executor_answers_every_question_alike(some):
    assert sum(len(row["questions"]) for row in some) > 500
    assert list(errors(some + tables(40, (800, 4000), seed=0, split="test"))) == []


@pytest.mark.oracle
def test_another_executor_answers_ten_thousand_questions_alike():
    rows = tables(2400, (600, 2500), seed=7)
    assert sum(len(row["questions"]) for row in rows) > 10_000
    assert list(errors(rows)) == []


def test_a_wrong_answer_and_an_ambiguous_question_are_caught(some):
    row = {**some[0], "answers": ["wrong", *some[0]["answers"][1:]]}
    assert len(list(errors([row]))) == 1
    cut = head("csv", ["id", "team"]) + "E1,red\nE1,blue\n"
    program = {"operation": "cell", "column": "team", "key": "E1"}
    row = {"form": "csv", "table": cut, "questions": ["?"], "answers": ["red"], "programs": [program]}
    assert "['red', 'blue']" in next(errors([row]))


def test_the_gold_answers_of_other_questions_are_wrong(some):
    answers = [answer for row in some for answer in row["answers"]]
    shuffled = np.random.default_rng(0).permutation(answers)
    assert np.mean([a == b for a, b in zip(answers, shuffled, strict=True)]) < 0.1


def test_operations_by_hand():
    connection = duckdb.connect()
    header = ["employee", "team", "boss", "pay"]
    cells = [["E1", "red", "E3", "30"], ["E2", "red", "E1", "45"], ["E3", "blue", "E1", "20"]]
    load(connection, header, cells)
    red = {"group": "team", "value": "red", "column": "pay"}
    by_hand = {
        "75": {"operation": "sum", **red},
        "37": {"operation": "mean", **red},  # 37.5 rounded down
        "E2, E1": {"operation": "top", **red},
        "20": {"operation": "two_hop", "column": "pay", "key": "E1", "reference": "boss"},
        "E3; blue; E1; 20": {"operation": "row", "key": "E3"},
        "not in the table": {"operation": "absent", "key": "E9", "column": "pay"},
        "E2": {"operation": "turn", "column": "pay"},
        "red": {"operation": "frequent", "column": "team"},
    }
    for answer, program in by_hand.items():
        assert executed(connection, header, program) == [answer], program


def test_tables_have_the_size_that_was_asked_for():
    for size in (2000, 8000, 20_000):
        for row in tables(6, (size, size), seed=1):
            assert row["tokens"] == plain_length(row["table"]) == pytest.approx(size, rel=0.05)


def test_sizes_are_log_uniform():
    sizes = [row["tokens"] for row in tables(120, (1000, 8000), seed=2, questions=1)]
    assert kstest(np.log(np.asarray(sizes) / 1000) / np.log(8), "uniform").pvalue > 0.01


def test_the_rows_that_answers_lie_in_are_uniform_over_the_depth():
    rows = tables(300, (2000, 6000), seed=3)
    depths = [
        depth
        for row in rows
        for depth, kind in zip(row["depth"], row["kind"], strict=True)
        if kind == "retrieval" and depth is not None
    ]
    assert len(depths) > 300
    assert kstest(depths, "uniform").pvalue > 0.01


def test_training_and_test_share_no_table_no_header_and_no_wording(some):
    other = tables(40, (800, 4000), seed=0, split="test")
    assert not {row["table"] for row in some} & {row["table"] for row in other}

    def headers(split):
        return {
            name for s in SCHEMAS[split] for name in (s.key, s.group, s.reference, *(h for h, _ in s.more))
        }

    assert not headers("train") & headers("test")
    words = [
        {wording for each in WORDINGS[split].values() for wording in each} for split in ("train", "test")
    ]
    assert not words[0] & words[1]


def test_all_kinds_occur_and_what_is_not_in_the_table_is_rare(some):
    asked = [program["operation"] for row in some for program in row["programs"]]
    assert set(asked) == {operation for operations in KINDS.values() for operation in operations}
    assert 0 < asked.count("absent") / len(asked) < 0.1


def test_reasoning_names_the_rows_it_used(some):
    for row in some:
        for kind, steps, answer in zip(row["kind"], row["steps"], row["answers"], strict=True):
            assert bool(steps) == (kind == "reasoning"), answer


def test_the_seed_decides(some):
    assert tables(3, (800, 4000), seed=0) == some[:3]
    assert tables(3, (800, 4000), seed=1) != some[:3]


cells = st.text("abcXYZ0123456789-", min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(FORMS), st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5))
def test_a_serialised_table_reads_back(form, rows):
    header = ["key", "first", "second"]
    text = head(form, header) + "".join(row_text(form, header, row) for row in rows)
    assert read(form, text) == (header, [list(row) for row in rows])


def test_a_size_below_the_header_is_named():
    with pytest.raises(UsageError, match="fewer than 12: ask for"):
        tables(1, (50, 50), seed=0)
    with pytest.raises(UsageError, match="no range"):
        tables(1, (500, 50), seed=0)
    with pytest.raises(UsageError, match="use train or test"):
        tables(1, (500, 5000), seed=0, split="valid")
