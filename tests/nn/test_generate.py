"""Sampling: right distribution, right end, and nothing decided by who else is in the batch."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.nn.decoder import Decoder, DecoderConfig
from harness.nn.generate import choose, generate, inference

PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3], [3, 1, 4], [5, 8]]


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    made = Decoder(
        DecoderConfig(vocab_size=13, width=16, layers=2, heads=2, feedforward=32, position="t5_bias")
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made.eval()


def test_greedy_agrees_with_transformers_one_prompt_at_a_time(decoder):
    made = generate(decoder, PROMPTS, max_new_tokens=7, temperature=0, batch_size=2)
    for prompt, new in zip(PROMPTS, made, strict=True):
        alone = decoder.generate(torch.tensor([prompt]), max_new_tokens=7, do_sample=False)
        assert new == alone[0, len(prompt) :].tolist()


def test_a_sample_does_not_depend_on_order_batch_or_company(decoder):
    made = generate(decoder, PROMPTS, max_new_tokens=9, seed=1, batch_size=5)
    assert generate(decoder, PROMPTS, max_new_tokens=9, seed=1, batch_size=2) == made
    turned = generate(decoder, PROMPTS[::-1], max_new_tokens=9, seed=1, batch_size=5)
    assert sorted(turned) == sorted(made)
    assert generate(decoder, [PROMPTS[2]], max_new_tokens=9, seed=1) == [made[2]]


def test_another_seed_gives_another_sample_and_equal_prompts_get_their_own(decoder):
    made = generate(decoder, PROMPTS, max_new_tokens=9, seed=1)
    assert generate(decoder, PROMPTS, max_new_tokens=9, seed=2) != made
    assert made[0] != made[3]  # the same prompt, its second turn


def test_samples_follow_the_models_distribution(decoder):
    made = generate(decoder, [[7]] * 4000, max_new_tokens=1, temperature=0.7, batch_size=1000)
    expected = (decoder(torch.tensor([[7]])).logits[0, -1] / 0.7).softmax(-1).detach().numpy()
    seen = np.bincount([new[0] for new in made], minlength=13) / 4000
    assert np.abs(seen - expected).max() < 4 * np.sqrt(0.25 / 4000)  # four standard errors


def test_text_stops_before_the_end_token(decoder):
    free = generate(decoder, PROMPTS, max_new_tokens=12, seed=3)
    end = free[0][4]
    stopped = generate(decoder, PROMPTS, max_new_tokens=12, seed=3, eos_ids=[end])
    assert stopped == [row[: row.index(end)] if end in row else row for row in free]
    assert len(stopped[0]) <= 4


def test_one_of_several_end_tokens_is_enough(decoder):
    assert generate(decoder, PROMPTS, max_new_tokens=3, eos_ids=range(13)) == [[]] * 5


def test_no_new_tokens_and_no_prompts_are_fine(decoder):
    assert generate(decoder, PROMPTS, max_new_tokens=0) == [[]] * 5
    assert generate(decoder, [], max_new_tokens=4) == []


def test_bad_input_is_refused_in_a_sentence(decoder):
    with pytest.raises(UsageError, match="without tokens"):
        generate(decoder, [[1], []], max_new_tokens=2)
    with pytest.raises(UsageError, match="top_p=0"):
        generate(decoder, [[1]], max_new_tokens=2, top_p=0)


def test_a_family_that_counts_positions_itself_works():
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(0)
    bloom = BloomForCausalLM(BloomConfig(vocab_size=13, hidden_size=16, n_layer=1, n_head=2)).eval()
    made = generate(bloom, PROMPTS, max_new_tokens=5, temperature=0)
    alone = bloom.generate(torch.tensor([PROMPTS[2]]), max_new_tokens=5, do_sample=False, eos_token_id=99)
    assert made[2] == alone[0, 6:].tolist()


def test_a_model_with_an_adapter_of_peft_works(decoder):
    import copy

    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(copy.deepcopy(decoder), config)
    assert generate(adapted, PROMPTS, max_new_tokens=5, seed=1) == generate(
        decoder, PROMPTS, max_new_tokens=5, seed=1
    )


def test_inference_leaves_the_model_as_it_was(decoder):
    decoder.train()
    with inference(decoder):
        assert not decoder.training
        assert not decoder(torch.tensor([[1]])).logits.requires_grad
    assert decoder.training
    decoder.eval()


def test_choose_walks_the_tokens_from_the_most_probable():
    logits = torch.tensor([[0.1, 0.6, 0.3]]).log().expand(4, -1)
    assert choose(logits, torch.tensor([0.0, 0.59, 0.61, 0.95])).tolist() == [1, 1, 2, 0]


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    logits = torch.tensor([[0.1, 0.6, 0.3]]).log().expand(3, -1)
    draws = torch.tensor([0.0, 0.66, 0.999])
    assert choose(logits, draws, top_p=0.6).tolist() == [1, 1, 1]
    assert choose(logits, draws, top_p=0.7).tolist() == [1, 1, 2]  # 0.6 / 0.9 of the kept mass is token 1


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-20, 20), min_size=2, max_size=8),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.01, 1),
    st.floats(0.05, 3),
)
@example(logits=[0.0, 1.0], draw=1 - 1e-16, top_p=0.5, temperature=1.0)  # 1 in float32
def test_a_chosen_token_is_never_less_probable_than_one_dropped(logits, draw, top_p, temperature):
    row = torch.tensor([logits])
    token = choose(row, torch.tensor([draw]), temperature, top_p).item()
    probability = (row / temperature).softmax(-1)[0]
    assert probability[probability > probability[token]].sum() < top_p + 1e-5


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_scores_may_be_processed_by_transformers_own(decoder, temperature):
    """Min-p of transformers, after the temperature: what it hides is never drawn, all it keeps is."""
    from transformers import MinPLogitsWarper

    made = generate(
        decoder,
        [[7]] * 3000,
        max_new_tokens=1,
        temperature=temperature,
        process=MinPLogitsWarper(0.3),
        batch_size=1000,
    )
    p = (decoder(torch.tensor([[7]])).logits[0, -1] / temperature).softmax(-1)
    kept = torch.where(p >= 0.3 * p.max(), p, 0.0)
    expected = (kept / kept.sum()).detach().numpy()
    seen = np.bincount([new[0] for new in made], minlength=13) / 3000
    assert np.abs(seen - expected).max() < 4 * np.sqrt(0.25 / 3000)
    assert not seen[expected == 0].any()


def test_a_process_sees_what_there_is_so_far_and_decides_greedy_too(decoder):
    widths = []

    def only(ids, scores):
        widths.append(ids.shape[1])
        return torch.where(torch.arange(13) == 4, scores, -torch.inf)

    assert generate(decoder, [[1, 2]], max_new_tokens=3, temperature=0, process=only) == [[4, 4, 4]]
    assert widths == [2, 3, 4]


def test_a_process_that_changes_nothing_changes_no_sample(decoder):
    plain = generate(decoder, PROMPTS, max_new_tokens=9, seed=1, temperature=1.3)
    assert (
        generate(decoder, PROMPTS, max_new_tokens=9, seed=1, temperature=1.3, process=lambda i, s: s) == plain
    )


def test_progress_counts_prompts(decoder):
    told = []
    generate(decoder, PROMPTS, max_new_tokens=1, batch_size=2, progress=lambda *at: told.append(at))
    assert told == [(2, 5), (4, 5), (5, 5)]
