"""The loss: values one can work out by hand, what weights and masks do, and the same gradients in pieces."""

import math

import numpy as np
import pytest
import torch
from harness_simcse import supervised_loss, unsupervised_loss
from harness_simcse.patient import set_dropout
from harness_simcse.preparation import tiny_config
from harness_simcse.settings import SimCSE
from harness_simcse.training import NoText, Views, loss_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.nn.encoder import Encoder


@given(n=st.integers(2, 20), temperature=st.floats(0.01, 2.0))
def test_equal_vectors_lose_log_n(n, temperature):
    z = torch.ones(n, 3)
    assert unsupervised_loss(z, z, temperature).item() == pytest.approx(math.log(n), abs=1e-5)
    assert supervised_loss(z, z, z, temperature).item() == pytest.approx(math.log(2 * n), abs=1e-5)


def test_two_sentences_by_hand():
    # cosines [[1, 0], [0.6, 0.8]] at temperature 0.5: rows [2, 0] and [1.2, 1.6]
    z1 = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    z2 = torch.eye(2)
    rows = [math.log(1 + math.exp(0.0 - 2.0)), math.log(1 + math.exp(1.2 - 1.6))]
    assert unsupervised_loss(z1, z2, 0.5).item() == pytest.approx(sum(rows) / 2, abs=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.7, -0.7])
def test_two_by_four_with_hard_negatives_by_hand(weight):
    # z3 = [[0, 1], [-1, 0]]: cosines of z1 with it [[0, -1], [0.8, -0.6]]; the weight is on the diagonal alone
    z1 = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    z2, z3 = torch.eye(2), torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    logits = [[2.0, 0.0, 0.0 + weight, -2.0], [1.2, 1.6, 1.6, -1.2 + weight]]
    rows = [math.log(sum(map(math.exp, row))) - row[i] for i, row in enumerate(logits)]
    loss = supervised_loss(z1, z2, z3, 0.5, hard_negative_weight=weight)
    assert loss.item() == pytest.approx(sum(rows) / 2, abs=1e-6)


def test_the_weight_is_a_factor_on_the_own_contradictions_term():
    torch.manual_seed(0)
    z1, z2, z3 = torch.randn(3, 5, 8)
    alpha = 3.0
    cos = nn.functional.cosine_similarity
    rows = []
    for i in range(5):
        positive = [math.exp(cos(z1[i], z2[j], dim=0) / 0.05) for j in range(5)]
        negative = [(alpha if i == j else 1) * math.exp(cos(z1[i], z3[j], dim=0) / 0.05) for j in range(5)]
        rows.append(-math.log(positive[i] / (sum(positive) + sum(negative))))
    assert supervised_loss(z1, z2, z3, 0.05, math.log(alpha)).item() == pytest.approx(np.mean(rows), rel=1e-4)


@settings(deadline=None)
@given(scale=st.floats(0.01, 100.0))
def test_only_directions_count(scale):
    torch.manual_seed(0)
    z1, z2 = torch.randn(2, 4, 6)
    assert unsupervised_loss(scale * z1, z2).item() == pytest.approx(
        unsupervised_loss(z1, z2).item(), rel=1e-4
    )


def test_rows_of_a_larger_batch_are_found_where_they_begin():
    torch.manual_seed(0)
    z1, z2, z3 = torch.randn(3, 6, 4)
    whole = supervised_loss(z1, z2, z3, 0.1, 0.3)
    shares = [supervised_loss(z1[i : i + 2], z2, z3, 0.1, 0.3, first=i) for i in (0, 2, 4)]
    assert torch.stack(shares).mean().item() == pytest.approx(whole.item(), rel=1e-5)


def bert(dropout: float) -> Encoder:
    from transformers import BertModel

    torch.manual_seed(0)
    encoder = Encoder(BertModel(tiny_config(), add_pooling_layer=False), NoText(), "mean")
    set_dropout(encoder, dropout)
    return encoder


def batch(rows: int, views: int = 2) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(4, 1000, (rows, 1, 7)).repeat(1, views, 1)
    mask = torch.ones_like(ids)
    mask[::2, :, 5:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def gradients(
    model: Views, given: dict[str, torch.Tensor], method: SimCSE | None = None
) -> list[torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(2)
    loss = loss_of(method or SimCSE())(model, given)
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("piece", [1, 3, 8, 20])
def test_pieces_with_cached_gradients_give_the_whole_batch_s_gradients(piece):
    whole, cut = Views(bert(0.0)).train(), Views(bert(0.0), piece=piece).train()
    for a, b in zip(gradients(whole, batch(16)), gradients(cut, batch(16)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_piece_is_embedded_again_with_the_same_dropout_masks():
    # The same pieces, once keeping activations and once not: any other mask would give other gradients.
    class Kept(Views):
        def forward(self, input_ids, attention_mask):
            pieces = zip(input_ids.split(4), attention_mask.split(4), strict=True)
            return torch.cat([self.embed(*piece) for piece in pieces])

    cached, kept = Views(bert(0.1), piece=4).train(), Kept(bert(0.1)).train()
    for a, b in zip(gradients(cached, batch(16)), gradients(kept, batch(16)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_dropout_makes_two_views_of_a_sentence_and_one_mask_makes_one():
    encoder = Views(bert(0.1)).train()
    z = encoder(**batch(4))
    assert (z[:, 0] - z[:, 1]).abs().max() > 1e-3
    one = encoder(**batch(4, views=1))
    assert one.shape[1] == 1  # its own pair: the views are equal by construction
    loss = loss_of(SimCSE(same_mask=True))
    torch.manual_seed(3)
    found = loss(encoder, batch(4, views=1))
    torch.manual_seed(3)
    z = encoder(**batch(4, views=1))[:, 0]
    assert found.item() == unsupervised_loss(z, z).item()


def test_no_dropout_makes_equal_views_everywhere_in_the_encoder():
    z = Views(bert(0.0)).train()(**batch(4))
    torch.testing.assert_close(z[:, 0], z[:, 1], atol=0, rtol=0)
    set_dropout(encoder := bert(0.0), 0.3)
    assert {part.p for part in encoder.modules() if isinstance(part, nn.Dropout)} == {0.3}


def test_a_few_steps_on_random_vectors_lower_the_loss():
    torch.manual_seed(0)
    x = torch.randn(32, 64) + 2.0  # a cone: the mean cosine is 0.8
    layer = nn.Linear(64, 64)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        z1, z2 = (layer(nn.functional.dropout(x, 0.1)) for _ in range(2))
        loss = unsupervised_loss(z1, z2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
