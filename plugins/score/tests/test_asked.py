"""Episodes by an engine: greedy ones are those of this process, token by token, mask by mask."""

import pytest
import torch
from harness_score.asked import asked, columns
from harness_score.episodes import Turns, answer_log_probs, sample, scores

from harness.engines import Written
from harness.engines.inside import Transformers
from harness.nn.decoder import Decoder, DecoderConfig
from harness.nn.generate import pad_left

END, ASK = 1, (3, 4)
TURNS = Turns(correction=ASK, ends=(END,), first=5, second=4)
PROMPTS = [[5, 6, 7], [8], [2, 5], [6, 6, 2, 8]]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = DecoderConfig(
        vocab_size=9, width=16, layers=2, heads=2, feedforward=32, length=64, position="rotary",
        initializer_range=0.5,
    )  # fmt: skip
    return Decoder(config).eval()


@pytest.mark.parametrize("only_first", [False, True])
def test_greedy_episodes_are_those_of_this_process(model, only_first):
    prompts = pad_left(PROMPTS)
    options = {"samples": 2, "temperature": 0.0, "seeds": range(4), "only_first": only_first}
    ours = sample(model, prompts, TURNS, **options)
    theirs = asked(Transformers(model, None), prompts, TURNS, **options)
    for turn in (1,) if only_first else (1, 2):
        assert theirs.answers(turn) == ours.answers(turn)
    assert theirs.cut[:, 0].tolist() == ours.cut[:, 0].tolist()
    assert only_first or theirs.cut.tolist() == ours.cut.tolist()
    for row in range(8):
        for mask in ("seen", "first", "second"):
            kept = [each.tokens[row][getattr(each, mask)[row]].tolist() for each in (theirs, ours)]
            assert kept[0] == kept[1], mask


def test_each_sample_draws_by_a_seed_of_its_own_whoever_stands_beside_it(model):
    prompts, engine = pad_left([[5, 6, 7]] * 3), Transformers(model, None)
    made = asked(engine, prompts, TURNS, samples=4, seeds=[7, 8, 9])
    alone = asked(engine, prompts[1:2], TURNS, samples=4, seeds=[8])
    assert made.answers(1)[4:8] == alone.answers(1)
    assert made.answers(2)[4:8] == alone.answers(2)
    assert len({tuple(answer) for answer in made.answers(1)}) > 4


def test_columns_are_laid_out_as_can_be_seen_by_eye():
    first = [Written([7, 8], True), Written([6, 6, 6, 6, 6], False)]
    second = [Written([], True), Written([2], True)]
    made = columns(pad_left([[5], [5, 6]]), TURNS, first, second)
    assert made.tokens.tolist() == [[0, 5, 7, 8, 1, 0, 0, 3, 4, 1, 0], [5, 6, 6, 6, 6, 6, 6, 3, 4, 2, 1]]
    assert made.seen.int().tolist() == [[0, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]]
    assert made.first.int().tolist() == [[0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0]]
    assert made.second.int().tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
    ]
    assert made.cut.tolist() == [[False, False], [True, False]]


def test_a_pass_over_them_scores_what_the_engine_said(model):
    """What is trained on is what was sampled: the trainer's log-probabilities are the engine's."""
    from harness.engines import Ask

    prompts = pad_left(PROMPTS)
    engine = Transformers(model, None)
    written = engine.complete(PROMPTS, Ask(5, ends=(END,), log_probs=True), seeds=range(4))
    made = columns(prompts, TURNS, written, [])
    start = prompts.shape[1]
    told = answer_log_probs(scores(model, made.tokens, made.seen, start), made.tokens[:, start:])
    for row, one in enumerate(written):
        assert told[row, : len(one.tokens)].tolist() == pytest.approx(one.log_probs, abs=1e-5)
