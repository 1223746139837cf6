"""CWS: cluster-based co-saliency within one picture.

H. Fu, X. Cao, Z. Tu: "Cluster-based Co-saliency Detection", IEEE TIP 22(10), 2013, in its form for
a single picture. Pixels are clustered by colour and texture, cues say how salient a cluster is
(``cues.py``), and a pixel takes its saliency from the clusters that it is likely to belong to:

    p(C_k) = w_c(k) * w_s(k) * w_d(k)                                the product of the cues
    p(x)   = sum over k of p(x | C_k) * p(C_k),   p(x | C_k) = N(|| v_x - mu_k ||; 0, sigma_k)

``docs/paper.md`` says where the paper leaves a choice or is not followed to the letter.
"""

from __future__ import annotations

import cv2
import numpy as np

from cosal_d2.paper.classical.colour import bgr_to_lab, stretch
from cosal_d2.paper.classical.cues import (
    contrast_cue,
    corresponding_cue,
    normalise_cue,
    spatial_cue,
)

NUM_CLUSTERS = 6  # for a single picture, as in the paper
SIZE = 300  # the picture's longer side while it is worked on, pixels; smaller ones stay
SIGMA = 0.5  # of the spatial cue's Gaussian; the corners lie at distance 1
GRID = 2  # GRID x GRID cells stand for the pictures of the corresponding cue
ITERATIONS, TOLERANCE, ATTEMPTS = 100, 1e-2, 3
MIN_VARIANCE = 1.0


def cluster_based(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """CWS's map, stretched to [0, 1].

    Args:
        image: uint8 BGR (H, W, 3).
        seed: of k-means' first centres, 0 to 2^31 - 1.

    Returns:
        float32 (H, W) in [0, 1]; 0 everywhere for a picture of one colour.

    Raises:
        ValueError: the picture has another type or shape, or no pixel.
    """
    height, width = image.shape[:2]
    small = shrink(image)
    features = pixel_features(small)
    labels, centres = cluster_pixels(features, NUM_CLUSTERS, seed)
    weights = cluster_saliency(labels, centres, small.shape[:2])
    likelihood = pixel_likelihood(features, labels, centres, weights).reshape(small.shape[:2])
    return stretch(cv2.resize(likelihood, (width, height), interpolation=cv2.INTER_LINEAR))


def pixel_features(image: np.ndarray) -> np.ndarray:
    """L*, a*, b* and the texture's strength of each pixel.

    The strength is the root of the summed energies of Gabor filters in eight directions round the
    full circle: wavelength 8 pixels, bandwidth one octave, aspect ratio 0.5 (section III of the
    paper). Opposite directions have the same energy, so that of four is doubled.

    Args:
        image: uint8 BGR (h, w, 3).

    Returns:
        float32 (h * w, 4).
    """
    lab = bgr_to_lab(image)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32) / 255
    energy = np.zeros(grey.shape, dtype=np.float32)
    for kernel in _gabor_kernels():
        energy += np.square(cv2.filter2D(grey, -1, kernel, borderType=cv2.BORDER_REFLECT))
    return np.dstack([lab, np.sqrt(2 * energy)]).reshape(-1, 4)


def cluster_pixels(
    features: np.ndarray, num_clusters: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """k-means with k-means++ starts.

    Args:
        features: float32 (N, D).
        num_clusters: K; at most N are made.
        seed: of the starts.

    Returns:
        labels, int32 (N,), and centres, float32 (K, D).
    """
    if len(features) == 1:  # OpenCV would take it for a column.
        return np.zeros(1, dtype=np.int32), features
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, ITERATIONS, TOLERANCE)
    cv2.setRNGSeed(seed)
    _, labels, centres = cv2.kmeans(
        features,
        min(num_clusters, len(features)),
        None,
        criteria,
        ATTEMPTS,
        cv2.KMEANS_PP_CENTERS,
    )
    return labels.ravel(), centres


def cluster_saliency(labels: np.ndarray, centres: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Product of the cues.

    Contrast and spatial cue are brought to one scale. The corresponding cue has its own, 1 at most
    and little less at least: within one picture it only decides between clusters that the others
    find equal.

    Args:
        labels: (h * w,) cluster of each pixel, row by row.
        centres: (K, D).
        size: h and w.

    Returns:
        (K,) float64 in (0, 1].
    """
    distances, parts = picture_places(*size)
    count = len(centres)
    contrast = normalise_cue(contrast_cue(labels, centres))
    spatial = normalise_cue(spatial_cue(labels, distances, count, SIGMA))
    return contrast * spatial * corresponding_cue(labels, parts, count, GRID * GRID)


def picture_places(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where pixels lie, row by row: the distance to the picture's centre, 1 in the corners, and the
    number of the cell of ``GRID`` x ``GRID``, (h * w,) each."""
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    distances = np.hypot(y - middle_y, x - middle_x) / max(np.hypot(middle_y, middle_x), 1)
    return distances, y * GRID // height * GRID + x * GRID // width


def pixel_likelihood(
    features: np.ndarray, labels: np.ndarray, centres: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Saliency of each pixel from that of the clusters.

    A cluster's variance is the mean squared distance of its pixels to its centre, at least 1. The
    likelihoods are normalised over the clusters, so that a pixel between clusters gets a mean of
    their saliencies, and one far from all centres is not less salient for that.

    Args:
        features: (N, D) float.
        labels: (N,) cluster of each pixel.
        centres: (K, D).
        weights: (K,) saliency of each cluster.

    Returns:
        (N,) float32, between the least and the greatest weight.
    """
    logs = np.empty((len(centres), len(features)))
    for k, centre in enumerate(centres):
        squared = np.square(features - centre).sum(axis=1, dtype=np.float64)
        own = squared[labels == k]
        variance = max(float(own.mean()) if len(own) else 0.0, MIN_VARIANCE)
        logs[k] = -squared / (2 * variance) - np.log(variance) / 2
    memberships = np.exp(logs - logs.max(axis=0))
    return (weights @ memberships / memberships.sum(axis=0)).astype(np.float32)


def shrink(image: np.ndarray) -> np.ndarray:
    """A picture whose longer side is ``SIZE`` pixels at most."""
    height, width = image.shape[:2]
    scale = SIZE / max(height, width)
    if scale >= 1:
        return image
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, target, interpolation=cv2.INTER_AREA)


def _gabor_kernels() -> list[np.ndarray]:
    """Even and odd Gabor kernels in four directions 45 degrees apart, without response to a flat
    picture."""
    wavelength, aspect = 8.0, 0.5
    sigma = wavelength / np.pi * np.sqrt(np.log(2) / 2) * 3  # one octave: (2^1 + 1) / (2^1 - 1)
    side = 2 * int(4 * sigma / aspect) + 1
    kernels = []
    for direction in range(4):
        for phase in (0, np.pi / 2):
            angle = np.pi * direction / 4
            kernel = cv2.getGaborKernel((side, side), sigma, angle, wavelength, aspect, phase)
            kernels.append((kernel - kernel.mean()).astype(np.float32))
    return kernels
