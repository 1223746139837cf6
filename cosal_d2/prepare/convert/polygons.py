"""Drawing polygons of annotation tools, whose corners are pixels that belong to the object."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

SHIFT = 4  # bits below one pixel


def draw_polygons(
    polygons: Sequence[Sequence[Sequence[float]]], height: int, width: int
) -> np.ndarray:
    """The union of filled polygons, outlines included, as the annotation tools draw them.

    Args:
        polygons: corners (x, y) in pixels; an integer is the centre of a pixel.
        height, width: of the picture, pixels.

    Returns:
        bool (height, width).

    Raises:
        ValueError: a polygon has fewer than three corners, or one is no number.
    """
    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        corners = np.asarray(polygon, dtype=np.float64)
        if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
            raise ValueError("a polygon needs three corners of x and y or more")
        if not np.isfinite(corners).all():
            raise ValueError("a corner is no finite number")
        corners = np.clip(corners, -width - height, 2 * (width + height))
        fixed = np.round(corners * (1 << SHIFT)).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 1, shift=SHIFT)
    return mask.astype(bool)
