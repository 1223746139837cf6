"""Drawing polygons of annotation tools, whose corners are pixels that belong to the object."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike

SHIFT = 4  # bits below one pixel


def draw_polygon(corners: ArrayLike, height: int, width: int) -> np.ndarray:
    """A filled polygon, its outline included, as the annotation tools draw it.

    Args:
        corners: (N, 2), x and y in pixels; an integer is the centre of a pixel.
        height, width: of the picture, pixels.

    Returns:
        bool (height, width).

    Raises:
        ValueError: it has fewer than three corners, or one is no number.
    """
    corners = np.asarray(corners, dtype=np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError("a polygon needs three corners of x and y or more")
    if not np.isfinite(corners).all():
        raise ValueError("a corner is no finite number")
    corners = np.clip(corners, -width - height, 2 * (width + height))
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(corners * (1 << SHIFT)).astype(np.int32)], 1, shift=SHIFT)
    return mask.astype(bool)
