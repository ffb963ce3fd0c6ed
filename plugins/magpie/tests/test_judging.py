"""A judge's labels: read from whatever it writes, asked for again, null where there is none, and counted."""

import pytest
from harness_magpie.judging import CATEGORIES, LABELS, RETRIES, judged, label, prompt
from harness_magpie.rewards import log_likelihood, reward_differences
from magpie_models import tiny_generator

from harness.errors import HarnessError


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('{"reason": "clear", "quality": "good"}', "good"),
        ('Sure! ```json\n{"reason": "clear", "quality": "Very Poor"}\n```', "very poor"),
        ('{"reason": "it has {braces} in it", "quality": "good."}', "good"),
        ('{broken {"quality": "poor"}', "poor"),
        ("I think it is good.", None),
        ('{"quality": "splendid"}', None),
        ('{"quality": 5}', None),
        ('{"quality": "good"', None),
        ("", None),
    ],
)
def test_a_label_is_read_from_what_the_judge_writes(reply, found):
    assert label(reply, "quality") == found


def test_other_and_others_are_one_category():
    assert (
        label('{"category": "Other"}', "category") == label('{"category": "others"}', "category") == "Others"
    )
    assert len(CATEGORIES) == 12


def test_the_prompt_asks_for_the_reason_before_the_label_and_names_them_all():
    for kind, names in LABELS.items():
        text = prompt("Write a poem.", kind)
        assert text.index('"reason"') < text.index(f'"{kind}": "one')
        assert all(name in text for name in names)


def reply(kind: str) -> str:
    return f'{{"{kind}": "{LABELS[kind][2]}"}}'


def kind_of(text: str) -> str:
    return next(kind for kind in LABELS if f"Say its {kind}" in text)


def test_prose_is_asked_for_again_and_then_null():
    asked: list[tuple[str, int]] = []

    def ask(prompts, attempt):
        asked.extend((p, attempt) for p in prompts)
        return ["No idea." if "stubborn" in p or attempt == 0 else reply(kind_of(p)) for p in prompts]

    found = judged(["A fair question?", "A stubborn one?"], ask)
    assert found[0] == {kind: names[2] for kind, names in LABELS.items()}
    assert found[1] == dict.fromkeys(LABELS)
    for kind in LABELS:
        attempts = [a for p, a in asked if kind_of(p) == kind and "fair" in p]
        assert attempts == [0, 1]  # and not again once there is a label
        assert [a for p, a in asked if kind_of(p) == kind and "stubborn" in p] == list(range(RETRIES + 1))


def test_a_judge_of_prose_alone_is_named():
    with pytest.raises(HarnessError, match="no label in JSON for any of 2 instructions: take a larger judge"):
        judged(["One?", "Two?"], lambda prompts, attempt: ["Well..." for _ in prompts])


def test_no_instruction_needs_no_judge():
    assert judged([], lambda prompts, attempt: 1 / 0) == []


def test_a_reward_difference_is_one_scorer_less_the_other():
    def by(scale):
        return lambda questions, answers: [scale * len(a) for a in answers]

    assert reward_differences(["q", "q"], ["aa", "a"], by(3), by(1)) == [4.0, 2.0]


def test_a_model_s_log_likelihood_is_that_of_the_answer_s_tokens_a_character(tmp_path):
    import torch

    generator = tiny_generator(tmp_path)
    score = log_likelihood(tmp_path)
    question, answer = "tell me a poem.", "rain. birds?"
    ids = generator.tokenizer(
        f"<|user|> {question} <|end|> <|assistant|> {answer}", add_special_tokens=False
    )["input_ids"]
    log = generator.model(torch.tensor([ids])).logits.log_softmax(-1)[0]
    want = sum(float(log[t - 1, ids[t]].detach()) for t in range(len(ids) - 2, len(ids)))
    assert score([question], [answer])[0] == pytest.approx(want / len(answer), rel=1e-4)
    assert reward_differences([question], [answer], score, score) == [0.0]
