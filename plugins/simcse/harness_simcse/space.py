"""The shape of an embedding space: are pairs close, do the rest spread out, does one direction rule?

Alignment and uniformity are Wang and Isola's (2020), on unit vectors; lower is better for both. The paper's
section 5 says that the contrastive loss flattens the spectrum of singular values; whitening (Su et al. 2021)
flattens it entirely, with no training, and is the baseline to beat.
"""

from __future__ import annotations

import numpy as np


def alignment(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean squared distance of paired unit vectors: (n, width) twice -> 0 (equal) to 4 (opposite)."""
    return float(squared_distances(x, y).mean())


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the squared distance of each pair after normalising, (n,)."""
    return ((unit(x) - unit(y)) ** 2).sum(axis=1)


def uniformity(x: np.ndarray) -> float:
    """Return log E exp(-2 |u - v|^2) over all pairs of two rows of x, (n, width): 0 for equal rows, down to -4."""
    u, total = unit(x), 0.0
    if len(u) < 2:
        raise ValueError("uniformity needs two vectors or more")
    for i in range(0, len(u), 1024):
        near = u[i : i + 1024] @ u.T  # (1024, n)
        total += float(np.exp(4.0 * near - 4.0).sum())  # |u - v|^2 = 2 - 2 u.v
    pairs = len(u) * (len(u) - 1)
    return float(np.log((total - len(u)) / pairs))


def spectrum(x: np.ndarray) -> np.ndarray:
    """Return the singular values of the unit vectors as shares of their sum, falling, (width,)."""
    values = np.sqrt(np.clip(np.linalg.eigvalsh(unit(x).T @ unit(x))[::-1], 0.0, None))
    return values / values.sum()


def whitening(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (mean, W) so that (x - mean) W has covariance 1: (width,) and (width, kept).

    Directions without variance (fewer rows than columns) are left out.
    """
    x = np.asarray(x, dtype=np.float64)
    mean = x.mean(axis=0)
    variance, directions = np.linalg.eigh(np.cov(x.T, bias=True))
    kept = variance > 1e-10 * variance.max()
    return mean, directions[:, kept] / np.sqrt(variance[kept])


def whiten(x: np.ndarray) -> np.ndarray:
    """Return x, (n, width), shifted and turned so that its mean is 0 and its covariance 1: (n, kept)."""
    mean, w = whitening(x)
    return (x - mean) @ w


def unit(x: np.ndarray) -> np.ndarray:
    """Return the rows of x at length 1, in float64; a zero row stays zero."""
    x = np.asarray(x, dtype=np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
