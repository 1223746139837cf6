"""Which way up a picture was held when its annotations were drawn: as stored, or upright by EXIF.

Tools disagree: some draw on the upright picture and write the stored size, others draw on the
stored one. Corners that leave one of the two and fit into the other tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosal_d2.prepare.convert.picture_file import Picture, load_picture
from cosal_d2.utils.size_limit import check_pixels

SLACK = 1.0  # pixels by which corners may leave the picture that they were drawn on
FAR = 0.05  # share of the longer side that nobody draws beyond a picture by mistake

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Frame:
    """The size that annotations are drawn at, and what it rests on.

    Attributes:
        height, width: pixels.
        stated: the size that the annotation, or a mask's own, gives; None where it gives none.
        reach: farthest y and x of all corners, pixels; None where masks are made of pixels, or
            corners are shares of the size.
    """

    height: int
    width: int
    stated: Size | None
    reach: tuple[float, float] | None = None

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.height, self.width


def reach_of(corners: list[np.ndarray]) -> tuple[float, float] | None:
    """Farthest y and x of corners, (N, 2) x and y each; None without any."""
    points = np.concatenate([c for c in corners if len(c)] or [np.empty((0, 2))])
    points = points[np.isfinite(points).all(axis=1)]
    return (float(points[:, 1].max()), float(points[:, 0].max())) if len(points) else None


def is_clipped(corners: list[np.ndarray], size: Size) -> bool:
    """Whether corners, (N, 2) x and y each, reach beyond a picture on any side."""
    return any(bool(((c < -SLACK) | (c > np.add(size[::-1], SLACK))).any()) for c in corners)


def is_upright(stated: Size, reach: tuple[float, float]) -> bool:
    """Whether corners leave the stated size by far and fit into it the other way round, so that
    they were surely drawn on a picture that EXIF turns upright."""
    return excess(reach, stated) > FAR * max(stated) and excess(reach, stated[::-1]) <= SLACK


def check_frame(size: Size, picture: Picture) -> None:
    """Refuse masks of a size that the picture has neither upright nor as stored.

    Raises:
        ValueError: naming both sizes.
    """
    if size not in (picture.upright, picture.stored):
        height, width = picture.upright
        raise ValueError(
            f"{picture.file}: the picture is {height} x {width} pixels (height x width), its "
            f"annotation {size[0]} x {size[1]}; correct `height` and `width`, or replace the file"
        )


def drawing_frame(
    file: Path,
    stated: Size | None,
    reach: tuple[float, float] | None,
    data: bytes | None = None,
    others_upright: bool = False,
) -> Frame:
    """The frame of a picture's polygons. The picture is opened only where corners leave the stated
    size, where none is stated, or where it is open which way up they were drawn.

    Args:
        file: the picture.
        stated: the size that the annotation says.
        reach: of all corners.
        data: the picture's content, where it is no file of its own.
        others_upright: whether others of the source are surely drawn upright, with the stored size
            stated: so are those that fit both ways.

    Raises:
        FileNotFoundError, ValueError: the picture is needed, and missing, unreadable or of another
            size either way round; or the size is too large for masks.
    """
    frame = _frame(file, stated, reach, data, others_upright)
    try:
        check_pixels(*frame.size)
    except ValueError as error:
        height, width = frame.size
        raise ValueError(
            f"{file}: its annotations state a size of {width} x {height}, but {error}"
        ) from error
    return frame


def _frame(
    file: Path,
    stated: Size | None,
    reach: tuple[float, float] | None,
    data: bytes | None,
    others_upright: bool,
) -> Frame:
    fits = stated is not None and excess(reach, stated) <= SLACK
    if fits and not (others_upright and reach and excess(reach, stated[::-1]) <= SLACK):
        return Frame(*stated, stated, reach)
    picture = load_picture(file, data)
    choice = [picture.upright, picture.stored]
    if stated is not None and stated[::-1] not in choice:
        check_frame(stated, picture)
    if stated is not None and not others_upright:
        choice.sort(key=lambda size: size != stated)
    best = choice[0]
    for size in choice[1:]:
        if excess(reach, size) + SLACK < excess(reach, best):
            best = size
    return Frame(*best, stated, reach)


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
    if abs(excess(frame.reach, other) - excess(frame.reach, frame.size)) > SLACK:
        return None
    if frame.stated is None:
        return Doubt("EXIF rotation and no size stated, taken as drawn on it upright", False)
    if frame.stated == upright or frame.reach is None:
        return None
    fit = "it stored and upright" if excess(frame.reach, stored) <= SLACK else "neither way up"
    what = f"EXIF rotation, the stored size stated, and corners that fit {fit}"
    if frame.size == upright:
        return Doubt(f"{what}; taken as drawn on it upright, as others here are", False)
    return Doubt(f"{what}; taken as drawn on it stored", True)


def excess(reach: tuple[float, float] | None, size: Size) -> float:
    """Pixels by which corners leave a frame at its lower or right edge."""
    return 0.0 if reach is None else max(0.0, reach[0] - size[0], reach[1] - size[1])
