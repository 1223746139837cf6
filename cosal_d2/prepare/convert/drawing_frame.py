"""Which way up a picture was held when its annotations were drawn: as stored, or upright by EXIF.

Tools disagree: some draw on the upright picture and write the stored size, others draw on the
stored one. Corners that leave one of the two and fit into the other tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosal_d2.prepare.convert.picture_file import Picture, load_picture

SLACK = 1.0  # pixels by which corners may leave the picture that they were drawn on

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Frame:
    """The size that annotations are drawn at, and what it rests on.

    Attributes:
        height, width: pixels.
        stated: whether the annotation, or a mask's own size, gave it; else the picture's file did.
        reach: farthest y and x of all corners, pixels; None where masks are made of pixels, or
            corners are shares of the size.
    """

    height: int
    width: int
    stated: bool = True
    reach: tuple[float, float] | None = None

    @property
    def size(self) -> Size:
        return self.height, self.width


def reach_of(corners: list[np.ndarray]) -> tuple[float, float] | None:
    """Farthest y and x of corners, (N, 2) x and y each; None without any."""
    points = np.concatenate([c for c in corners if len(c)] or [np.empty((0, 2))])
    points = points[np.isfinite(points).all(axis=1)]
    return (float(points[:, 1].max()), float(points[:, 0].max())) if len(points) else None


def drawing_frame(
    file: Path,
    stated: Size | None,
    reach: tuple[float, float] | None,
    data: bytes | None = None,
) -> Frame:
    """The frame of a picture's polygons. The picture is opened only where corners leave the stated
    size, or where none is stated.

    Args:
        file: the picture.
        stated: the size that the annotation says.
        reach: of all corners.
        data: the picture's content, where it is no file of its own.

    Raises:
        FileNotFoundError, ValueError: the picture is needed, and missing or unreadable.
    """
    if stated is not None and _excess(reach, stated) <= SLACK:
        return Frame(*stated, True, reach)
    picture = load_picture(file, data)
    stored, upright = picture.stored, picture.upright
    preferred = [upright, stored] if stated is None else [stated]
    if stated is not None and {stored, upright} <= {stated, stated[::-1]}:
        preferred += [s for s in (upright, stored) if s != stated]
    best = preferred[0]
    for size in preferred[1:]:
        if _excess(reach, size) + SLACK < _excess(reach, best):
            best = size
    return Frame(*best, stated is not None, reach)


@dataclass(frozen=True)
class Doubt:
    """Why it is open which way up annotations were drawn.

    Attributes:
        text: a clause for the summary.
        severe: whether what is known contradicts itself, so that masks may well be turned.
    """

    text: str
    severe: bool


def doubt(frame: Frame, picture: Picture) -> Doubt | None:
    """What is left open by a frame that has one of the picture's two sizes."""
    stored, upright = picture.stored, picture.upright
    if picture.orientation == 1:
        return None
    if stored == upright:
        return Doubt("EXIF rotation that no size tells of, taken as drawn on it upright", False)
    other = stored if frame.size == upright else upright
    if abs(_excess(frame.reach, other) - _excess(frame.reach, frame.size)) > SLACK:
        return None
    if not frame.stated:
        return Doubt("EXIF rotation and no size stated, taken as drawn on it upright", False)
    if frame.size == stored and frame.reach is not None:
        return Doubt(
            "EXIF rotation, the stored size stated, and corners that fit it stored and upright; "
            "taken as drawn on it stored",
            True,
        )
    return None


def _excess(reach: tuple[float, float] | None, size: Size) -> float:
    """Pixels by which corners leave a frame at its lower or right edge."""
    return 0.0 if reach is None else max(0.0, reach[0] - size[0], reach[1] - size[1])
