"""Packing, pruning and the own-question gain: what the student learns from and is judged by."""

import numpy as np
import pytest
import torch
from harness_magpie.evaluation import losses
from harness_magpie.packing import ByTokens, Encoded, answer_loss, as_rows, own_mask, pack, token_losses
from harness_magpie.preparation import tiny_config
from harness_magpie.sets import Pair, shuffled
from harness_magpie.student import Format, kept_layers, prune, renamed, set_trained, vocabulary_of
from hypothesis import given, settings
from hypothesis import strategies as st
from magpie_models import tokenizer
from transformers import LlamaForCausalLM

from harness.data.batches import Shuffled
from harness.errors import UsageError

PAIRS = [
    Encoded([3, 4, 5, 6, 7], 2),
    Encoded([8, 9, 10], 1),
    Encoded([11, 12, 13, 14], 3),
    Encoded([15, 16, 17, 18, 19, 20], 2),
]


def model(seed: int = 0, **more):
    torch.manual_seed(seed)
    config = tiny_config(48)
    for name, value in more.items():
        setattr(config, name, value)
    return LlamaForCausalLM(config).eval()


@given(st.lists(st.integers(1, 20), max_size=30))
@settings(max_examples=60, deadline=None)
def test_packing_loses_nothing_doubles_nothing_and_overfills_nothing(lengths):
    rows = pack(lengths, 20)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(0 < sum(lengths[i] for i in row) <= 20 for row in rows)
    # First fit: no two rows could have been one.
    assert sum(2 * sum(lengths[i] for i in row) <= 20 for row in rows) <= 1


def test_an_item_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match="item 1 has 9 tokens"):
        pack([3, 9], 8)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.floats(0.5, 25), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_batches_by_tokens_give_every_set_as_many_answer_tokens_a_step(answers, tokens, seed):
    """However long its answers are: after n batches n times as many, and at most what was not to be cut more."""
    pairs = [Encoded([1, 2] + [10 + i] * length, 2) for i, length in enumerate(answers)]
    batches = ByTokens(pairs, tokens, seed, 16)
    given, seen = 0, []
    for n in range(1, 9):
        labels = next(batches)["labels"]
        targets = labels[labels != -100].tolist()
        assert targets  # no batch is empty
        given += len(targets)
        seen += [token - 10 for token in dict.fromkeys(targets)]
        if tokens >= max(answers):
            assert n * tokens <= given < n * tokens + max(answers)
    whole = len(answers)
    if tokens >= sum(answers):  # every pass has every pair once
        assert set(seen[:whole]) == set(range(whole))


def test_batches_by_tokens_go_on_where_another_iterator_was():
    made = [ByTokens(PAIRS, 5, 3, 32) for _ in range(2)]
    first = [next(made[0])["input_ids"].tolist() for _ in range(7)]
    made[1].load_state_dict({"drawn": 4})
    assert [next(made[1])["input_ids"].tolist() for _ in range(3)] == first[4:]
    other = ByTokens(PAIRS, 5, 4, 32)
    assert [next(other)["input_ids"].tolist() for _ in range(7)] != first


def test_a_packed_pair_has_the_loss_it_has_alone():
    student = model()
    packed = token_losses(student, as_rows(PAIRS, 32))
    alone = [token_losses(student, as_rows([pair], 32)) for pair in PAIRS]
    assert len(packed) == 1
    assert float(packed.sum().detach()) == pytest.approx(
        float(sum(a.sum() for a in alone).detach()), rel=1e-5
    )


def test_the_mask_of_packed_pairs_is_the_one_transformers_makes():
    student, batch = model(), as_rows(PAIRS, 16)
    with torch.inference_mode():
        own = token_losses(student, {**batch, "attention_mask": own_mask(batch["position_ids"])})
        assert torch.allclose(own, token_losses(student, batch), atol=1e-6)
    assert own_mask(torch.tensor([[0, 1, 0]]))[0, 0].tolist() == [
        [True, False, False],
        [True, True, False],
        [False, False, True],
    ]


def test_the_loss_is_of_answers_alone_and_of_all_their_tokens_alike():
    student = model()
    batch = as_rows(PAIRS, 8)  # several rows, unequal numbers of answer tokens
    assert len(batch["input_ids"]) > 1
    targets = sorted(batch["labels"][batch["labels"] != -100].tolist())
    assert targets == sorted(token for pair in PAIRS for token in pair.ids[pair.given :])
    each = [token_losses(student, as_rows([pair], 32)) for pair in PAIRS]
    mean = float(sum(a.sum() for a in each).detach()) / len(targets)
    assert float(answer_loss(student, batch)) == pytest.approx(mean, rel=1e-5)


def test_a_batch_may_be_cut_into_pieces():
    student = model()
    batch = as_rows(PAIRS, 8)
    rows = len(batch["input_ids"])
    pieces = [
        float(answer_loss(student, {n: t[i : i + 1] for n, t in batch.items()})) / rows for i in range(rows)
    ]
    assert sum(pieces) == pytest.approx(float(answer_loss(student, batch)), rel=1e-5)


def test_batches_of_a_seed_are_the_same_and_go_on_where_they_were():
    one, other = (Shuffled(PAIRS, 2, 1, lambda pairs: as_rows(pairs, 32)) for _ in range(2))
    first = next(one)
    assert torch.equal(first["input_ids"], next(other)["input_ids"])
    second = next(one)
    again = Shuffled(PAIRS, 2, 1, lambda pairs: as_rows(pairs, 32))
    again.load_state_dict({"drawn": 1})
    assert torch.equal(second["input_ids"], next(again)["input_ids"])
    seen = torch.cat([first["labels"].flatten(), second["labels"].flatten()])
    assert sorted(t for t in seen.tolist() if t >= 0) == sorted(t for p in PAIRS for t in p.ids[p.given :])


@pytest.mark.parametrize("tied", [True, False])
def test_pruning_to_everything_changes_nothing_and_a_cut_vocabulary_renames(tied):
    whole, cut = model(tie_word_embeddings=tied), model(tie_word_embeddings=tied)
    vocabulary = vocabulary_of(PAIRS)
    prune(cut, [0, 1, 2], vocabulary)
    ids = torch.tensor([PAIRS[0].ids])
    mine = torch.tensor([renamed(PAIRS, vocabulary)[0].ids])
    with torch.inference_mode():
        want = whole(ids).logits[..., vocabulary]
        assert torch.allclose(cut(mine).logits, want, atol=1e-6)
    assert (cut.get_input_embeddings().weight is cut.get_output_embeddings().weight) == tied


def test_pruning_keeps_the_layers_it_names():
    whole, cut = model(), model()
    prune(cut, [0, 2], None)
    assert cut.config.num_hidden_layers == 2
    for place, layer in enumerate((0, 2)):
        for one, other in zip(
            cut.model.layers[place].parameters(), whole.model.layers[layer].parameters(), strict=True
        ):
            assert torch.equal(one, other)
    cut.generate(torch.tensor([[3, 4]]), max_new_tokens=3, do_sample=False)  # with a cache of two layers


def test_first_layers_and_embedding_do_not_move():
    class Settings:
        lora_rank, frozen_layers = 0, 1

    student = set_trained(prune(model(), [0, 2], list(range(20))), Settings(), True)
    trained = {n for n, p in student.named_parameters() if p.requires_grad}
    assert not any(n.startswith(("model.layers.0.", "model.embed_tokens", "lm_head")) for n in trained)
    assert any(n.startswith("model.layers.1.") for n in trained)
    Settings.frozen_layers = 2
    with pytest.raises(UsageError, match="leaves none of 2 layers"):
        set_trained(student, Settings(), True)


def test_a_lora_tunes_little():
    class Settings:
        lora_rank, frozen_layers = 2, 0

    student = set_trained(model(), Settings(), False)
    assert {n.split(".")[-3] for n, p in student.named_parameters() if p.requires_grad} == {
        "lora_A",
        "lora_B",
    }


@pytest.mark.parametrize(("words", "found"), [("0-2,5", [0, 1, 2, 5]), ("", [0, 1, 2, 3, 4, 5]), ("3", [3])])
def test_layers_are_named_by_ranges(words, found):
    assert kept_layers(words, 6) == found


@pytest.mark.parametrize("words", ["2-1,0", "0-6", "a", "1,1"])
def test_layers_that_are_none_are_named(words):
    with pytest.raises(UsageError, match="keep_layers"):
        kept_layers(words, 6)


@given(st.integers(2, 40), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_shuffled_answers_are_the_same_ones_and_none_is_at_home(number, seed):
    pairs = [Pair(f"q{i}", f"a{i}", bool(i % 2)) for i in range(number)]
    found = shuffled(pairs, seed)
    assert [pair.question for pair in found] == [pair.question for pair in pairs]
    assert sorted(pair.answer for pair in found) == sorted(pair.answer for pair in pairs)
    assert all(ours.answer != theirs.answer for ours, theirs in zip(found, pairs, strict=True))
    finished = {pair.answer: pair.finished for pair in pairs}
    assert all(pair.finished == finished[pair.answer] for pair in found)


def test_losses_by_item_are_means_over_answer_tokens():
    student = model()
    found = losses(student, PAIRS, "cpu")
    for value, pair in zip(found, PAIRS, strict=True):
        logits = student(torch.tensor([pair.ids])).logits.log_softmax(-1)[0]
        want = [-float(logits[t - 1, pair.ids[t]]) for t in range(pair.given, len(pair.ids))]
        assert value == pytest.approx(np.mean(want), rel=1e-4)


def test_a_cut_answer_does_not_end():
    made = tokenizer("SmolLM2")
    form = Format(made, "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", made.eos_token_id)
    whole = form.encode(Pair("Why?", "Because.", True), 20)
    assert (
        made.decode(whole.ids)
        == "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nBecause.<|im_end|>"
    )
    assert made.decode(whole.ids[: whole.given]).endswith("assistant\n")
    for pair, most in ((Pair("Why?", "Because.", False), 20), (Pair("Why?", "Because.", True), 3)):
        assert form.encode(pair, most).ids[-1] != made.eos_token_id


def test_a_student_that_learns_pairs_gains_from_the_question_and_one_of_shuffled_answers_less():
    """The effect itself, on a toy: the answer repeats the question."""
    draw = np.random.default_rng(0)
    questions = [draw.integers(3, 40, 4).tolist() for _ in range(60)]
    pairs = [Pair(str(i), str(i), True) for i in range(60)]

    def encoded(mapping):
        return [Encoded([*questions[i], 2, *questions[mapping[i]]], 5) for i in range(60)]

    own = list(range(60))
    order = [int(pair.answer) for pair in shuffled(pairs, 0)]
    gains = []
    for mapping in (own, order):
        student = model(seed=1, num_hidden_layers=2, hidden_size=32).train()
        batches = Shuffled(encoded(mapping)[:50], 10, 0, lambda pairs: as_rows(pairs, 32))
        optimiser = torch.optim.AdamW(student.parameters(), lr=1e-2)
        for _ in range(60):
            answer_loss(student, next(batches)).backward()
            optimiser.step()
            optimiser.zero_grad()
        student.eval()
        test = encoded(own)[:50]
        other = [Encoded([*test[(i + 7) % 50].ids[:5], *one.ids[5:]], 5) for i, one in enumerate(test)]
        gains.append(float((losses(student, other, "cpu") - losses(student, test, "cpu")).mean()))
    assert gains[0] > gains[1] + 0.5
