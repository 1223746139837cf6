"""The shapes of a LabelMe file: what each kind's points mean, and drawing it."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np

from cosal_d2.prepare.convert.left_out import (
    CROSSED,
    FEW_POINTS,
    NO_AREA,
    NO_LABEL,
    OTHER_COUNT,
    UNKNOWN_TYPE,
    UNREADABLE,
    LeftOut,
)
from cosal_d2.prepare.convert.polygons import are_crossed, draw_polygon, spanned
from cosal_d2.utils.coco_fields import parse_id, parse_name, shown
from cosal_d2.utils.masks import FARTHEST
from cosal_d2.utils.pictures import READING_ERRORS, open_picture
from cosal_d2.utils.size_limit import check_size

LINES = ("point", "points", "line", "linestrip")
TWO_POINTS = ("rectangle", "circle", "mask")


@dataclass
class Shape:
    """A shape that has an area.

    Attributes:
        where: file and place in it.
        number: its place in the file.
        label: empty where it has none.
        group: `group_id`, None where it has none; shapes of one label and group are one object.
        kind: `polygon`, `rectangle`, `circle` or `mask`.
        points: (N, 2), x and y in pixels; N is 2 but for polygons.
        mask: PNG in base64 of a mask.
    """

    where: str
    number: int
    label: str
    group: int | str | None
    kind: str
    points: np.ndarray
    mask: object = None

    @property
    def key(self) -> tuple[str, str | int]:
        """What shapes of one object have in common."""
        return self.label, self.number if self.group is None else f"group {self.group}"

    @property
    def area(self) -> float | None:
        """Of the upright box around it, pixels."""
        return spanned(self.outer_corners())

    def outer_corners(self) -> np.ndarray:
        """Corners, (N, 2), or those of the box around a circle."""
        if self.kind != "circle":
            return self.points
        radius = np.hypot(*(self.points[1] - self.points[0]))
        return np.stack([self.points[0] - radius, self.points[0] + radius])

    def draw(self, height: int, width: int) -> np.ndarray:
        """Its pixels, bool (height, width).

        Raises:
            ValueError: the content of a mask is unreadable.
        """
        if self.kind == "polygon":
            return draw_polygon(self.points, height, width)
        (x0, y0), (x1, y1) = self.points
        if self.kind == "rectangle":
            return draw_polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], height, width)
        if self.kind == "circle":
            return _disc(x0, y0, float(np.hypot(x1 - x0, y1 - y0)), height, width)
        return _paste(self.mask, round(min(x0, x1)), round(min(y0, y1)), height, width)


def read_shape(where: str, number: int, entry: object) -> Shape | LeftOut:
    """A shape of a LabelMe file, or why it makes no object.

    Four points of any kind but lines are the corners of a rectangle that may be rotated, or of
    another quadrangle, in any order.

    Args:
        where: file and place in it, for messages.
        number: its place in the file.
        entry: from the file.
    """
    if not isinstance(entry, dict):
        return LeftOut(UNREADABLE, f"{where}: {entry!r:.40} is no shape; remove it", 0)
    kind = str(entry.get("shape_type") or "polygon").strip().lower()
    if kind in LINES:
        return LeftOut(NO_AREA, f"{where}: a {kind} has no area", 0)
    try:
        points = np.asarray(entry.get("points") or [], dtype=np.float64)
    except (OverflowError, TypeError, ValueError):
        points = np.full((1, 2), np.nan)
    if points.ndim == 1 and points.size % 2 == 0:  # none, or x and y in turn
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2 or not (np.abs(points) < FARTHEST).all():
        return LeftOut(
            UNREADABLE, f"{where}: `points` are no pairs of x and y in pixels; draw it again"
        )
    try:
        label = "" if entry.get("label") in (None, "") else parse_name(entry["label"]).strip()
    except ValueError as error:
        message = f"{where}: its label is {shown(entry['label'])}; {error}"
        return LeftOut(NO_LABEL, message, spanned(points))
    group = None
    if entry.get("group_id") not in (None, ""):
        try:
            group = parse_id(entry["group_id"])
        except ValueError as error:
            message = f"{where}: its group_id is {shown(entry['group_id'])}; {error}"
            return LeftOut(UNREADABLE, message, spanned(points))
    made = Shape(where, number, label, group, kind, points, entry.get("mask"))
    fault = _fault(made)
    if fault is None:
        return made
    area = None if fault[0] == UNKNOWN_TYPE else spanned(points)
    return LeftOut(fault[0], f"{where}: {fault[1]}", area)


def _fault(shape: Shape) -> tuple[str, str] | None:
    """Reason and message where a shape encloses nothing certain; its kind becomes one of four."""
    if len(shape.points) == 5 and (shape.points[0] == shape.points[4]).all():  # closed
        shape.points = shape.points[:4]
    count = len(shape.points)
    if shape.kind not in ("polygon", "mask") and count == 4:
        if are_crossed([shape.points]):
            shape.points = cv2.convexHull(shape.points.astype(np.float32))[:, 0].astype(float)
        shape.kind = "polygon"
    if shape.kind == "polygon":
        if count < 3:
            return FEW_POINTS, "a polygon needs three corners of x and y or more"
        if are_crossed([shape.points]):
            return CROSSED, "the outline of the polygon crosses itself; put its points in order"
    elif shape.kind not in TWO_POINTS:
        return UNKNOWN_TYPE, f"shape_type {shape.kind!r} is unknown; draw a polygon"
    elif count != 2:
        reason = FEW_POINTS if count < 2 else OTHER_COUNT
        return reason, f"a {shape.kind} needs two points, it has {count}"
    return None


def _disc(x: float, y: float, radius: float, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    far = 4 * (height + width)
    if max(abs(x), abs(y), radius) < far:
        cv2.circle(mask, (round(x), round(y)), round(radius), 1, -1)
    return mask.astype(bool)


def from_base64(text: object) -> bytes:
    """The content of a text in base64, which may begin as the URL of data does.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(text, str):
        raise ValueError(f"{shown(text)} is no text")
    text = "".join(text.rpartition(";base64,")[2].split())
    return base64.b64decode(text, validate=True)


def _paste(text: object, x: int, y: int, height: int, width: int) -> np.ndarray:
    """A mask given as PNG in base64, with its upper left corner at (x, y)."""
    try:
        with open_picture(from_base64(text), "the mask") as image:
            check_size(image, times=1)
            part = np.asarray(image.convert("L")) > 0
    except READING_ERRORS as error:
        raise ValueError(f"the mask is no PNG in base64 ({error})") from error
    mask = np.zeros((height, width), bool)
    part = part[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    y, x = max(y, 0), max(x, 0)
    mask[y : y + part.shape[0], x : x + part.shape[1]] = part
    return mask
