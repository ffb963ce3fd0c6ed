"""The walk through a million documents, beside the same walk in plain Python on a hundred thousand, per document.

A graph like one of neighbours: documents lie along a hidden line in random order, and neighbours lie near on it.
Both sides start from the same arrays (ids, similarities), build the undirected graph and walk it.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.measuring import Measured, Target, agree, apart, interleaved, tell

LIMIT = 2 * 10**9
WHY = (
    "profiled by parts, of 1.3 us a document: putting edges in rows 0.26, sorting rows 0.34, preparing 0.05, walking "
    "0.57 to 0.65, where a hundred thousand documents, whose state fits the cache, walk in 0.32: the rest is memory"
)


def neighbourhood(documents: int, k: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return made-up neighbours, ids (documents, k) and similarities, the most similar first."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(documents)
    steps = (1 + rng.geometric(0.05, (documents, k))) * rng.choice([-1, 1], (documents, k))
    similarities = -np.sort(np.abs(steps) / 500 + rng.uniform(0, 0.05, steps.shape), axis=1) + 1
    order = np.argsort(np.abs(steps), axis=1)
    near = (np.arange(documents)[:, None] + np.take_along_axis(steps, order, axis=1)) % documents
    ids = np.empty((documents, k), np.int64)
    ids[label] = label[near]
    sims = np.empty((documents, k), np.float32)
    sims[label] = similarities.astype(np.float32)
    return ids, sims


def greedy(ids: np.ndarray, similarities: np.ndarray) -> list[int]:
    """Walk in plain Python: dicts for the graph, a heap for the document of minimum degree left."""
    edges: list[dict[int, float]] = [{} for _ in range(len(ids))]
    for a, (near, weights) in enumerate(zip(ids.tolist(), similarities.tolist(), strict=True)):
        for b, weight in zip(near, weights, strict=True):
            if b != a and weight > edges[a].get(b, -2.0):
                edges[a][b] = edges[b][a] = weight
    rows = [sorted(edge, key=lambda b, edge=edge: -edge[b]) for edge in edges]  # type: ignore[misc]
    degree = [len(row) for row in rows]
    heap = [(count, document) for document, count in enumerate(degree)]
    heapq.heapify(heap)
    visited = [False] * len(rows)
    order: list[int] = []
    head = -1
    while len(order) < len(rows):
        following = next((b for b in rows[head] if not visited[b]), -1) if head >= 0 else -1
        while following < 0:
            count, document = heapq.heappop(heap)
            if not visited[document] and count == degree[document]:
                following = document
        head = following
        order.append(head)
        visited[head] = True
        for b in rows[head]:
            if not visited[b]:
                degree[b] -= 1
                heapq.heappush(heap, (degree[b], b))
    return order


def walk(documents: int) -> dict[str, Any]:
    """Walk a graph of that many documents with our walk, compiled before; return its seconds."""
    from harness_iclm.walk import path

    ids, similarities = neighbourhood(documents)
    path(*neighbourhood(50))
    began = time.perf_counter()
    path(ids, similarities)
    return {"seconds": time.perf_counter() - began}


def measure(toy: bool) -> Iterator[Measured]:
    """Time both, weigh ours, and check on one graph that the paths are equally heavy."""
    from harness_iclm.intrinsic import path_weight
    from harness_iclm.walk import path

    many, few = (2000, 500) if toy else (1_000_000, 100_000)
    small, large = neighbourhood(few), neighbourhood(many)
    weights = [path_weight(*small, np.asarray(order))[0] for order in (path(*small), greedy(*small))]
    agree(weights[0], weights[1], 0.02, "the path's weight")
    pairs = interleaved(lambda: done(path(*large)), lambda: done(greedy(*small)), rounds=1 if toy else 5)
    what = f"ICLM walk, {many:,} documents x 10 neighbours, per document"
    yield pairs.against(
        what, f"a plain Python greedy on {few:,}", Target("at least", 20), WHY, ours=many, theirs=few
    )
    tell("memory")
    used = [apart("walking:walk", documents=many)["peak"] / LIMIT for _ in range(1 if toy else 2)]
    yield Measured(
        "its peak memory, the neighbours' arrays included", "2 GB", max(used), min(used), max(used),
        Target("at most", 1.0), detail={"bytes": max(used) * LIMIT},
    )  # fmt: skip


def done(order: Any) -> None:
    """Drop what was made: the clock around it counts."""
