"""Answers are kept one by one: what is kept is not asked again, and none depends on what was asked before it."""

import random
from math import isnan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.runs.run import Run
from harness.runs.stages import answered


def run_in(folder, seed=0) -> Run:
    (folder / "run").mkdir(exist_ok=True)
    names = ("paper", "name", "method", "task", "data", "model", "budget")
    return Run(**dict.fromkeys(names), seed=seed, device="cpu", precision="float32", data_dir=folder,
               output_dir=folder, stages_dir=folder, folder=folder / "run")  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(total=st.integers(0, 12), cut=st.floats(0, 1))
def test_a_file_cut_anywhere_gives_the_same_answers(tmp_path_factory, total, cut):
    path = tmp_path_factory.mktemp("kept") / "answers.jsonl"
    asked = []

    def answer(place):
        asked.append(place)
        return {"place": place, "text": "é\n", "share": place / 3}

    whole = answered(path, total, answer, lambda done, of: None)
    written = path.read_bytes()
    path.write_bytes(written[: int(cut * len(written))])
    lines = path.read_bytes().count(b"\n")
    asked.clear()
    assert answered(path, total, answer, lambda done, of: None) == whole
    assert asked == list(range(lines, total))
    assert path.read_bytes() == written


def test_chance_depends_on_seed_name_and_place_alone(tmp_path):
    def draw(item):
        return random.random()

    run = run_in(tmp_path)
    first, other = run.each("a", ["x", "y"], draw), run.each("b", ["x", "y"], draw)
    assert len({*first, *other}) == 4
    random.seed(99)
    assert run_in(tmp_path).each("a", ["x", "y"], draw) == first
    assert run_in(tmp_path, seed=1).each("a", ["x", "z"], draw)[0] != first[0]


def test_other_items_under_the_same_name_are_answered_anew(tmp_path):
    run = run_in(tmp_path)
    assert run.each("upper", ["a"], str.upper) == ["A"]
    assert run.each("upper", ["b"], str.upper) == ["B"]


def test_one_name_for_two_calls_is_refused(tmp_path):
    run = run_in(tmp_path)
    run.each("upper", ["a"], str.upper)
    with pytest.raises(HarnessError, match="give each call a name of its own"):
        run.each("upper", ["a"], str.lower)


def test_an_answer_that_is_no_json_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(HarnessError, match="return numbers, text or lists"):
        run_in(tmp_path).each("sets", ["a"], lambda item: {item})


def test_an_answer_comes_back_as_it_is_kept(tmp_path):
    found = run_in(tmp_path).each("pairs", [1], lambda item: (item, float("nan")))
    assert isinstance(found[0], list)
    assert found[0][0] == 1
    assert isnan(found[0][1])


def test_other_code_asks_anew(tmp_path):
    run = run_in(tmp_path)
    run.answering = lambda: "before"
    assert run.each("case", ["a"], str.upper) == ["A"]
    again = run_in(tmp_path)
    again.answering = lambda: "since"
    assert again.each("case", ["a"], str.capitalize) == ["A"]
    assert again.each("case", ["bc"], str.capitalize) == ["Bc"]
    assert len(list((run.folder / "answers").iterdir())) == 3
