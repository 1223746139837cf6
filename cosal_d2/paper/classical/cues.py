"""Cues of CWS: how salient each cluster of pixels is (Fu, Cao, Tu, TIP 2013, section III)."""

from __future__ import annotations

import numpy as np


def contrast_cue(labels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Contrast cue (eq. 2): distance to the other clusters' centres, weighted by their size.

        w_c(k) = sum over i != k of (n_i / N) * || mu_k - mu_i ||

    Args:
        labels: (N,) integers, the cluster of each pixel, below K.
        centres: (K, D) means of the clusters' features.

    Returns:
        (K,) float64.
    """
    shares = np.bincount(labels, minlength=len(centres)) / len(labels)
    distances = np.linalg.norm(centres[:, None].astype(np.float64) - centres[None], axis=2)
    return distances @ shares


def spatial_cue(
    labels: np.ndarray, distances: np.ndarray, num_clusters: int, sigma: float
) -> np.ndarray:
    """Spatial cue (eq. 3): mean of a Gaussian of the pixels' distance to the picture's centre.

        w_s(k) = 1 / n_k * sum over the pixels i of cluster k of exp(-d_i^2 / (2 sigma^2))

    Args:
        labels: (N,) integers, the cluster of each pixel.
        distances: (N,) distance of each pixel to the centre, 1 in the corners.
        num_clusters: K.
        sigma: of the Gaussian, in units of ``distances``.

    Returns:
        (K,) float64; 0 for a cluster without a pixel.
    """
    kernel = np.exp(-np.square(distances, dtype=np.float64) / (2 * sigma**2))
    sums = np.bincount(labels, kernel, num_clusters)
    return sums / np.maximum(np.bincount(labels, minlength=num_clusters), 1)


def corresponding_cue(
    labels: np.ndarray, parts: np.ndarray, num_clusters: int, num_parts: int
) -> np.ndarray:
    """Corresponding cue (eq. 4 and 5): how evenly a cluster spreads over M pictures.

        q_j(k) = share of cluster k's pixels that lie in picture j,   w_d(k) = 1 / (var(q(k)) + 1)

    Within one picture M parts of it stand for the pictures: what repeats lies in several of them.

    Args:
        labels: (N,) integers, the cluster of each pixel.
        parts: (N,) integers, the part that each pixel lies in.
        num_clusters: K.
        num_parts: M.

    Returns:
        (K,) float64 in (0, 1].
    """
    counts = np.bincount(labels * num_parts + parts, minlength=num_clusters * num_parts)
    counts = counts.reshape(num_clusters, num_parts).astype(np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return 1 / (shares.var(axis=1) + 1)


def normalise_cue(cue: np.ndarray) -> np.ndarray:
    """Bring cues to one scale: a Gaussian around the highest, its sigma half the cue's range.

    The highest becomes 1 and the lowest exp(-2); equal ones become 1.

    Args:
        cue: (K,) float.

    Returns:
        (K,) float64 in (0, 1].
    """
    sigma = (cue.max() - cue.min()) / 2
    if sigma <= 1e-9 * max(abs(float(cue.max())), 1e-9):
        return np.ones(len(cue))
    return np.exp(-np.square(cue - cue.max()) / (2 * sigma**2))
