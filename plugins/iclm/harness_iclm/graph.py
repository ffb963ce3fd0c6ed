"""The undirected graph of a neighbour search: what `walk` goes along.

Sorting all edges at once takes most of an order's time at a million documents. So each row's edges are counted,
placed, and each row is sorted by itself: O(edges), compiled.
"""

import numpy as np

from harness_iclm.compiled import compiled

LONG_ROW = 64  # edges up to which a row is sorted by insertion


def graph(ids: np.ndarray, similarities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the undirected graph as rows: where each starts (documents + 1,), neighbours and weights (edges,).

    Row d lists the neighbours of d from the most similar on, ties by number. An edge that both ends list is there
    once, at its heavier weight. Loops and -1 are dropped. Numbers are int32 where they can be.
    """
    number = np.int32 if 2 * ids.size < 2**31 else np.int64
    # Nearly all of the time is waiting for memory: an edge and its weight lie side by side, in one line of the cache.
    rows = np.empty(2 * ids.size, np.dtype([("near", number), ("weight", similarities.dtype)], align=True))
    edges, weights = rows["near"], rows["weight"]
    starts = np.zeros(len(ids) + 1, number)
    _placed(np.ascontiguousarray(ids), np.ascontiguousarray(similarities), starts, edges, weights)
    kept = _thinned(starts, edges, weights)
    return starts, edges[:kept].copy(), weights[:kept]


@compiled
def _placed(ids, similarities, starts, edges, weights):  # type: ignore[no-untyped-def]
    """Put every edge in the rows of both its ends, in the order it is listed; fill in where rows start."""
    documents, k = ids.shape
    for a in range(documents):
        for b in ids[a]:
            if b >= 0 and b != a:
                starts[a + 1] += 1
                starts[b + 1] += 1
    for a in range(documents):
        starts[a + 1] += starts[a]
    ends = starts[:-1].copy()
    for a in range(documents):
        own = ends[a]
        for i in range(k):
            b, w = ids[a, i], similarities[a, i]
            if b >= 0 and b != a:
                edges[own], weights[own] = b, w
                edges[ends[b]], weights[ends[b]] = a, w
                own += 1
                ends[b] += 1
        ends[a] = own


@compiled
def _thinned(starts, edges, weights):  # type: ignore[no-untyped-def]
    """Sort every row and drop what is in it twice, in place; return how many edges are left."""
    near, heavy = np.empty(LONG_ROW, edges.dtype), np.empty(LONG_ROW, weights.dtype)
    kept = first = 0
    for a in range(len(starts) - 1):
        last = starts[a + 1]
        starts[a] = kept
        if last - first > LONG_ROW:
            kept = _sorted_row(edges, weights, first, last, kept)
        else:
            kept = _inserted_row(edges, weights, first, last, kept, near, heavy)
        first = last
    starts[-1] = kept
    return kept


@compiled
def _inserted_row(edges, weights, first, last, to, near, heavy):  # type: ignore[no-untyped-def]
    """Move a short row to `to`, sorted in `near` and `heavy` edge by edge; return where the row ends."""
    end = 0
    for i in range(first, last):
        b, w = edges[i], weights[i]
        place = end
        for at in range(end):
            if near[at] == b:  # both ends list it, perhaps rounded otherwise
                place = -1 if heavy[at] >= w else at
        if place < 0:
            continue
        end += place == end
        while place > 0 and (heavy[place - 1] < w or (heavy[place - 1] == w and near[place - 1] > b)):
            near[place], heavy[place] = near[place - 1], heavy[place - 1]
            place -= 1
        near[place], heavy[place] = b, w
    for i in range(end):
        edges[to + i], weights[to + i] = near[i], heavy[i]
    return to + end


@compiled
def _sorted_row(edges, weights, first, last, to):  # type: ignore[no-untyped-def]
    """Move a hub's row to `to`, sorted in a heap: by neighbour, dropping doubles, then by weight."""
    near, heavy = edges[first:last].copy(), weights[first:last].copy()
    _heap_sort(near, heavy, True)
    end = 0
    for i in range(len(near)):  # of a neighbour listed twice the heavier comes first
        if not end or near[i] != near[end - 1]:
            near[end], heavy[end] = near[i], heavy[i]
            end += 1
    _heap_sort(near[:end], heavy[:end], False)
    for i in range(end):
        edges[to + i], weights[to + i] = near[i], heavy[i]
    return to + end


@compiled
def _heap_sort(near, heavy, by_number):  # type: ignore[no-untyped-def]
    """Sort edges in place, by number and then the heavier first, or by weight and then number."""
    for top in range(len(near) // 2 - 1, -1, -1):
        _sink(near, heavy, top, len(near), by_number)
    for last in range(len(near) - 1, 0, -1):  # what comes last is at the top, and goes to the end
        near[0], near[last], heavy[0], heavy[last] = near[last], near[0], heavy[last], heavy[0]
        _sink(near, heavy, 0, last, by_number)


@compiled
def _sink(near, heavy, top, size, by_number):  # type: ignore[no-untyped-def]
    """Let an edge of a heap of this size sink until none below it comes later."""
    while 2 * top + 1 < size:
        below = 2 * top + 1
        if below + 1 < size and _before(near, heavy, below, below + 1, by_number):
            below += 1
        if not _before(near, heavy, top, below, by_number):
            return
        near[top], near[below] = near[below], near[top]
        heavy[top], heavy[below] = heavy[below], heavy[top]
        top = below


@compiled
def _before(near, heavy, a, b, by_number):  # type: ignore[no-untyped-def]
    """Say whether edge a comes before edge b."""
    if by_number and near[a] != near[b]:
        return near[a] < near[b]
    if heavy[a] != heavy[b]:
        return heavy[a] > heavy[b]
    return near[a] < near[b]
