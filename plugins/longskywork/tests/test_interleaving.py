"""Chunks dealt out: what the paper's picture says, and what users of other implementations ran into."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from harness_longskywork import interleave
from harness_longskywork.interleaving import distances, gather
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from harness.errors import UsageError


def restore(windows):
    """Return for each document its tokens' places in the stream of windows, as (place, document offset) runs."""
    found, place = {}, 0
    for pieces in windows:
        for document, start, stop in pieces.tolist():
            found.setdefault(document, []).append((start, stop, place))
            place += stop - start
    return {
        number: [(place + i, start + i) for start, stop, place in sorted(runs) for i in range(stop - start)]
        for number, runs in found.items()
    }


def tokens(pieces, documents):
    return gather(documents, [pieces]).tolist()


def letters(pieces):
    """Name each chunk by its document's letter and its number: A1 B1 ..."""
    seen: dict[int, int] = {}
    names = []
    for document, _, _ in pieces:
        seen[document] = seen.get(document, 0) + 1
        names.append(f"{'ABCDEFGH'[document]}{seen[document]}")
    return " ".join(names)


def test_first_chunks_come_in_order_then_second_ones():
    (window,) = interleave([range(10)] * 3, window=30, chunks=3, seed=0)
    assert letters(window) == "A1 B1 C1 A2 B2 C2 A3 B3 C3"
    (window,) = interleave([range(9), range(4), range(17)], window=30, chunks=2, seed=0)
    assert letters(window) == "A1 B1 C1 A2 B2 C2"


def test_one_chunk_is_concatenation():
    documents = [[1, 2, 3], [4, 5], [6, 7, 8, 9]]
    found = list(interleave(documents, window=9, chunks=1, seed=0))
    assert [tokens(window, documents) for window in found] == [[1, 2, 3, 4, 5, 6, 7, 8, 9]]


lengths = st.lists(st.integers(4, 40), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(lengths, st.integers(4, 60), st.integers(1, 4), st.integers(0, 5))
def test_every_token_is_used_once_in_full_windows_and_in_its_documents_order(sizes, window, chunks, seed):
    edges = np.cumsum([0, *sizes])
    documents = [list(range(low, high)) for low, high in pairwise(edges)]
    windows = list(interleave(documents, window, chunks, seed))
    flat = [tokens(pieces, documents) for pieces in windows]
    assert sorted(token for part in flat for token in part) == list(range(edges[-1]))
    assert all(len(part) == window for part in flat[:-1])
    assert len(flat[-1]) == (edges[-1] % window or window)
    stream = [token for part in flat for token in part]
    for number, places in restore(windows).items():
        assert [stream[place] for place, _ in places] == documents[number]
    for pieces in windows:
        starts: dict[int, int] = {}
        for document, start, stop in pieces:
            assert starts.get(document, -1) <= start < stop
            starts[document] = stop


def test_a_partner_lies_the_window_less_one_document_over_the_chunks_away():
    """The median distance is L/m (1 - 1/n), here within 5 %."""
    for documents, chunks in ((8, 2), (32, 2), (32, 4)):
        window = 60 * documents
        each = [
            distance
            for seed in range(60)
            for pieces in interleave([range(60)] * documents, window, chunks, seed)
            for distance in distances(pieces)
        ]
        assert np.median(each) == pytest.approx(window / chunks * (1 - 1 / documents), rel=0.05)


def test_cuts_are_random_and_follow_the_seed():
    def cuts(seed):
        return [
            stop
            for w in interleave([range(100)] * 50, 1000, 2, seed)
            for _, start, stop in w.tolist()
            if start == 0
        ]

    assert cuts(3) == cuts(3) != cuts(4)
    assert min(cuts(0)) < 15
    assert max(cuts(0)) > 85
    assert len(set(cuts(0))) > 25


def test_every_set_of_places_to_cut_is_as_likely_as_in_a_draw_of_one_document_after_another():
    documents, length, chunks = 20_000, 6, 3
    (window,) = interleave([range(length)] * documents, documents * length, chunks, seed=0)
    found = np.sort(window[: 2 * documents, 2].reshape(2, documents), axis=0).T
    random = np.random.default_rng(1)
    one_by_one = [np.sort(random.choice(length - 1, chunks - 1, replace=False)) + 1 for _ in range(documents)]
    counts = [np.unique(cuts, axis=0, return_counts=True) for cuts in (found, np.array(one_by_one))]
    assert counts[0][0].tolist() == counts[1][0].tolist() == [list(c) for c in combinations(range(1, 6), 2)]
    assert chisquare(counts[0][1]).pvalue > 0.01
    assert chi2_contingency([number for _, number in counts]).pvalue > 0.01


@settings(max_examples=40, deadline=None)
@given(lengths, st.integers(4, 60), st.integers(1, 4), st.integers(2, 9))
def test_reading_ahead_changes_no_window(sizes, window, chunks, ahead):
    documents = [range(size) for size in sizes]
    one, many = (list(interleave(documents, window, chunks, 0, ahead=n)) for n in (1, ahead))
    assert [pieces.tolist() for pieces in one] == [pieces.tolist() for pieces in many]


def test_a_part_with_fewer_tokens_than_chunks_is_cut_into_single_ones():
    windows = list(interleave([range(5), range(5)], window=7, chunks=4, seed=0))
    assert [piece for piece in windows[0].tolist() if piece[0] == 1] == [[1, 0, 1], [1, 1, 2]]
    assert windows[1].tolist() == [[1, 2, 3], [1, 3, 4], [1, 4, 5]]


def test_a_windows_last_document_goes_on_in_the_next():
    windows = list(interleave([range(6), range(6)], window=8, chunks=2, seed=0))
    assert sorted(windows[0].tolist())[-1] == [1, 1, 2]
    assert set(windows[1][:, 0]) == {1}
    assert (windows[1][:, 2] - windows[1][:, 1]).sum() == 4


def test_it_reads_lengths_alone_and_no_further_than_it_must():
    class Sized:
        def __len__(self):
            return 10

    def endless():
        while True:
            yield Sized()

    assert len(next(interleave(endless(), window=35, chunks=2, seed=0))) == 8


def test_neighbouring_chunks_of_one_document_are_counted_as_distance_zero():
    (window,) = interleave([range(50)], window=50, chunks=2, seed=0)
    assert distances(window) == [0]


@pytest.mark.parametrize(
    ("documents", "window", "chunks", "words"),
    [
        ([range(5), range(1)], 10, 2, "document 1 has 1 tokens, fewer than its 2 chunks"),
        ([range(5)], 1, 2, "a window of 1 tokens cannot hold 2 chunks: raise window or lower chunks"),
        ([range(5)], 10, 0, "cannot be cut into 0 chunks: use 1"),
    ],
)
def test_what_cannot_be_dealt_out_is_named(documents, window, chunks, words):
    with pytest.raises(UsageError, match=words):
        list(interleave(documents, window, chunks, 0))


def at_half(documents, window, chunks, seed):
    for pieces in interleave(documents, window, 1, seed):
        d, a, b = pieces.T
        yield np.concatenate([np.stack([d, a, (a + b) // 2], 1), np.stack([d, (a + b) // 2, b], 1)])


def truncating(documents, window, chunks, seed):
    """Cut every document to an equal share of the window, as a public data set class does."""
    share = max(chunks, window // len(documents))
    yield from interleave([document[:share] for document in documents], window, chunks, seed)


def drawn_from_the_left(documents, window, chunks, seed):
    """Draw each cut from what the cut before it left: every place can be cut, and the right ones are cut more."""
    random = np.random.default_rng(seed)
    for pieces in interleave(documents, window, 1, seed):
        edges = [pieces[:, 1]]
        for cut in range(1, chunks):
            edges.append(random.integers(edges[-1] + 1, pieces[:, 2] - chunks + cut + 1))
        edges.append(pieces[:, 2])
        yield np.concatenate([np.stack([pieces[:, 0], a, b], 1) for a, b in pairwise(edges)])


def shuffled(documents, window, chunks, seed):
    for pieces in interleave(documents, window, chunks, seed):
        yield np.random.default_rng(0).permutation(pieces)


@pytest.mark.parametrize(
    ("mutant", "law"),
    [
        (at_half, lambda: test_cuts_are_random_and_follow_the_seed()),
        (truncating, lambda: test_every_token_is_used_once_in_full_windows_and_in_its_documents_order()),
        (
            drawn_from_the_left,
            lambda: test_every_set_of_places_to_cut_is_as_likely_as_in_a_draw_of_one_document_after_another(),
        ),
        (shuffled, lambda: test_first_chunks_come_in_order_then_second_ones()),
    ],
)
def test_a_known_error_breaks_a_law(mutant, law):
    original = globals()["interleave"]
    globals()["interleave"] = lambda documents, window, chunks, seed: _as(
        mutant, original, documents, window, chunks, seed
    )
    try:
        with pytest.raises(AssertionError):
            law()
    finally:
        globals()["interleave"] = original


def _as(mutant, original, *arguments):
    """Run a mutant, which itself calls the true one."""
    changed = globals()["interleave"]
    globals()["interleave"] = original
    try:
        return list(mutant(*arguments))
    finally:
        globals()["interleave"] = changed
