"""The laws of the order: one path, heaviest edge first, everything once; duplicates gone; windows that lose nothing."""

import itertools

import numpy as np
import pytest
from harness_iclm import deduplicate, neighbours, path, windows
from harness_iclm.graph import graph
from harness_iclm.orders import clusters, nearest_first, shuffle
from hypothesis import given, settings
from hypothesis import strategies as st

RESTARTS = ("residual", "static", "random")


def topics(documents: int = 200, groups: int = 10, width: int = 16, seed: int = 0) -> np.ndarray:
    """Return made embeddings: documents scattered around the centres of a few topics."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(groups, width))
    return centres[random.integers(groups, size=documents)] + 0.6 * random.normal(size=(documents, width))


def edges_of(ids: np.ndarray, cosines: np.ndarray) -> dict[int, dict[int, float]]:
    """Return the undirected graph in plain Python, from which laws are checked by brute force."""
    found: dict[int, dict[int, float]] = {d: {} for d in range(len(ids))}
    for a, row in enumerate(ids):
        for b, weight in zip(row, cosines[a], strict=True):
            if b >= 0 and b != a:
                found[a][int(b)] = found[int(b)][a] = float(weight)
    return found


@pytest.mark.parametrize("restart", RESTARTS)
def test_the_path_is_greedy_at_every_step_and_jumps_only_where_it_must(restart):
    ids, cosines = neighbours(topics(), 6)
    edges = edges_of(ids, cosines)
    left = set(edges)
    before = None
    for document in path(ids, cosines, restart, seed=3).tolist():
        assert document in left
        choices = {d: w for d, w in edges[before].items() if d in left} if before is not None else {}
        if choices:
            assert choices.get(document) == max(choices.values())
        elif restart != "random":
            alive = left if restart == "residual" else set(edges)
            degrees = {d: sum(n in alive for n in edges[d]) for d in left}
            assert degrees[document] == min(degrees.values())
        left.remove(document)
        before = document
    assert not left


def test_a_graph_small_enough_to_walk_by_hand():
    # 0 - 1 (.9), 1 - 2 (.8), 0 - 2 (.5), 2 - 3 (.7), and 4 alone: 4 has no edge, then 3 has one.
    ids = np.array([[1, 2], [0, 2], [1, 3], [2, -1], [-1, -1]])
    cosines = np.array([[0.9, 0.5], [0.9, 0.8], [0.8, 0.7], [0.7, -1], [-1, -1]], np.float32)
    assert path(ids, cosines).tolist() == [4, 3, 2, 1, 0]


def test_residual_degree_saves_the_document_about_to_be_left_alone():
    # A hub 0 lists 1 to 4; 5 and 6 are a pair. Having gone 1, 0, then 2, the residual degrees of 3 and 4 are 0.
    ids = np.array([[1, 2, 3, 4], *[[0, -1, -1, -1]] * 4, [6, -1, -1, -1], [5, -1, -1, -1]])
    cosines = np.where(ids >= 0, 0.5, -1.0).astype(np.float32)
    for seed in range(20):
        order = path(ids, cosines, "residual", seed).tolist()
        hub = order.index(0)
        rest = order[hub + 2 :]
        isolated = [d for d in rest if d in (1, 2, 3, 4)]
        pair = [d for d in rest if d in (5, 6)]
        assert rest == isolated + pair or order[0] in (5, 6)


def test_an_edge_is_undirected_although_one_end_alone_lists_it():
    starts, edges, weights = graph(np.array([[1], [2], [1]]), np.array([[0.3], [0.9], [0.9]]))
    assert [edges[a:b].tolist() for a, b in itertools.pairwise(starts)] == [[1], [2, 0], [1]]
    assert weights.tolist() == [0.3, 0.9, 0.3, 0.9]
    assert path(np.array([[1], [2], [1]]), np.array([[0.3], [0.9], [0.9]])).tolist()[1] == 1


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 40), st.integers(1, 5), st.sampled_from(RESTARTS), st.integers(0, 5), st.integers(0, 1000)
)
def test_every_document_is_on_the_path_once_whatever_the_lists(n, k, restart, seed, made):
    random = np.random.default_rng(made)
    ids = random.integers(-1, n, size=(n, k))  # loops, holes and repeats among them
    order = path(ids, random.random((n, k)), restart, seed)
    assert sorted(order.tolist()) == list(range(n))


def test_the_other_orders_hold_every_document_once_and_knn_repeats():
    vectors = topics()
    ids, _ = neighbours(vectors, 6)
    for order in (shuffle(200), clusters(vectors)):
        assert sorted(order.tolist()) == list(range(200))
    repeated = nearest_first(ids)
    assert len(repeated) == 200
    assert len(set(repeated.tolist())) < 200
    assert ids[repeated[0]].tolist() == repeated[1:7].tolist()


def test_the_same_seed_gives_the_same_order_on_any_number_of_threads_and_another_seed_another():
    import faiss

    vectors = topics(500)
    threads = faiss.omp_get_max_threads()
    found = []
    try:
        for number in (1, 2, 5):
            faiss.omp_set_num_threads(number)
            found.append(path(*neighbours(vectors, 6), seed=1).tolist())
    finally:
        faiss.omp_set_num_threads(threads)
    assert found[0] == found[1] == found[2]
    assert path(*neighbours(vectors, 6), seed=2).tolist() != found[0]


def test_neighbours_are_the_nearest_by_cosine_without_oneself():
    vectors = topics(80) * np.random.default_rng(1).uniform(0.1, 9, size=(80, 1))  # of all lengths
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    ids, found = neighbours(vectors, 7)
    assert ids.tolist() == np.argsort(-cosines, axis=1)[:, :7].tolist()
    assert found == pytest.approx(-np.sort(-cosines, axis=1)[:, :7], abs=1e-6)


def test_exact_copies_do_not_push_themselves_out():
    vectors = np.repeat(topics(10), 5, axis=0)
    ids, _ = neighbours(vectors, 4)
    for document, row in enumerate(ids):
        assert sorted([document, *row.tolist()]) == list(range(document // 5 * 5, document // 5 * 5 + 5))


@pytest.mark.parametrize("index", ["IVF8,Flat", "IVF4,PQ4x4"])
def test_search_in_lists_finds_most_of_the_exact_neighbours(index):
    vectors = topics(600)
    exact, _ = neighbours(vectors, 5)
    ids, cosines = neighbours(vectors, 5, index, probes=8)
    shared = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(exact, ids, strict=True)])
    assert shared > (0.99 if "Flat" in index else 0.25)
    assert not (ids == np.arange(600)[:, None]).any()
    assert ((ids == -1) == (cosines == -1)).all()
    assert sorted(path(ids, cosines).tolist()) == list(range(600))


def test_connected_duplicates_keep_their_first_and_none_above_the_threshold_is_left():
    vectors = topics(150)
    copies = vectors[:30] + 0.01 * np.random.default_rng(0).normal(size=(30, 16))
    planted = np.concatenate([vectors, copies, copies[:5]])
    kept = deduplicate(planted, 0.95)
    unit = planted[kept] / np.linalg.norm(planted[kept], axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -1)
    assert cosines.max() <= 0.95
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert not any(number >= 150 for number in kept)
    assert len(deduplicate(planted, 1.0)) == 185


def test_of_nothing_but_duplicates_one_is_kept_and_empty_texts_are_nobodys():
    assert deduplicate(np.ones((300, 4))).tolist() == [0]
    assert deduplicate(np.zeros((5, 4))).tolist() == [0, 1, 2, 3, 4]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 12), st.integers(0, 9))
def test_windows_hold_every_token_once_and_all_but_one_are_full(lengths, window, seed):
    order = np.random.default_rng(seed).permutation(len(lengths))
    packed = windows(order, np.array(lengths, np.int64), window, seed)
    held = sorted((d, t) for piece in packed.pieces.tolist() for d in [piece[0]] for t in range(*piece[1:]))
    assert held == [(d, t) for d, length in enumerate(lengths) for t in range(length)]
    sizes = sorted(packed.tokens.tolist())
    assert sizes[1:] == [window] * len(sizes[1:])
    assert sum(sizes) == sum(lengths)
    assert len(packed) == -(-sum(lengths) // window)


def test_windows_cut_the_order_where_they_end_by_hand():
    packed = windows(np.array([2, 0, 1]), np.array([3, 2, 4]), 5, shuffled=False)
    assert [piece.tolist() for piece in packed] == [[[2, 0, 4], [0, 0, 1]], [[0, 1, 3], [1, 0, 2]]]


def test_shuffled_windows_are_the_same_windows_in_an_order_of_the_seed():
    order, lengths = np.arange(50), np.full(50, 7)

    def told(**options):
        return [piece.tolist() for piece in windows(order, lengths, 10, **options)]

    assert sorted(told(seed=1)) == sorted(told(shuffled=False))
    assert told(seed=1) == told(seed=1) != told(seed=2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 120), st.integers(1, 8), st.booleans())
def test_the_graph_is_that_of_sorting_all_edges_hubs_included(seed, documents, k, hub):
    random = np.random.default_rng(seed)
    ids = random.integers(-1, documents, (documents, k))
    if hub:
        ids[:, 0] = 0  # a neighbour of all
    similarities = (random.integers(0, 5, (documents, k)) / 5).astype(np.float32)  # many ties
    heaviest: dict[tuple[int, int], float] = {}
    for a, (near, weights) in enumerate(zip(ids.tolist(), similarities.tolist(), strict=True)):
        for b, weight in zip(near, weights, strict=True):
            if b >= 0 and b != a:
                for edge in ((a, b), (b, a)):
                    heaviest[edge] = max(weight, heaviest.get(edge, -1.0))
    starts, edges, weights = graph(ids, similarities)
    rows = np.repeat(np.arange(documents), np.diff(starts))
    found = list(zip(rows.tolist(), (-weights).tolist(), edges.tolist(), strict=True))
    assert found == sorted((a, -weight, b) for (a, b), weight in heaviest.items())
