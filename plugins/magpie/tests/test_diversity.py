"""How varied a set is, and how far from the seeds; ROUGE-L against its own package."""

import math
import os
from pathlib import Path

import pytest
from harness_magpie.diversity import distinct, seed_similarity
from harness_magpie.preparation import asked, seed_tasks

from harness.data.files import rows
from harness.errors import UsageError

TEXTS = ["Write a short poem about rain.", "Why is the sky blue?", "name three rivers", "날씨가 어때 오늘?"]


def test_distinct_is_the_share_of_different_grams():
    assert distinct(["a b c", "a b d"]) == pytest.approx(3 / 4)  # ab bc ab bd
    assert distinct(["a b"], 1) == 1
    assert math.isnan(distinct(["alone"]))


def test_likeness_to_seeds_is_the_rouge_l_with_the_nearest_one():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    others = ["Write a long story about the rain", "The sky is blue. Why?", "three big rivers"]
    found = seed_similarity(TEXTS[:3], others)
    for text, value in zip(TEXTS[:3], found, strict=True):
        assert value == pytest.approx(max(scorer.score(o, text)["rougeL"].fmeasure for o in others))
    assert math.isnan(seed_similarity(TEXTS, [])[0])


def test_a_seed_itself_is_not_new_and_another_script_counts_too():
    assert list(seed_similarity(TEXTS, TEXTS)) == [1, 1, 1, 1]
    assert seed_similarity(["xyz"], TEXTS)[0] == 0


def test_seed_tasks_bring_their_input_and_output():
    tasks = [
        {
            "instruction": "Sort it. ",
            "instances": [{"input": "3 1", "output": "1 3"}, {"input": "", "output": ""}],
        },
        {"instruction": "Say hi.", "output": "Hi."},
        {"instruction": None},
        {"instruction": "  "},
    ]
    assert seed_tasks(tasks) == [
        {"instruction": "Sort it.", "question": "Sort it.\n3 1", "output": "1 3"},
        {"instruction": "Say hi.", "question": "Say hi.", "output": "Hi."},
    ]


def test_questions_are_read_in_the_forms_of_alpaca_eval_and_mt_bench():
    assert asked([{"instruction": "A?"}, {"turns": ["B?", "and?"]}, {"text": "C?"}]) == ["A?", "B?", "C?"]
    with pytest.raises(UsageError, match="needs instruction, turns or text"):
        asked([{"prompt": "A?"}])


def test_the_evidence_s_files_are_read():
    home = os.environ.get("HARNESS_DATA")
    if not home or not Path(home).is_dir():
        pytest.skip("HARNESS_DATA names no folder: real data sets are not here")
    seeds = seed_tasks(rows(Path(home) / "seed-tasks/seed_tasks.jsonl"))
    assert len(seeds) == 175
    assert all(seed["output"] for seed in seeds)
    assert len(asked(rows(Path(home) / "mt-bench/question.jsonl"))) == 80
