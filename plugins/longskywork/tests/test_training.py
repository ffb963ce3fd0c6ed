"""What is trained: masks, losses and the small language, each against hand-made numbers or another way."""

import numpy as np
import pytest
import torch
from harness_longskywork.evaluation import partners, scored
from harness_longskywork.models import small
from harness_longskywork.settings import LongSkywork, Order, Task
from harness_longskywork.symbols import IGNORED, Symbols, facts, needles, repeats, tables
from harness_longskywork.training import document_mask, in_pieces, loss, places, summed, windows

KINDS = [np.arange(low, high) for low, high in ((0, 40), (40, 60), (60, 90), (90, 98))]
SYMBOLS = Symbols(*KINDS, ask=98, size=99)
PROSE = np.random.default_rng(0).integers(40, size=4000)
TASK = Task(document=48, window=144, windows=2)


def random():
    return np.random.default_rng(5)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return small(TASK, SYMBOLS.size).eval()


def test_the_second_half_states_the_same_facts_again():
    made = facts(random(), SYMBOLS, PROSE, 120)
    ids, returning = made["input_ids"], made["returning"]
    assert len(ids) == 120
    assert returning.sum() == 15
    assert not returning[:60].any()

    def stated(half):
        fact = half.reshape(5, 12)
        return {tuple(row) for row in fact[:, 8:]}

    assert stated(ids[:60]) == stated(ids[60:])
    assert set(ids[returning]) <= set(SYMBOLS.numbers)


def test_a_target_returns_what_stood_before():
    made = repeats(random(), SYMBOLS, 20, 40)
    for ids, labels in zip(made["input_ids"], made["labels"], strict=True):
        period = int((labels == IGNORED).sum())
        assert 6 <= period <= 20
        assert (ids[period:] == ids[:-period]).all()
        assert (labels[period:] == ids[period:]).all()


@pytest.mark.parametrize("records", [False, True])
def test_every_question_of_a_table_has_its_cells_value(records):
    made = tables(random(), SYMBOLS, 6, 3, records, 4, 5)
    for ids, labels in zip(made["input_ids"].tolist(), made["labels"].tolist(), strict=True):
        cells = {}
        body = 6 * (7 if records else 9)
        for start in range(0, body, 7 if records else 3):
            row = ids[start : start + (7 if records else 3)]
            cells |= {(row[0], row[c]): row[c + 1] for c in range(1, len(row), 2)}
        answers = [place for place, label in enumerate(labels) if label != IGNORED]
        assert len(answers) == 5
        assert min(answers) > body
        for place in answers:
            asked = (ids[place - 1], ids[place - 2]) if records else (ids[place - 2], ids[place - 1])
            assert cells[asked] == ids[place] == labels[place]


@pytest.mark.parametrize("depth", [0.0, 0.5, 1.0])
def test_a_needle_lies_where_it_was_put(depth):
    made = needles(random(), SYMBOLS, PROSE, 40, 8, depth)
    for ids, labels in zip(made["input_ids"].tolist(), made["labels"].tolist(), strict=True):
        assert len(ids) == 40 + 4 * 2 + 3
        assert ids[-3] == SYMBOLS.ask
        first = ids.index(ids[-2])
        assert ids[first + 1] == ids[-1] == labels[-1]
        words = sum(token < 40 for token in ids[:first])
        assert words == round(depth * 40)


def test_variants_of_needles_ask_two_values_or_two_keys():
    value = needles(random(), SYMBOLS, PROSE, 40, 3, variant="value")
    query = needles(random(), SYMBOLS, PROSE, 40, 3, variant="query")
    assert ((value["labels"] != IGNORED).sum(1) == 2).all()
    assert ((query["labels"] != IGNORED).sum(1) == 2).all()
    assert (query["input_ids"] == SYMBOLS.ask).sum() == 6


def test_a_document_mask_goes_by_document_and_not_by_run():
    """A1 B1 A2: the second chunk of A sees the first, across B."""
    seen = document_mask(torch.tensor([[0, 1, 0]]))[0, 0]
    assert seen.tolist() == [[True, False, False], [False, True, False], [True, False, True]]


def test_masked_logits_of_interleaved_documents_are_those_of_each_document_at_its_places(model):
    made = windows(random(), SYMBOLS, PROSE, TASK, LongSkywork(masked=True))
    ids, segments = torch.tensor(made["input_ids"][:1]), torch.tensor(made["segments"][:1])
    with torch.no_grad():
        mask = document_mask(segments)
        whole = model(input_ids=ids, attention_mask=mask, position_ids=places(ids)).logits
        for document in segments.unique():
            own = segments[0] == document
            alone = model(
                input_ids=ids[:, own],
                position_ids=places(ids)[:, own],
                attention_mask=torch.ones_like(ids[:, own]),
            ).logits
            assert torch.allclose(whole[:, own], alone, atol=1e-5)


def test_positions_run_over_the_window():
    assert places(torch.zeros(2, 5)).tolist() == [[0, 1, 2, 3, 4]]


def test_arms_see_the_same_documents_in_another_order():
    arms = [
        windows(random(), SYMBOLS, PROSE, TASK, LongSkywork(order=order))
        for order in Order
        if order.name != "none"
    ]
    first, second = (arm["input_ids"] for arm in arms)
    assert first.shape == second.shape == (2, 144)
    assert (first != second).any()
    assert (np.sort(first, axis=1) == np.sort(second, axis=1)).all()


def test_answers_weigh_alike_whatever_the_length_of_their_rows(model):
    ids = torch.randint(SYMBOLS.size, (2, 30))
    labels = torch.full_like(ids, IGNORED)
    labels[0, 5], labels[1, 10:20] = ids[0, 5], ids[1, 10:20]
    found = loss(model, {"input_ids": ids, "labels": labels})
    logits = model(input_ids=ids[:, :-1]).logits
    each = [
        -logits[r, t - 1].log_softmax(-1)[ids[r, t]] for r, t in [(0, 5), *((1, t) for t in range(10, 20))]
    ]
    assert found.item() == pytest.approx(torch.stack(each).mean().item(), abs=1e-5)


def test_a_loss_in_pieces_is_the_whole_loss_with_its_gradient():
    torch.manual_seed(0)
    hidden = torch.randn(2, 11, 6, requires_grad=True)
    head = torch.nn.Linear(6, 9)
    labels = torch.randint(9, (2, 11))
    labels[0, :3] = IGNORED
    whole = summed(head(hidden), labels)
    (gradient,) = torch.autograd.grad(whole, hidden)
    pieces = in_pieces(hidden, head, labels, piece=4)
    assert pieces.item() == pytest.approx(whole.item(), rel=1e-6)
    assert torch.allclose(torch.autograd.grad(pieces, hidden)[0], gradient, atol=1e-6)


def test_long_rows_go_the_same_way(model, monkeypatch):
    from harness_longskywork import training

    ids = torch.randint(SYMBOLS.size, (2, 30))
    batch = {"input_ids": ids, "labels": ids}
    whole = loss(model, batch).item()
    monkeypatch.setattr(training, "PIECE", 8)
    assert loss(model, batch).item() == pytest.approx(whole, rel=1e-5)


def test_own_and_swapped_windows_differ_in_the_first_half_alone():
    own, swapped = partners(SYMBOLS, PROSE, 48, between=2, items=5, seed=0)
    same = own["input_ids"] == swapped["input_ids"]
    assert own["input_ids"].shape == (5, 96)
    assert same[:, 24:].all()
    assert not same[:, :24].all()
    assert (own["labels"] == swapped["labels"]).all()
    assert ((own["labels"] != IGNORED).sum(1) == 6).all()
    assert (own["labels"][:, :72] == IGNORED).all()


def test_scores_of_a_model_that_knows_are_perfect():
    class Knows(torch.nn.Module):
        """Says at every place that the next token is the one after this one."""

        device = torch.device("cpu")

        def forward(self, input_ids, **_):
            logits = torch.nn.functional.one_hot((input_ids + 1) % 10, 10).float() * 50
            return type("Out", (), {"logits": logits})

    ids = np.arange(8)[None] % 10
    right = scored(Knows(), {"input_ids": ids, "labels": ids})
    assert right["exact"][0] == right["accuracy"][0] == 1
    assert right["loss"][0] < 1e-6
    wrong = ids.copy()
    wrong[0, 3] = 9
    half = scored(Knows(), {"input_ids": ids, "labels": wrong})
    assert half["exact"][0] == 0
    assert half["accuracy"][0] == pytest.approx(6 / 7)
