"""In-context pretraining's idea: one path through all documents, from each to the most similar one left.

Nodes are documents; a and b share an edge if either lists the other as a neighbour, weighted by their
similarity. The path follows the heaviest edge to an unvisited document (Algorithm 1 prints argmin; its
prose and Figure 2 say highest). Where none is left it jumps to a document of minimum degree: such documents
would otherwise lose all their neighbours first. The paper does not say in which graph the degree is
counted: in what is left of it (`residual`, our default), or in the whole (`static`).
"""

import numpy as np

from harness.errors import UsageError, nearest
from harness_iclm.compiled import compiled
from harness_iclm.graph import graph

RESTARTS = ("residual", "static", "random")


def path(ids: np.ndarray, similarities: np.ndarray, restart: str = "residual", seed: int = 0) -> np.ndarray:
    """Return the order of the documents, (documents,) int64: each once, related ones in a row.

    `ids` (documents, k) are each document's neighbours, -1 where there is none, and `similarities` theirs.
    `restart` says where to go on when no neighbour is left: residual, static (the minimum degree, ties by
    `seed`) or random. Raises UsageError for another.
    """
    if restart not in RESTARTS:
        raise UsageError(f"restart={restart!r} is not known: {nearest(restart, RESTARTS)}")
    starts, edges, _ = graph(ids, similarities)
    degree = np.diff(starts)
    counted = np.zeros_like(degree) if restart == "random" else degree
    by_degree = np.argsort(counted, kind="stable")
    bins = np.searchsorted(counted[by_degree], np.arange(int(counted.max(initial=0)) + 2))
    draws = np.random.default_rng(seed).random(len(degree))
    state = np.stack([counted, np.empty_like(counted)], axis=1)  # of each its degree, its place in by_degree
    by_degree, left = by_degree.astype(degree.dtype), np.empty(degree.max(initial=1), edges.dtype)
    order: np.ndarray = _walk(starts, edges, state, by_degree, bins, draws, left, restart == "residual")[0]
    return order


@compiled
def _walk(starts, edges, state, by_degree, bins, draws, left, residual):  # type: ignore[no-untyped-def]
    """Algorithm 1. `by_degree` holds what is unvisited, sorted by degree; bin d of it begins at `bins[d]`.

    A document is at the walk's head once, so its row is read once: all in all each edge is, O(edges). Most of the
    time is waiting for memory: what one document needs is side by side in `state`, whose degree is -1 once it is
    visited, and the next row is asked for (`asked`) before it is due. `left` has room for the longest row.
    """
    n, asked, following = len(state), 0, -1
    order = np.empty(n, np.int64)
    for i in range(n):
        state[by_degree[i], 1] = i

    def lower(d):  # type: ignore[no-untyped-def]
        # Swap d with the first of its bin, then let the bin begin one later.
        degree, place = state[d, 0], state[d, 1]
        first = bins[degree]
        other = by_degree[first]
        by_degree[place], by_degree[first] = other, d
        state[other, 1], state[d, 1] = place, first
        bins[degree] += 1
        state[d, 0] -= 1

    for step in range(n):
        if following < 0:  # jump, at weight 0
            least = 0
            while bins[least] == bins[least + 1]:
                least += 1
            following = by_degree[bins[least] + int(draws[step] * (bins[least + 1] - bins[least]))]
        head = following
        order[step] = head
        while state[head, 0] >= 0:
            lower(head)
        unvisited = 0
        for e in range(starts[head], starts[head + 1]):
            left[unvisited] = edges[e]
            unvisited += state[edges[e], 0] >= 0
        following = left[0] if unvisited else -1
        if unvisited:
            asked ^= edges[starts[following]]
        if residual:
            for i in range(unvisited):
                lower(left[i])
    return order, asked
