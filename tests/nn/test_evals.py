"""Perplexity's protocols on models one can follow by hand; the probe on a model that copies; lm-eval."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.nn.decoder import Decoder, DecoderConfig
from harness.nn.evals import by_position, lm_eval_accuracy, lm_eval_scores, nll, retrieval

TEXT = np.random.default_rng(0).integers(0, 5, size=400)


def says(logits):
    return SimpleNamespace(logits=logits)


def unigram(ids):
    """A model without memory: token 0 has log-odds 1, the others 0."""
    return says(torch.tensor([1.0, 0, 0, 0, 0]).expand(*ids.shape, 5))


def context(ids):
    """A model whose loss on token 0 says how many tokens it has seen: log(1 + exp(-seen))."""
    seen = torch.arange(1.0, ids.shape[1] + 1).expand(*ids.shape)
    return says(torch.stack([seen, torch.zeros_like(seen)], dim=-1))


def seen_by(losses):
    return np.round(-np.log(np.expm1(losses.astype(np.float64)))).astype(int).tolist()


ZEROS = np.zeros(11, dtype=np.int64)


def test_windows_that_do_not_overlap_give_each_token_its_own_windows_context():
    assert seen_by(nll(context, ZEROS, 4, targets=10)) == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]


def test_a_sliding_window_scores_its_last_tokens_and_all_of_the_first_window():
    assert seen_by(nll(context, ZEROS, 4, targets=10, stride=1)) == [1, 2, 3] + [4] * 7
    assert seen_by(nll(context, ZEROS, 4, targets=10, stride=2)) == [1, 2, 3, 4, 3, 4, 3, 4, 3, 4]


def test_a_window_longer_than_the_text_sees_all_of_it():
    assert seen_by(nll(context, ZEROS, 64, targets=10)) == list(range(1, 11))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 90), st.integers(1, 7), st.data())
def test_every_length_and_stride_scores_the_same_targets_in_order(length, targets, batch_size, data):
    stride = data.draw(st.none() | st.integers(1, length))
    losses = nll(unigram, TEXT, length, targets=targets, stride=stride, batch_size=batch_size)
    expected = np.where(TEXT[1 : targets + 1] == 0, 0.0, 1.0) + math.log(math.e + 4) - 1
    assert losses.dtype == np.float32
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_losses_of_a_decoder_are_those_of_its_own_windows():
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(vocab_size=5, width=16, layers=1, heads=2, dropout=0.5))
    losses = nll(decoder, TEXT, 50, targets=100)  # in training mode: dropout must be off
    second = torch.from_numpy(TEXT[50:101])[None]
    assert losses[50:].mean() == pytest.approx(decoder.eval()(second, labels=second).loss.item(), rel=1e-5)


def test_too_short_a_text_and_a_stride_too_long_are_refused():
    with pytest.raises(UsageError, match="Scoring 400 tokens needs a text of 401 and this one has 400"):
        nll(unigram, TEXT, 8, targets=400)
    for stride in (0, 9):
        with pytest.raises(UsageError, match="use 1 to 8"):
            nll(unigram, TEXT, 8, targets=20, stride=stride)


def test_loss_by_position_is_the_mean_of_each_bucket():
    losses = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9], dtype=np.float32)  # windows of 4, the last one torn
    found = by_position(losses, 4, [0, 1, 4, 8])
    assert {edges: means.tolist() for edges, means in found.items()} == {(0, 1): [1, 5], (1, 4): [3, 7]}


class Copier:
    """Repeats what followed the last three tokens when it last saw them, at most `reach` tokens ago."""

    def __init__(self, reach):
        self.reach = reach

    def __call__(self, ids):
        logits = torch.zeros(*ids.shape, 1000)
        for row, tokens in enumerate(ids.tolist()):
            for now in range(2, len(tokens)):
                for then in range(now - 1, max(1, now - self.reach) - 1, -1):
                    if tokens[then - 2 : then + 1] == tokens[now - 2 : now + 1]:
                        logits[row, now, tokens[then + 1]] = 9.0
                        break
        return says(logits)


LONG_TEXT = np.random.default_rng(1).integers(0, 1000, size=500)  # hardly any three tokens come twice


def test_a_model_that_copies_gains_within_its_reach_and_nothing_beyond():
    found = retrieval(Copier(reach=40), LONG_TEXT, [20, 40, 41, 80], items=12)
    assert found[20]["accuracy"].mean() == found[40]["accuracy"].mean() == 1.0
    sure = math.log(1000) - (math.log(math.exp(9) + 999) - 9)  # nats saved against a uniform guess
    assert found[20]["gain"].mean() == pytest.approx(sure, rel=1e-3)
    assert found[40]["gain"].mean() == pytest.approx(sure, rel=1e-3)
    for beyond in (41, 80):
        assert found[beyond]["gain"].max() == 0
        assert found[beyond]["accuracy"].max() == 0


def test_a_model_without_memory_gains_exactly_nothing():
    found = retrieval(unigram, TEXT, [16, 64], items=5)
    assert not found[16]["gain"].any()
    assert found[64]["gain"].shape == (5,)


def asked(distances, seed=0):
    """Return the rows that a probe of four items shows a model, with the first showing and with the control."""
    shown = []

    def spy(ids):
        shown.append(ids)
        return says(torch.zeros(*ids.shape, 1000))

    retrieval(spy, LONG_TEXT, distances, items=4, seed=seed)
    return shown


def test_an_item_is_a_pair_then_text_then_the_pair_again_and_its_control_another_pair():
    shown, control = asked([64])
    assert shown.shape == (4, 64 + 16 - 1)
    assert torch.equal(shown[:, :15], shown[:, 64:])
    assert torch.equal(shown[:, 16:], control[:, 16:])
    assert torch.equal(control[:, :16], shown[:, :16].roll(1, dims=0))
    assert "".join(f"{t} " for t in shown[0, 16:64].tolist()) in "".join(f"{t} " for t in LONG_TEXT)


def test_items_are_the_same_whatever_else_is_asked_and_end_on_the_same_text():
    near, _, far, _ = asked([32, 64])
    assert torch.equal(far, asked([64])[0])
    assert torch.equal(near[:, 16:], far[:, 48:])
    assert not torch.equal(far, asked([64], seed=1)[0])


def test_the_probe_refuses_what_cannot_be_asked():
    with pytest.raises(UsageError, match="distance of 8 tokens is within the 16"):
        retrieval(unigram, TEXT, [8, 64])
    with pytest.raises(UsageError, match="a text of 1000 tokens"):
        retrieval(unigram, TEXT, [500])


ALPHABET = "\n abcdefghijklmnopqrstuvwxyz?:"


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    numbers = {mark: i for i, mark in enumerate(["<end>", "<unknown>", *ALPHABET])}
    made = Tokenizer(models.WordLevel(numbers, unk_token="<unknown>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<end>", pad_token="<end>", unk_token="<unknown>"
    )


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    made = Decoder(DecoderConfig(vocab_size=32, width=16, layers=1, heads=2, position="rotary"))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made.eval()


COLOURS = ["blue", "green", "white"]
QUESTIONS = {"ask": ["sky is", "grass is", "snow is", "sea is"], "gold": [0, 1, 2, 0]}
CHOICE = {
    "output_type": "multiple_choice",
    "test_split": "test",
    "doc_to_text": "{{ask}}",
    "doc_to_target": "{{gold}}",
    "doc_to_choice": COLOURS,
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}


def in_memory(columns):
    from datasets import Dataset, DatasetDict

    return lambda **_: DatasetDict(test=Dataset.from_dict(columns))


def right_answers(decoder, tokenizer):
    """Score each choice by hand: 1.0 where the likeliest continuation is the gold one."""
    right = []
    for ask, gold in zip(QUESTIONS["ask"], QUESTIONS["gold"], strict=True):
        scores = []
        for colour in COLOURS:
            ids = torch.tensor([tokenizer(f"{ask} {colour}")["input_ids"]])
            each = decoder(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])
            scores.append(each[len(ask) - 1 :].sum().item())
        right.append(float(int(np.argmax(scores)) == gold))
    return right


def test_a_multiple_choice_task_in_memory_is_scored_as_by_hand(decoder, tokenizer):
    task = {"task": "colours", "custom_dataset": in_memory(QUESTIONS), **CHOICE}
    scores, items = lm_eval_scores(decoder, tokenizer, [task])
    expected = right_answers(decoder, tokenizer)
    assert items["colours"].columns["acc"] == expected
    assert scores["colours"]["acc"] == pytest.approx(np.mean(expected))
    assert set(scores["colours"]) == {"acc", "acc_norm"}
    assert len(set(items["colours"].ids)) == 4


def test_a_limit_takes_the_first_documents_with_the_same_ids(decoder, tokenizer):
    task = {"task": "colours", "custom_dataset": in_memory(QUESTIONS), **CHOICE}
    _, whole = lm_eval_scores(decoder, tokenizer, [task])
    _, some = lm_eval_scores(decoder, tokenizer, [task], limit=2)
    assert list(some["colours"].ids) == list(whole["colours"].ids)[:2]


def test_accuracy_pools_the_documents_of_all_tasks_and_names_a_task_without_one(decoder, tokenizer):
    tasks = [
        {"task": name, "custom_dataset": in_memory(QUESTIONS), **CHOICE} for name in ("colours", "shades")
    ]
    items = lm_eval_accuracy(decoder, tokenizer, tasks)
    assert items.columns["acc"] == 2 * right_answers(decoder, tokenizer)
    assert len(set(items.ids)) == 8
    bare = {**tasks[0], "metric_list": [{"metric": "acc_norm"}]}
    with pytest.raises(UsageError, match="colours has no accuracy, only acc_norm: leave it out"):
        lm_eval_accuracy(decoder, tokenizer, [bare])


def test_a_generation_task_in_memory_reads_what_the_model_writes(decoder, tokenizer):
    ids = torch.tensor([tokenizer("say a:")["input_ids"]])
    written = decoder.generate(ids, max_new_tokens=3, do_sample=False)[0, ids.shape[1] :]
    answers = {"ask": ["say a:", "say a:"], "gold": [tokenizer.decode(written), "never"]}
    task = {
        "task": "echo",
        "custom_dataset": in_memory(answers),
        "output_type": "generate_until",
        "test_split": "test",
        "doc_to_text": "{{ask}}",
        "doc_to_target": "{{gold}}",
        "generation_kwargs": {"until": ["<end>"], "max_gen_toks": 3},
        "metric_list": [{"metric": "exact_match"}],
    }
    scores, items = lm_eval_scores(decoder, tokenizer, [task], max_length=64)
    assert items["echo"].columns["exact_match"] == [1.0, 0.0]
    assert scores["echo"] == {"exact_match": 0.5}


def test_a_log_likelihood_is_not_called_perplexity(decoder, tokenizer):
    """As LAMBADA has it: a perplexity over the documents, made of one log-likelihood each."""
    asked = {"ask": ["red", "green", "blue"], "gold": [" a", " b", " c"]}
    task = {
        "task": "words",
        "custom_dataset": in_memory(asked),
        "output_type": "loglikelihood",
        "test_split": "test",
        "doc_to_text": "{{ask}}",
        "doc_to_target": "{{gold}}",
        "metric_list": [{"metric": "perplexity", "aggregation": "perplexity"}, {"metric": "acc"}],
    }
    scores, items = lm_eval_scores(decoder, tokenizer, [task])
    columns = items["words"].columns
    assert set(columns) == {"log_likelihood", "acc", "truncated"}
    assert scores["words"]["perplexity"] == pytest.approx(np.exp(-np.mean(columns["log_likelihood"])))
    for text, gold, value in zip(*asked.values(), columns["log_likelihood"], strict=True):
        ids = torch.tensor([tokenizer(text + gold)["input_ids"]])
        each = decoder(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])
        assert value == pytest.approx(each[len(text) - 1 :].sum().item(), rel=1e-4)


def test_a_metric_without_a_value_a_document_is_named(decoder, tokenizer):
    metrics = {"metric_list": [{"metric": "mcc"}, {"metric": "acc"}]}
    task = {"task": "colours", "custom_dataset": in_memory(QUESTIONS), **CHOICE, **metrics}
    with pytest.warns(UserWarning, match="colours: mcc stand for all documents together"):
        scores, items = lm_eval_scores(decoder, tokenizer, [task])
    assert set(items["colours"].columns) == {"acc", "truncated"}
    assert set(scores["colours"]) == {"mcc", "acc"}


def test_documents_that_lost_their_beginning_are_counted(decoder, tokenizer):
    long = {**QUESTIONS, "ask": [f"{'x' * 40 * (i % 2)}{ask}" for i, ask in enumerate(QUESTIONS["ask"])]}
    task = {"task": "colours", "custom_dataset": in_memory(long), **CHOICE}
    with pytest.warns(UserWarning, match="colours: 2 of 4 documents are longer than the model reads"):
        _, items = lm_eval_scores(decoder, tokenizer, [task], max_length=32)
    assert items["colours"].columns["truncated"] == [0.0, 1.0, 0.0, 1.0]
    # At the very edge: a model reads as many tokens as it has places, and predicts one more.
    longest = max(len(f"{ask} {colour}") for ask in long["ask"] for colour in COLOURS)
    _, whole = lm_eval_scores(decoder, tokenizer, [task], max_length=longest - 1)
    _, cut = lm_eval_scores(decoder, tokenizer, [task], max_length=longest - 2)
    assert (sum(whole["colours"].columns["truncated"]), sum(cut["colours"].columns["truncated"]) > 0) == (
        0,
        True,
    )


def test_a_prompt_that_leaves_too_little_room_to_write_is_counted(decoder, tokenizer):
    asked = {"ask": ["say", "s" * 30], "gold": ["x", "x"]}
    task = {
        "task": "echo",
        "custom_dataset": in_memory(asked),
        "output_type": "generate_until",
        "test_split": "test",
        "doc_to_text": "{{ask}}",
        "doc_to_target": "{{gold}}",
        "generation_kwargs": {"until": ["<end>"], "max_gen_toks": 3},
        "metric_list": [{"metric": "exact_match"}],
    }
    with pytest.warns(UserWarning, match="echo: 1 of 2 documents"):
        _, items = lm_eval_scores(decoder, tokenizer, [task], max_length=32)
    assert items["echo"].columns["truncated"] == [0.0, 1.0]


def test_a_text_that_is_read_in_windows_is_not_cut_and_has_no_value_a_document(decoder, tokenizer):
    task = {
        "task": "book",
        "custom_dataset": in_memory({"ask": ["a word " * 20, "b"]}),
        "output_type": "loglikelihood_rolling",
        "test_split": "test",
        "doc_to_text": "",
        "doc_to_target": "{{ask}}",
        "metric_list": [{"metric": "word_perplexity"}],
    }
    with pytest.warns(UserWarning, match="book: word_perplexity stand"):
        scores, items = lm_eval_scores(decoder, tokenizer, [task], max_length=32)
    assert scores["book"]["word_perplexity"] > 1
    assert items["book"].columns == {"truncated": [0.0, 0.0]}


def test_a_task_of_a_local_folder_runs_by_name(decoder, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [dict(zip(QUESTIONS, row, strict=True)) for row in zip(*QUESTIONS.values(), strict=True)]
    (tmp_path / "test.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    files = {"data_files": {"test": str(tmp_path / "test.jsonl")}}
    task = {"task": "local_colours", "dataset_path": "json", "dataset_kwargs": files, **CHOICE}
    (tmp_path / "local_colours.yaml").write_text(json.dumps(task))  # JSON is YAML
    scores, _ = lm_eval_scores(decoder, tokenizer, ["local_colours"], task_folder=tmp_path)
    assert scores["local_colours"]["acc"] == pytest.approx(np.mean(right_answers(decoder, tokenizer)))


@pytest.mark.slow
def test_an_unknown_task_names_the_nearest(decoder, tokenizer):
    with pytest.raises(UsageError, match="no task 'hellaswagg': did you mean 'hellaswag'"):
        lm_eval_scores(decoder, tokenizer, ["hellaswagg"])


def test_scoring_leaves_a_training_model_in_training(decoder, tokenizer):
    decoder.train()
    task = {"task": "colours", "custom_dataset": in_memory(QUESTIONS), **CHOICE}
    lm_eval_scores(decoder, tokenizer, [task], limit=1)
    assert decoder.training
    decoder.eval()
