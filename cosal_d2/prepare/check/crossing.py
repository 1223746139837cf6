"""Whether the outline of a polygon crosses itself."""

from __future__ import annotations

import numpy as np

BLOCK = 512  # edges that are compared with all others at once


def crosses_itself(polygon: list[float]) -> bool:
    """Whether two edges of a closed polygon cross, or one crosses the outline at a corner.

    Edges that touch or run along each other, as at parts one pixel wide, do not cross.

    Args:
        polygon: [x0, y0, x1, y1, ...].
    """
    points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    if len(points) < 4:
        return False
    ends = np.roll(points, -1, axis=0)
    for start in range(0, len(points), BLOCK):
        part = slice(start, start + BLOCK)
        if _proper(points[part], ends[part], points, ends):
            return True
        if _through_corner(points[part], ends[part], points):
            return True
    return _at_shared_corner(points)


def _side(a: np.ndarray, b: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Sign of the area of the triangles (a, b, p)."""
    area = (b[..., 0] - a[..., 0]) * (p[..., 1] - a[..., 1])
    area = area - (b[..., 1] - a[..., 1]) * (p[..., 0] - a[..., 0])
    return np.sign(np.where(np.abs(area) < 1e-9, 0, area))


def _proper(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    """Whether an edge (a, b) and an edge (c, d) cross between their ends."""
    a, b = a[:, None], b[:, None]
    apart = _side(a, b, c[None]) * _side(a, b, d[None]) < 0
    return bool((apart & (_side(c[None], d[None], a) * _side(c[None], d[None], b) < 0)).any())


def _through_corner(a: np.ndarray, b: np.ndarray, points: np.ndarray) -> bool:
    """Whether the outline crosses an edge (a, b) at one of its own corners, between the ends."""
    a, b = a[:, None], b[:, None]
    before, after = np.roll(points, 1, axis=0)[None], np.roll(points, -1, axis=0)[None]
    corner = points[None]
    inside = ((corner - a) * (corner - b)).sum(axis=2) < 0
    on = inside & (_side(a, b, corner) == 0)
    return bool((on & (_side(a, b, before) * _side(a, b, after) < 0)).any())


def _at_shared_corner(points: np.ndarray) -> bool:
    """Whether the outline passes a corner twice and crosses itself there."""
    _, owner, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    owner = owner.ravel()
    for value in np.flatnonzero(counts > 1):
        visits = np.flatnonzero(owner == value)
        around = [
            (points[v - 1] - points[v], points[(v + 1) % len(points)] - points[v]) for v in visits
        ]
        for i, first in enumerate(around):
            if any(_separates(first, second) for second in around[i + 1 :]):
                return True
    return False


def _separates(first: tuple, second: tuple) -> bool:
    """Whether, seen from a corner, one pair of directions lies on both sides of the other."""
    angles = [float(np.arctan2(y, x)) for x, y in (*first, *second)]
    start = angles[0]
    end, *others = ((v - start) % (2 * np.pi) for v in angles[1:])
    small = 1e-9
    inside = [small < v < end - small for v in others]
    outside = [end + small < v < 2 * np.pi - small for v in others]
    return (inside[0] and outside[1]) or (inside[1] and outside[0])
