"""The shape of a space: values one can work out by hand."""

import math

import numpy as np
import pytest
from harness_simcse import alignment, uniformity, whiten
from harness_simcse.space import spectrum
from hypothesis import given
from hypothesis import strategies as st


@given(n=st.integers(2, 30))
def test_uniformity_of_equal_vectors_is_0_and_of_orthogonal_ones_minus_4(n):
    assert uniformity(np.ones((n, 3))) == pytest.approx(0, abs=1e-12)
    assert uniformity(5 * np.eye(n)) == pytest.approx(-4, abs=1e-12)


def test_uniformity_of_three_vectors_by_hand():
    x = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])  # squared distances 2, 4, 2
    assert uniformity(x) == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3))


def test_uniformity_does_not_depend_on_how_it_is_cut():
    x = np.random.default_rng(0).normal(size=(2100, 5))
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    squared = ((u[:, None] - u[None]) ** 2).sum(-1)[np.triu_indices(2100, 1)]
    assert uniformity(x) == pytest.approx(math.log(np.exp(-2 * squared).mean()))


def test_alignment_is_the_mean_squared_distance_after_normalising():
    x = np.array([[1.0, 0.0], [3.0, 0.0]])
    y = np.array([[7.0, 0.0], [0.0, 1.0]])
    assert alignment(x, y) == pytest.approx((0 + 2) / 2)
    assert alignment(x, -x) == pytest.approx(4)


def test_whitened_vectors_have_mean_0_and_covariance_1():
    x = np.random.default_rng(0).normal(size=(500, 6)) @ np.diag([9, 5, 2, 1, 0.5, 0.1]) + 3
    w = whiten(x)
    np.testing.assert_allclose(w.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(w.T, bias=True), np.eye(6), atol=1e-8)


def test_whitening_leaves_out_directions_without_variance():
    x = np.random.default_rng(0).normal(size=(4, 10))
    assert whiten(x).shape == (4, 3)


def test_the_spectrum_of_a_cone_is_steep_and_of_orthogonal_vectors_flat():
    np.testing.assert_allclose(spectrum(np.eye(4)), 0.25)
    np.testing.assert_allclose(spectrum(np.ones((5, 3))), [1, 0, 0], atol=1e-6)
    x = np.random.default_rng(0).normal(size=(50, 6))
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    oracle = np.linalg.svd(u, compute_uv=False)
    np.testing.assert_allclose(spectrum(x), oracle / oracle.sum(), atol=1e-8)
