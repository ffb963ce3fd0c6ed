"""In-context pretraining's idea: one path through all documents, from each to the most similar one left.

Nodes are documents; a and b share an edge if either lists the other as a neighbour, weighted by their
similarity. The path follows the heaviest edge to an unvisited document (Algorithm 1 prints argmin; its
prose and Figure 2 say highest). Where none is left it jumps to a document of minimum degree: such documents
would otherwise lose all their neighbours first. The paper does not say in which graph the degree is
counted: in what is left of it (`residual`, our default), or in the whole (`static`).
"""

import numba
import numpy as np

from harness.errors import UsageError, nearest
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
    counted = np.zeros_like(degree) if restart == "random" else degree.copy()
    by_degree = np.argsort(counted, kind="stable")
    most = int(counted.max(initial=0))
    bins = np.searchsorted(counted[by_degree], np.arange(most + 2))
    draws = np.random.default_rng(seed).random(len(degree))
    order: np.ndarray = _walk(starts, edges, counted, by_degree, bins, draws, restart == "residual")
    return order


@numba.njit
def _walk(starts, edges, degree, by_degree, bins, draws, residual):  # type: ignore[no-untyped-def]
    """Algorithm 1. `by_degree` holds what is unvisited, sorted by degree; bin d of it begins at `bins[d]`.

    A document is at the walk's head once, so its row is read once: all in all each edge is, O(edges).
    """
    n = len(degree)
    place, visited, order = np.empty(n, np.int64), np.zeros(n, np.bool_), np.empty(n, np.int64)
    for i in range(n):
        place[by_degree[i]] = i

    def lower(d):  # type: ignore[no-untyped-def]
        # Swap d with the first of its bin, then let the bin begin one later.
        first = bins[degree[d]]
        other = by_degree[first]
        by_degree[place[d]], by_degree[first] = other, d
        place[other], place[d] = place[d], first
        bins[degree[d]] += 1
        degree[d] -= 1

    head = -1
    for step in range(n):
        following = -1
        if head >= 0:
            for e in range(starts[head], starts[head + 1]):
                if not visited[edges[e]]:
                    following = edges[e]
                    break
        if following < 0:  # jump, at weight 0
            least = 0
            while bins[least] == bins[least + 1]:
                least += 1
            following = by_degree[bins[least] + int(draws[step] * (bins[least + 1] - bins[least]))]
        head = following
        order[step], visited[head] = head, True
        while degree[head] >= 0:
            lower(head)
        if residual:
            for e in range(starts[head], starts[head + 1]):
                if not visited[edges[e]]:
                    lower(edges[e])
    return order
