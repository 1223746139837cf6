"""Steps that the classical methods share."""

from __future__ import annotations

import cv2
import numpy as np


def bgr_to_lab(image: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of a picture, not squeezed into 8 bits.

    Args:
        image: uint8 BGR (H, W, 3).

    Returns:
        float32 (H, W, 3): L* in [0, 100], a* and b* about [-127, 127].

    Raises:
        ValueError: the picture has another type or shape, or no pixel.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"a picture is uint8 BGR (H, W, 3), not {image.dtype} {image.shape}; read it with "
            "cosal_d2.utils.pictures.read_image"
        )
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)


def stretch(values: np.ndarray) -> np.ndarray:
    """Stretch a map to its own minimum (0) and maximum (1); a constant one becomes 0.

    Args:
        values: float (H, W), finite.

    Returns:
        float32 (H, W) in [0, 1].
    """
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-6 * max(abs(high), 1.0):
        return np.zeros(values.shape, dtype=np.float32)
    return ((values - low) / (high - low)).astype(np.float32)
