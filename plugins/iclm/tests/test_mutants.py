"""The errors that orderings have really made: each must break a law, or the laws are too weak."""

import importlib.util
import inspect
from pathlib import Path

import numpy as np
import pytest
from harness_iclm import deduplicate, neighbours, path, windows


def lightest_edge(ids, cosines, restart="residual", seed=0):
    """Follow Algorithm 1 as it is printed: argmin."""
    return path(ids, -np.asarray(cosines), restart, seed)


def own_list_only(ids, cosines, restart="residual", seed=0):
    """Walk the directed graph, as the released code does."""
    left, order, head = set(range(len(ids))), [], None
    while left:
        near = [d for d in ids[head] if d in left] if head is not None else []
        head = int(near[0]) if near else min(left)
        order.append(head)
        left.remove(head)
    return np.array(order)


def degree_ignored(ids, cosines, restart="residual", seed=0):
    """Jump anywhere, as the released code does with `set.pop`."""
    return path(ids, cosines, "random", seed)


def oneself_kept(vectors, k, *rest, **options):
    """Take rank 0 for a neighbour."""
    ids, cosines = neighbours(vectors, k, *rest, **options)
    oneself = np.arange(len(ids))[:, None]
    return np.hstack([oneself, ids[:, :-1]]), np.hstack([np.ones_like(cosines[:, :1]), cosines[:, :-1]])


def not_normalised(vectors, k, *rest, **options):
    """Take the inner product for the cosine."""
    products = np.asarray(vectors) @ np.asarray(vectors).T
    np.fill_diagonal(products, -np.inf)
    return np.argsort(-products, axis=1)[:, :k], -np.sort(-products, axis=1)[:, :k]


def last_window_dropped(order, lengths, window, seed=0, shuffled=True):
    """Leave out what fills no window."""
    packed = windows(order, lengths, window, seed, shuffled)
    return packed.only(np.flatnonzero(packed.tokens == window))


def never_shuffled(order, lengths, window, seed=0, shuffled=True):
    """Leave the windows in the path's order."""
    return windows(order, lengths, window, seed, shuffled=False)


def one_round(embeddings, threshold=0.95):
    """Drop each document that an earlier one is a copy of, by its single nearest neighbour."""
    ids, cosines = neighbours(embeddings, 1)
    return np.flatnonzero(~((cosines[:, 0] > threshold) & (ids[:, 0] < np.arange(len(ids)))))


MUTANTS = {
    "argmin": {"path": lightest_edge},
    "a directed graph": {"path": own_list_only},
    "restarts anywhere": {"path": degree_ignored},
    "oneself as a neighbour": {"neighbours": oneself_kept},
    "inner products": {"neighbours": not_normalised},
    "the last window dropped": {"windows": last_window_dropped},
    "windows never shuffled": {"windows": never_shuffled},
    "duplicates of duplicates kept": {"deduplicate": one_round},
}


def broken_laws(**replaced) -> list[str]:
    """Return the laws that fail once some of the names they test are replaced."""
    spec = importlib.util.spec_from_file_location("laws", Path(__file__).parent / "test_laws.py")
    laws = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(laws)
    for name, function in replaced.items():
        setattr(laws, name, function)
    broken = []
    for name, law in inspect.getmembers(laws, inspect.isfunction):
        if not name.startswith("test_") or "seed gives the same order" in name:
            continue
        marks = [mark for mark in getattr(law, "pytestmark", []) if mark.name == "parametrize"]
        for arguments in [(value,) for mark in marks for value in mark.args[1]] or [()]:
            try:
                law(*arguments)
            except AssertionError:
                broken.append(name)
    return broken


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_known_error_breaks_a_law(mutant):
    assert broken_laws(**MUTANTS[mutant])


def test_the_method_itself_breaks_none():
    found = {"path": path, "neighbours": neighbours, "windows": windows, "deduplicate": deduplicate}
    assert broken_laws(**found) == []
