"""Single-image saliency cues: maps of a picture, each from one low-level hint."""

from __future__ import annotations

import cv2
import numpy as np

from cosal_d2.paper.classical.colour import bgr_to_lab, stretch
from cosal_d2.paper.classical.cues import contrast_cue, corresponding_cue, spatial_cue
from cosal_d2.paper.classical.cws import (
    GRID,
    NUM_CLUSTERS,
    SIGMA,
    cluster_pixels,
    picture_places,
    pixel_features,
    pixel_likelihood,
)
from cosal_d2.paper.classical.ft import frequency_tuned

SPECTRUM = 64  # side of the picture whose spectrum is taken, as in its paper
SURROUNDS = (2.0, 4.0, 8.0)  # sigmas of the surrounds, in hundredths of the longer side


def low_level_cues(image: np.ndarray) -> np.ndarray:
    """Nine cues of a picture.

    FT; the contrast, spatial and corresponding cue of CWS, each alone; contrast to the whole
    picture's colours (HC, Cheng et al. 2011), to the colours of its border, and to the surround
    (Itti et al. 1998, in colour alone); the residual of its spectrum (Hou and Zhang 2007); and
    texture.

    Args:
        image: uint8 BGR (H, W, 3).

    Returns:
        (9, H, W) float32, each stretched to [0, 1].
    """
    lab = bgr_to_lab(image)
    features = pixel_features(image)
    texture = features[:, 3].reshape(image.shape[:2])
    cues = [
        frequency_tuned(image),
        *_cluster_cues(features, image.shape[:2]),
        _colour_contrast(lab),
        _border_contrast(lab),
        _surround_contrast(lab),
        _spectral_residual(image),
        np.abs(texture - texture.mean()),
    ]
    return np.stack([stretch(cue) for cue in cues])


def _cluster_cues(features: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """CWS's three cues of the clusters, each spread over the pixels."""
    labels, centres = cluster_pixels(features, NUM_CLUSTERS, seed=0)
    distances, parts = picture_places(*size)
    count = len(centres)
    weights = (
        contrast_cue(labels, centres),
        spatial_cue(labels, distances, count, SIGMA),
        corresponding_cue(labels, parts, count, GRID * GRID),
    )
    return [pixel_likelihood(features, labels, centres, own).reshape(size) for own in weights]


def colour_labels(lab: np.ndarray, steps: int = 6) -> np.ndarray:
    """The colour of each pixel, (H, W) integers: L*, a* and b* in ``steps`` steps each."""
    low = np.array([0, -128, -128], np.float32)
    span = np.array([100, 256, 256], np.float32)
    cells = np.clip(((lab - low) / span * steps).astype(np.int64), 0, steps - 1)
    return (cells * [steps * steps, steps, 1]).sum(axis=2)


def _colour_contrast(lab: np.ndarray) -> np.ndarray:
    """Mean distance of a pixel's colour, in steps, to those of all pixels."""
    _, labels, counts = np.unique(colour_labels(lab, 12), return_inverse=True, return_counts=True)
    labels = labels.ravel()
    pixels = lab.reshape(-1, 3)
    means = np.stack([np.bincount(labels, pixels[:, i]) / counts for i in range(3)], axis=1)
    distances = np.linalg.norm(means[:, None] - means[None], axis=2)
    return (distances @ (counts / counts.sum()))[labels].reshape(lab.shape[:2])


def _border_contrast(lab: np.ndarray) -> np.ndarray:
    """Distance of a pixel's colour to the nearest of the mean colours of the four sides."""
    sides = [lab[0], lab[-1], lab[:, 0], lab[:, -1]]
    return np.min([np.linalg.norm(lab - side.mean(axis=0), axis=2) for side in sides], axis=0)


def _surround_contrast(lab: np.ndarray) -> np.ndarray:
    """Distance of a pixel's colour to the means of its surrounds, summed."""
    unit = max(lab.shape[:2]) / 100
    blurred = [cv2.GaussianBlur(lab, (0, 0), sigma * unit) for sigma in SURROUNDS]
    return np.sum([np.linalg.norm(lab - own, axis=2) for own in blurred], axis=0)


def _spectral_residual(image: np.ndarray) -> np.ndarray:
    """What a picture's log spectrum has beyond its local mean, back in the picture."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    spectrum = np.fft.fft2(cv2.resize(grey, (SPECTRUM, SPECTRUM), interpolation=cv2.INTER_AREA))
    log = np.log(np.abs(spectrum) + 1e-6).astype(np.float32)
    residual = np.exp(log - cv2.blur(log, (3, 3)) + 1j * np.angle(spectrum))
    energy = np.square(np.abs(np.fft.ifft2(residual))).astype(np.float32)
    energy = cv2.GaussianBlur(energy, (0, 0), 2.5)
    return cv2.resize(energy, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
