"""Co-saliency maps as arrays, whatever computed them."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_float64(cosal_map: Any) -> np.ndarray:
    """Give a map as a float64 numpy array, whatever library, device or precision it comes from.

    Args:
        cosal_map: ``(H, W)`` numpy array or torch tensor (any float type, any device).

    Returns:
        ``(H, W)`` float64 array; the input itself where it already is one.

    Raises:
        ValueError: the map does not have two dimensions, or has no pixel.
    """
    return np.asarray(_as_array(cosal_map), dtype=np.float64)


def _as_array(cosal_map: Any) -> np.ndarray:
    """A map as an array (H, W) of its own type, see :func:`as_float64`; without a copy on a CPU."""
    if hasattr(cosal_map, "detach"):
        tensor = cosal_map.detach().cpu()
        if tensor.element_size() < 4:  # numpy has no bfloat16
            tensor = tensor.float()
        cosal_map = tensor.numpy()
    array = np.asarray(cosal_map)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"a map is (H, W) with at least one pixel, not {array.shape}")
    return array


def adaptive_threshold(cosal_map: Any) -> float:
    """Twice the mean of the map, at most 1 (Achanta et al. 2009)."""
    return min(2.0 * float(_as_array(cosal_map).mean(dtype=np.float64)), 1.0)


def saturated(maps: np.ndarray) -> np.ndarray:
    """Maps that reach their ends as 8-bit files do: what is within half a grey level of 0 or 1
    becomes exactly that. Tensors: :func:`cosal_d2.modeling.grouping.gate.saturated`."""
    half = np.float32(0.5 / 255)
    return ((maps - half) / (1 - 2 * half)).clip(0, 1)
