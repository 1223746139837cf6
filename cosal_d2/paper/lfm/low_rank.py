"""Robust principal component analysis with outlying columns: what most columns of a matrix have in
common, and the columns that differ."""

from __future__ import annotations

import numpy as np

# Penalty at first, over 1 / the greatest singular value, and its growth in each iteration; a higher
# start or a faster growth stops short of the minimum.
START, GROWTH = 0.1, 1.3
TOLERANCE = 1e-6  # of the residual, relative to the matrix
MAX_ITERATIONS = 500


def robust_pca(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimise ``||L||_* + lambda ||S||_2,1`` with ``L + S`` equal to a matrix, by the inexact
    augmented Lagrange multiplier method (Lin, Chen and Ma 2010, algorithm 5); of several matrices
    at once, each for itself.

    ``||S||_2,1``, the sum of the columns' lengths, makes whole columns sparse (outlier pursuit, Xu,
    Caramanis and Sanghavi 2010). ``lambda`` is n^-1/4: above n^-1/2, so that n equal columns are of
    low rank, and below 1, so that a column that shares nothing with them is sparse.

    Args:
        matrix: (..., m, n), finite.

    Returns:
        L and S, float64 (..., m, n), whose sum differs from the matrix by ``TOLERANCE`` at most.

    Raises:
        ValueError: the matrix is not finite, or has not two dimensions.
    """
    data = np.asarray(matrix, dtype=np.float64)
    if data.ndim < 2 or not np.isfinite(data).all():
        raise ValueError(f"robust_pca: give finite matrices, not an array of shape {data.shape}")
    low_rank, sparse, multiplier = (np.zeros_like(data) for _ in range(3))
    size = np.linalg.norm(data, axis=(-2, -1))
    weight = data.shape[-1] ** -0.25
    spectral = np.linalg.norm(data, 2, axis=(-2, -1), keepdims=True)
    penalty = START / np.where(spectral > 0, spectral, 1)
    for _ in range(MAX_ITERATIONS):
        sparse = shrink_columns(data - low_rank + multiplier / penalty, weight / penalty)
        low_rank = shrink_rank(data - sparse + multiplier / penalty, 1 / penalty)
        residual = data - low_rank - sparse
        if (np.linalg.norm(residual, axis=(-2, -1)) <= TOLERANCE * size).all():
            break
        multiplier += penalty * residual
        penalty *= GROWTH
    return low_rank, sparse


def shrink_rank(matrix: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Matrices (..., m, n) with their singular values lowered by ``threshold`` (..., 1, 1), to 0 at
    least."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ (np.maximum(values[..., None] - threshold, 0) * right)


def shrink_columns(matrix: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Matrices (..., m, n) with their columns shortened by ``threshold`` (..., 1, 1), to 0 at
    least."""
    lengths = np.linalg.norm(matrix, axis=-2, keepdims=True)
    return matrix * np.maximum(1 - threshold / np.maximum(lengths, 1e-300), 0)


def sparse_shares(matrix: np.ndarray) -> np.ndarray:
    """How much of the length of each column of matrices (..., m, n) is sparse: (..., n) in [0, 1],
    0 where a column is 0."""
    _, sparse = robust_pca(matrix)
    lengths, own = (np.linalg.norm(x, axis=-2) for x in (matrix, sparse))
    return np.divide(own, lengths, out=np.zeros(own.shape), where=lengths > 0).clip(0, 1)
