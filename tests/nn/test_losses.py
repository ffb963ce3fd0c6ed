"""The loss of next tokens row by row: transformers' own where rows are alike, and untouched by padding or pieces."""

import numpy as np
import torch

from harness.data.batches import in_order
from harness.data.pairs import Pair, padded
from harness.nn import Decoder, DecoderConfig
from harness.nn.losses import losses, next_token_loss, row_losses

PAIRS = [Pair([5, 9, 2, 7, 7, 3], 3), Pair([1, 4, 8], 1), Pair([2, 2, 6, 1], 2)]


def model() -> Decoder:
    torch.manual_seed(0)
    return Decoder(
        DecoderConfig(vocab_size=11, width=16, layers=1, heads=2, length=8, position="rotary")
    ).eval()


def test_a_rows_loss_is_what_transformers_says_of_it_alone():
    made = model()
    together = row_losses(made, padded(PAIRS))
    for pair, ours in zip(PAIRS, together.tolist(), strict=True):
        ids = torch.tensor([pair.ids])
        labels = torch.tensor([[-100] * pair.given + pair.ids[pair.given :]])
        assert abs(made(input_ids=ids, labels=labels).loss.item() - ours) < 1e-5


def test_rows_count_alike_so_a_batch_may_be_cut():
    made, batch = model(), padded(PAIRS)
    whole = next_token_loss(made, batch).item()
    pieces = [next_token_loss(made, {n: t[i : i + 1] for n, t in batch.items()}).item() for i in range(3)]
    assert abs(np.mean(pieces) - whole) < 1e-6


def test_all_rows_are_judged_once_in_order():
    made = model()
    alone = [losses(made, [padded([pair])])[0] for pair in PAIRS]
    assert np.allclose(losses(made, in_order(PAIRS, 2, padded)), alone, atol=1e-6)


def test_embeddings_may_stand_for_tokens():
    made, batch = model(), padded(PAIRS)
    given = {**batch, "inputs_embeds": made.embedding(batch["input_ids"])}
    del given["input_ids"]
    assert torch.allclose(row_losses(made, given), row_losses(made, batch))
