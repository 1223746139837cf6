"""Shapes that make no object, by reason."""

from __future__ import annotations

from dataclasses import dataclass, field

# Reasons, as they follow a number.
NO_MASK = "without a mask"
BOX = "with a box but no mask"
FEW_POINTS = "of fewer than three points"
OTHER_COUNT = "of another number of points than its type has"
CROSSED = "whose outline crosses itself"
UNREADABLE = "unreadable"
NO_PIXEL = "without a pixel in the picture"
OTHER_SIZE = "of another size than the picture"
NO_LABEL = "without a label"
NO_CLASS = "without a class"
NO_PICTURE = "of no picture in the json"
UNKNOWN_TYPE = "of an unknown type"
NO_AREA = "points or lines"
SPECK = "parts of a mask under --min-area"
FROM_BOXES = "--masks-from-boxes makes its mask"  # the end of a message


@dataclass(frozen=True)
class BoxedObject:
    """An object of which only the box is known.

    Attributes:
        class_name: its class.
        box: x0, y0, x1, y1 in pixels of the picture that the scene's masks are drawn on.
        crowd: a region of an unknown number of objects.
        fields: further fields for its annotation entry.
    """

    class_name: str
    box: tuple[float, float, float, float]
    crowd: bool = False
    fields: dict = field(default_factory=dict)


@dataclass(frozen=True)
class LeftOut:
    """A shape that makes no object.

    Attributes:
        reason: one of this module's.
        message: file, place in it and what is wrong.
        area: of the upright box that it spans, pixels; None where that is not known.
        boxed: the object, where its box is known.
    """

    reason: str
    message: str
    area: float | None = None
    boxed: BoxedObject | None = None

    def is_large(self, least: float) -> bool:
        """Whether it may well have been an object of `least` pixels or more."""
        return self.area is None or self.area >= least
