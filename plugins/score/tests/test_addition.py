"""The addition task: right sums, parts that share nothing and look alike."""

import numpy as np
from harness_score.addition import PARTS, Additions, Digits, part_of, problems, rows, small, tokenizer
from harness_score.settings import Task


def test_answers_are_the_sums_most_significant_digit_first():
    for row in rows(Task(), "test", 200):
        first, second = row["problem"].removesuffix("=").split("+")
        assert len(row["problem"]) == 10
        assert row["answer"] == f"{int(first) + int(second):05}"


def test_another_draw_has_other_sums_of_the_same_part():
    one, other = ({row["problem"] for row in rows(Task(draw=draw), "test", 1500)} for draw in (1, 2))
    assert len(one) == len(other) == 1500
    assert len(one & other) < 15  # of five million
    first, second = problems(Task(), "test", 1500, seed=2)
    assert (part_of(first, second) == PARTS.index("test")).all()


def test_the_small_base_has_a_tenth_of_a_million_weights_and_begins_with_small_vectors():
    model = small(Task(), 13)
    assert sum(p.numel() for p in model.parameters()) == 103_104
    assert model.embedding.weight.std() < 0.025 < 0.07 < model.lm_head.weight.std()


def test_written_as_tokens_they_read_as_text():
    task, numbers = Task(), tokenizer()
    first, second = problems(task, "train", 50, seed=0)
    tokens = Digits(numbers, task).sums(first, second)
    texts = [f"{a:04}+{b:04}={a + b:05}" for a, b in zip(first, second, strict=True)]
    assert numbers.batch_decode(tokens) == texts
    assert numbers(texts[0])["input_ids"] == tokens[0].tolist()


def test_the_base_sees_no_problem_of_a_part():
    task = Task()
    batch = next(Additions(task, Digits(tokenizer(), task), seed=0))["input_ids"]
    numbers = tokenizer()
    assert len(batch) == task.base_batch
    for text in numbers.batch_decode(batch):
        first, second = text.split("=")[0].split("+")
        part = part_of(np.array([int(first)]), np.array([int(second)]))
        assert PARTS[int(part[0])] == "base"


def test_the_digits_of_every_part_are_spread_as_in_all_additions():
    grid = np.arange(1000)
    first, second = (numbers.ravel() for numbers in np.meshgrid(grid, grid))
    parts = part_of(first, second)
    for part, share in enumerate((0.05, 0.05, 0.05, 0.85)):
        mine = parts == part
        assert abs(mine.mean() - share) < 0.002
        for digit in ((first + second) % 10, first % 10, second // 100, (first + second) // 1000):
            chances = np.bincount(digit[mine], minlength=10) / mine.sum()
            expected = np.bincount(digit, minlength=10) / len(digit)
            assert np.abs(chances - expected).max() < 0.01
