"""The classical methods of the paper's Table 2, from their own papers, on NumPy and OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cosal_d2.paper.classical.cws import ClusterOptions, cluster_based
from cosal_d2.paper.classical.ft import frequency_tuned

__all__ = ["METHODS", "ClusterOptions", "cluster_based", "frequency_tuned", "saliency"]


def _ft(image: np.ndarray, seed: int) -> np.ndarray:
    return frequency_tuned(image)


def _cws(image: np.ndarray, seed: int) -> np.ndarray:
    return cluster_based(image, ClusterOptions(seed=seed))


METHODS: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {"FT": _ft, "CWS": _cws}


def saliency(method: str, seed: int, image: np.ndarray) -> np.ndarray:
    """Map of a method, a key of :data:`METHODS`.

    Args:
        method: its name.
        seed: of whatever it draws.
        image: uint8 BGR (H, W, 3).

    Returns:
        float32 (H, W) in [0, 1].
    """
    return METHODS[method](image, seed)
