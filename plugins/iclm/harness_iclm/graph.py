"""The undirected graph of a neighbour search: what `walk` goes along.

Sorting all edges at once takes most of an order's time at a million documents. So each row's edges are counted,
placed, and each row is sorted by itself: O(edges), compiled.
"""

import numba
import numpy as np

LONG_ROW = 64  # edges up to which a row is sorted by insertion


def graph(ids: np.ndarray, similarities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the undirected graph as rows: where each starts (documents + 1,), neighbours and weights (edges,).

    Row d lists the neighbours of d from the most similar on, ties by number. An edge that both ends list is there
    once, at its heavier weight. Loops and -1 are dropped.
    """
    starts, edges, weights = _placed(np.ascontiguousarray(ids), np.ascontiguousarray(similarities))
    kept = _thinned(starts, edges, weights)
    return starts, edges[:kept].copy(), weights[:kept].copy()


@numba.njit
def _placed(ids, similarities):  # type: ignore[no-untyped-def]
    """Every edge in the rows of both its ends, in the order it is listed."""
    documents, k = ids.shape
    starts = np.zeros(documents + 1, np.int64)
    for a in range(documents):
        for b in ids[a]:
            if b >= 0 and b != a:
                starts[a + 1] += 1
                starts[b + 1] += 1
    for a in range(documents):
        starts[a + 1] += starts[a]
    edges, weights = np.empty(starts[-1], np.int64), np.empty(starts[-1], similarities.dtype)
    ends = starts[:-1].copy()
    for a in range(documents):
        for i in range(k):
            b, w = ids[a, i], similarities[a, i]
            if b >= 0 and b != a:
                edges[ends[a]], weights[ends[a]] = b, w
                edges[ends[b]], weights[ends[b]] = a, w
                ends[a] += 1
                ends[b] += 1
    return starts, edges, weights


@numba.njit
def _thinned(starts, edges, weights):  # type: ignore[no-untyped-def]
    """Sort every row and drop what is in it twice, in place; return how many edges are left."""
    kept = first = 0
    for a in range(len(starts) - 1):
        last = starts[a + 1]
        starts[a] = kept
        if last - first > LONG_ROW:
            kept = _sorted_row(edges, weights, first, last, kept)
        else:
            kept = _inserted_row(edges, weights, first, last, kept)
        first = last
    starts[-1] = kept
    return kept


@numba.njit
def _inserted_row(edges, weights, first, last, to):  # type: ignore[no-untyped-def]
    """Move a short row to `to`, each edge to its place; return where the row ends."""
    end = to
    for i in range(first, last):
        b, w = edges[i], weights[i]
        place = end
        for at in range(to, end):
            if edges[at] == b:  # both ends list it, perhaps rounded otherwise
                place = -1 if weights[at] >= w else at
                break
        if place < 0:
            continue
        end += place == end
        while place > to and (weights[place - 1] < w or (weights[place - 1] == w and edges[place - 1] > b)):
            edges[place], weights[place] = edges[place - 1], weights[place - 1]
            place -= 1
        edges[place], weights[place] = b, w
    return end


@numba.njit
def _sorted_row(edges, weights, first, last, to):  # type: ignore[no-untyped-def]
    """Move a hub's row to `to` by stable sorts: by neighbour, the heavier first, then by weight."""
    near, values = edges[first:last].copy(), weights[first:last].copy()
    order = np.argsort(-values, kind="mergesort")
    near, values = near[order], values[order]
    order = np.argsort(near, kind="mergesort")
    near, values = near[order], values[order]
    once = np.ones(len(near), np.bool_)
    once[1:] = near[1:] != near[:-1]
    near, values = near[once], values[once]
    order = np.argsort(-values, kind="mergesort")
    end = to + len(near)
    edges[to:end], weights[to:end] = near[order], values[order]
    return end
