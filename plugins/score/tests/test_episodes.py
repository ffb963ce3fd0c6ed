"""Episodes: what is sampled, what is seen, whose tokens are whose, and that no gradient goes astray."""

import inspect

import pytest
import torch
from harness_score.credit import Credit
from harness_score.episodes import Turns, answer_log_probs, sample, scores
from harness_score.policies import Policy
from harness_score.settings import Score
from harness_score.training import episode_loss

from harness.errors import UsageError
from harness.nn.decoder import Decoder, DecoderConfig
from harness.nn.generate import pad_left

END, ASK = 1, (3, 4)
TURNS = Turns(correction=ASK, ends=(END,), first=5, second=4)


@pytest.fixture(scope="module")
def model():
    return small_model()


def small_model():
    torch.manual_seed(0)
    config = DecoderConfig(
        vocab_size=9, width=16, layers=2, heads=2, feedforward=32, length=64, position="rotary",
        initializer_range=0.5,
    )  # fmt: skip
    return Decoder(config).eval()


def episodes(model, seed=0, **options):
    prompts = pad_left([[5, 6, 7], [8], [2, 5]])
    seeds = range(3 * seed, 3 * seed + 3)
    return prompts, sample(model, prompts, TURNS, samples=4, seeds=seeds, **options)


def read_alone(model, made, row):
    """Return the columns of a row that are seen, or trained on, in order, as one text without padding."""
    kept = made.seen[row]
    return made.tokens[row][kept]


def test_the_second_turn_reads_the_first_answer_as_it_was_generated(model):
    prompts, made = episodes(model)
    for row in range(len(made.tokens)):
        prompt = prompts[row // 4]
        text = read_alone(model, made, row).tolist()
        first, second = made.answers(1)[row], made.answers(2)[row]
        assert text == [*prompt[prompt >= 0].tolist(), *first, *ASK, *second]


def test_an_answer_trains_its_end_token_and_nothing_behind_it(model):
    _, made = episodes(model)
    ended = 0
    for mask, longest, cut in ((made.first, 5, made.cut[:, 0]), (made.second, 4, made.cut[:, 1])):
        for row, own in enumerate(mask):
            tokens = made.tokens[row][own].tolist()
            assert END not in tokens[:-1]
            assert (tokens[-1] != END) == bool(cut[row])
            assert len(tokens) == longest or tokens[-1] == END
            ended += tokens[-1] == END
    assert 4 < ended < 24  # both kinds are here
    assert not (made.first & made.second).any()


def test_one_pass_over_padded_rows_scores_as_each_turn_alone(model):
    prompts, made = episodes(model)
    start = prompts.shape[1]
    with torch.no_grad():
        found = answer_log_probs(scores(model, made.tokens, made.seen, start), made.tokens[:, start:])
        for row in range(len(made.tokens)):
            prompt = prompts[row // 4]
            x1 = prompt[prompt >= 0].tolist()
            x2 = [*x1, *made.answers(1)[row], *ASK]
            for context, mask in ((x1, made.first), (x2, made.second)):
                answer = made.tokens[row][mask[row]].tolist()
                logits = model(input_ids=torch.tensor([[*context, *answer]])).logits[0, len(context) - 1 : -1]
                alone = logits.log_softmax(-1).gather(-1, torch.tensor(answer)[:, None])[:, 0]
                torch.testing.assert_close(found[row][mask[row][start:]], alone, atol=1e-4, rtol=1e-4)


def test_greedy_answers_with_a_cache_are_those_without(model):
    _, made = episodes(model, temperature=0)
    prompts = pad_left([[5, 6, 7], [8], [2, 5]])
    for row in range(3):
        text = prompts[row][prompts[row] >= 0].tolist()
        for turn, longest in ((1, 5), (2, 4)):
            answer = []
            while len(answer) < longest:
                token = int(model(input_ids=torch.tensor([text + answer])).logits[0, -1].argmax())
                if token == END:
                    break
                answer.append(token)
            assert made.answers(turn)[4 * row] == answer
            text += [*answer, *ASK]


def test_answers_of_a_fixed_length_are_never_cut_off(model):
    turns = Turns((3,), (), 2, 2)
    made = sample(model, torch.tensor([[5, 6], [7, 8]]), turns)
    assert made.tokens.shape == (2, 7)
    assert made.seen.all()
    assert not made.cut.any()
    assert made.first.sum(1).tolist() == made.second.sum(1).tolist() == [2, 2]


def test_the_same_seed_samples_the_same(model):
    assert torch.equal(episodes(model, 3)[1].tokens, episodes(model, 3)[1].tokens)
    one, two = episodes(model, 3)[1].answers(1), episodes(model, 4)[1].answers(1)
    assert one != two


def test_a_problem_samples_the_same_alone_as_among_others(model):
    prompts, together = episodes(model, 5)
    for row, seed in enumerate(range(15, 18)):
        alone = sample(model, prompts[row : row + 1], TURNS, samples=4, seeds=[seed])
        rows = slice(4 * row, 4 * row + 4)
        assert alone.answers(1) == together.answers(1)[rows]
        assert alone.answers(2) == together.answers(2)[rows]


def test_samples_follow_the_models_chances(model):
    turns = Turns((3,), (), 1, 1)
    prompts = torch.tensor([[5, 6]])
    made = sample(model, prompts, turns, samples=4000, only_first=True)
    with torch.no_grad():
        chances = model(input_ids=prompts).logits[0, -1].softmax(-1)
    counted = torch.bincount(made.tokens[:, -1], minlength=9) / 4000
    assert (counted - chances).abs().max() < 0.04


def gradient(model, made, start, first, second):
    """Return the gradient at the logits of each column, (rows, columns, vocabulary), for these advantages."""
    taken = {}
    plain = model.forward

    def forward(*args, **kwargs):
        out = plain(*args, **kwargs)
        if torch.is_grad_enabled():
            out.logits.retain_grad()
            taken.setdefault("logits", []).append(out.logits)
        return out

    model.forward = forward
    forward.__signature__ = inspect.signature(plain)
    try:
        rows = len(made.tokens)
        weights = Credit(torch.full((rows,), first), torch.full((rows,), second), 0.0, 0.0)
        base = Policy(model, model)
        episode_loss(model, base, made, weights, Score(), start)[0].backward()
    finally:
        del model.forward
    model.zero_grad()
    return [logits.grad for logits in taken["logits"]]


def test_turn_two_gives_no_gradient_to_the_first_answers_tokens_and_turn_one_none_to_the_seconds(model):
    prompts, made = episodes(model)
    start = prompts.shape[1]
    for weights, own in (((1.0, 0.0), made.first), ((0.0, 1.0), made.second)):
        (grad,) = gradient(model, made, start, *weights)
        touched = grad.abs().sum(-1) > 0  # at the places that predict the columns from `start` on
        assert torch.equal(touched, own[:, start:])


def test_the_correction_prompt_is_never_trained(model):
    prompts, made = episodes(model)
    (grad,) = gradient(model, made, prompts.shape[1], 1.0, 1.0)
    asked = ~(made.first | made.second)[:, prompts.shape[1] :]
    assert (grad.abs().sum(-1)[asked] == 0).all()


def test_the_blank_control_shows_another_problems_answer_and_trains_ones_own(model):
    prompts, made = episodes(model, blank=True)
    start = prompts.shape[1]
    part = made.first.any(0).nonzero()[:, 0]
    block = slice(int(part[0]), int(part[0]) + 5)
    shown = made.shown[:, block].where(made.shown_seen[:, block], torch.tensor(-1))
    own = made.tokens[:, block].where(made.seen[:, block], torch.tensor(-1))
    assert torch.equal(shown, own.roll(-4, 0))  # four samples a problem
    assert torch.equal(made.shown[:, :start], made.tokens[:, :start])
    first, second = gradient(model, made, start, 1.0, 1.0)
    assert torch.equal(first.abs().sum(-1) > 0, made.first[:, start:])
    assert torch.equal(second.abs().sum(-1) > 0, made.second[:, start:])


def test_the_blank_control_needs_another_problem(model):
    with pytest.raises(UsageError, match="two problems"):
        sample(model, torch.tensor([[5, 6]]), TURNS, blank=True)


def test_a_turn_that_is_not_sampled_is_empty(model):
    _, made = episodes(model, only_first=True)
    assert not made.second.any()
    assert made.answers(1) == episodes(model)[1].answers(1)


class Signs:
    """A tokenizer of nine signs, one a token."""

    def decode(self, tokens, skip_special_tokens=False):
        return "".join("ab#d%*g!i"[token] for token in tokens)

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": ["ab#d%*g!i".index(sign) for sign in text]}


def test_words_end_an_answer_as_a_token_does_and_turn_two_does_not_see_them(model):
    words = ("*!", "#%")
    turns = Turns(correction=ASK, ends=(END,), first=20, second=20, words=words)
    prompts = pad_left([[5, 6, 7], [8], [2, 5]])
    made = sample(
        model,
        prompts,
        turns,
        samples=30,
        temperature=3.0,
        tokenizer=Signs(),
    )
    by_words = 0
    for turn, mask, cut in ((1, made.first, made.cut[:, 0]), (2, made.second, made.cut[:, 1])):
        for row in range(len(made.tokens)):
            text = Signs().decode(made.answers(turn)[row])
            trained = made.tokens[row][mask[row]].tolist()
            assert not any(word in text for word in words)
            assert trained[: len(text)] == made.answers(turn)[row]
            assert len(trained) == len(text) + (not cut[row])  # the answer, and the token that ended it
            if not cut[row] and trained[-1] != END:
                assert trained[-1] in (5, 2)  # the first token of the words
                by_words += 1
    assert by_words > 3
    start = prompts.shape[1]
    for row in range(0, len(made.tokens), 30):
        prompt = prompts[row // 30]
        text = read_alone(model, made, row).tolist()
        assert text == [*prompt[prompt >= 0].tolist(), *made.answers(1)[row], *ASK, *made.answers(2)[row]]
    with torch.no_grad():
        found = answer_log_probs(scores(model, made.tokens, made.seen, start), made.tokens[:, start:])
    for row in range(20):
        prompt = prompts[row // 30]
        context = [*prompt[prompt >= 0].tolist(), *made.answers(1)[row], *ASK]
        answer = made.tokens[row][made.second[row]].tolist()
        logits = model(input_ids=torch.tensor([[*context, *answer]])).logits[0, len(context) - 1 : -1]
        alone = logits.log_softmax(-1).gather(-1, torch.tensor(answer)[:, None])[:, 0]
        torch.testing.assert_close(found[row][made.second[row][start:]], alone, atol=1e-4, rtol=1e-4)
