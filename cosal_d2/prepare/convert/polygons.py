"""Polygons of annotation tools: drawing them, and what makes one useless."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import shapely
from numpy.typing import ArrayLike

SHIFT = 4  # bits below one pixel
# Of the area that polygons cover, the share that is in doubt where their outlines cross: below it a
# crossing is a slip of the hand, and the pixels that they cover are the object.
CROSSED = 0.1


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


def covered_and_doubtful(corners: np.ndarray) -> tuple[float, float]:
    """The area that an outline covers, and what of it its crossings put in doubt, pixels.

    That is the difference to the area of the shoelace formula, in which parts that run the other
    way round count as negative. An outline that touches itself or runs back on itself, as around a
    hole or at parts one pixel wide, puts nothing in doubt.

    Args:
        corners: (N, 2), three or more, finite.
    """
    shape = shapely.Polygon(corners)
    covered = shape.area if shape.is_valid else shapely.make_valid(shape).area
    return covered, abs(covered - shape.area)


def are_crossed(polygons: Sequence[np.ndarray]) -> bool:
    """Whether the outlines of one object, (N, 2) each, cross themselves so that it is in doubt what
    they enclose; see :func:`covered_and_doubtful`."""
    parts = [covered_and_doubtful(corners) for corners in polygons]
    return sum(doubtful for _, doubtful in parts) > CROSSED * sum(covered for covered, _ in parts)


def spanned(corners: np.ndarray) -> float | None:
    """Area of the upright box around corners, (N, 2); None where one is no number."""
    if not len(corners):
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        area = float(np.prod(corners.max(axis=0) - corners.min(axis=0)))
    return area if np.isfinite(area) else None
