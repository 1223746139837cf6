"""The fields of COCO instance format: what each takes, and in which spellings."""

from __future__ import annotations

import ast
import contextlib
import math
import os
import re
from collections.abc import Callable

from cosal_d2.utils.image_paths import stays_inside

LARGEST_ID = 2**63 - 1
LARGEST_SIDE = 10**6  # pixels
LARGEST_NUMBER = 1e15
SHOWN = 80  # characters of a value in a message
_INTEGER = re.compile(r"[+-]?\d+(\.0*)?", re.ASCII)
_FLAGS = {"0": False, "1": True, "false": False, "true": True}


def is_id(value: object) -> bool:
    """Whether it is an id as :func:`load_coco` gives it."""
    return (type(value) is int and abs(value) <= LARGEST_ID) or (type(value) is str and value != "")


def shown(value: object) -> str:
    """A value in a message: its ``repr``, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def parse_id(value: object) -> int | str:
    """An id: a whole number, also as a float or a text, or any other text.

    Raises:
        ValueError: the fix, as of all parsers here.
    """
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value.strip().partition(".")[0])
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if not is_id(value):
        raise ValueError("give a whole number of at most 64 bits, or a text")
    return value


def parse_number(value: object) -> int | float:
    """A finite number, also as a text."""
    if isinstance(value, str) and "_" not in value:
        try:
            value = float(value)
        except ValueError:
            raise ValueError("give a number") from None
    if type(value) not in (int, float) or not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise ValueError("give a number")
    return value


def parse_area(value: object) -> int | float:
    """Pixels of a mask."""
    number = parse_number(value)
    if number < 0:
        raise ValueError("give pixels, 0 or more")
    return number


def parse_side(value: object) -> int:
    """A picture's height or width in whole pixels; 0 where it is not known."""
    try:
        number = parse_number(value)
    except ValueError:
        number = -1
    if number != int(number) or not 0 <= number <= LARGEST_SIDE:
        raise ValueError(f"give whole pixels, 1 to {LARGEST_SIDE}")
    return int(number)


def parse_box(value: object) -> list[int | float]:
    """x, y, width and height in pixels."""
    try:
        box = [parse_number(v) for v in value] if isinstance(value, list) else []
    except ValueError:
        box = []
    if len(box) != 4 or min(box[2:]) < 0:
        raise ValueError("it needs x, y, width and height in pixels")
    return box


def parse_flag(value: object) -> int:
    """0 or 1: also false, true, or the text of either."""
    if isinstance(value, str):
        value = _FLAGS.get(value.strip().lower())
    if not isinstance(value, bool | int | float) or value not in (0, 1):
        raise ValueError("give 0 or 1")
    return int(value)


def parse_ignore(value: object) -> int:
    """The flag `ignore` of some converters, which only has to be 0 here."""
    if parse_flag(value):
        raise ValueError("mark a region of many objects with `iscrowd` 1 instead")
    return 0


def parse_file_name(value: object) -> str:
    """A path inside the image folder."""
    try:
        usable = isinstance(value, str) and value.strip() and b"\0" not in os.fsencode(value)
        usable = usable and stays_inside(value)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise ValueError("give the picture's path inside the image folder")
    return value


def parse_name(value: object) -> str:
    """A class: a text, or a number that is one."""
    if type(value) in (int, float) and abs(value) <= LARGEST_NUMBER:
        return str(int(value)) if value == int(value) else str(value)
    if not isinstance(value, str) or not value or _is_cut(value):
        raise ValueError("give the name of a class")
    return value


def _is_cut(text: str) -> bool:
    """Whether a text has half a character, as json can write and nothing can show."""
    return any("\ud800" <= c <= "\udfff" for c in text)


def parse_class_name(value: object) -> str:
    """An object's own class; "" for none."""
    return value if value == "" else parse_name(value)


def parse_segmentation(value: object) -> list | dict:
    """RLE, or polygons [x0, y0, x1, y1, ...] of any length; a polygon may also be given without
    the list around it, or as pairs of x and y, and RLE in a list of its own."""
    if isinstance(value, list) and len(value) == 1 and _is_rle(value[0]):
        (value,) = value
    if isinstance(value, dict):
        return _parse_rle(value)
    if not isinstance(value, list):
        raise ValueError("`segmentation` is unreadable; give polygons or RLE")
    if value and (not isinstance(value[0], list) or _is_pairs(value)):
        value = [value]
    return [_parse_polygon(polygon) for polygon in value]


def _is_rle(value: object) -> bool:
    return isinstance(value, dict) and "counts" in value


def _parse_rle(rle: dict) -> dict:
    """RLE with numbers for texts of numbers, and the content of a Python bytes object for its
    ``repr``; what is none of these stays for :func:`.masks.to_rle` to name."""
    found = dict(rle)
    for field in ("size", "counts"):
        value = rle.get(field)
        if isinstance(value, list) and any(isinstance(v, str) for v in value):
            with contextlib.suppress(ValueError):
                found[field] = [parse_number(v) for v in value]
    if isinstance(rle.get("counts"), str) and rle["counts"].startswith(("b'", 'b"')):
        with contextlib.suppress(SyntaxError, ValueError):
            found["counts"] = ast.literal_eval(rle["counts"]).decode("ascii")
    return found


def _parse_polygon(polygon: object) -> list:
    if not isinstance(polygon, list):
        raise ValueError("give polygons [x0, y0, x1, y1, ...]")
    if polygon and isinstance(polygon[0], list):
        polygon = [v for pair in polygon for v in (pair if isinstance(pair, list) else [pair])]
    try:
        if math.isfinite(sum(polygon)):
            return polygon
    except (TypeError, OverflowError):  # texts, or numbers beyond any picture
        pass
    return [parse_number(v) for v in polygon]


def _is_pairs(polygon: list) -> bool:
    """Whether it is three points or more, each a list of x and y."""
    return len(polygon) > 2 and all(
        isinstance(p, list) and len(p) == 2 and not isinstance(p[0], list) for p in polygon
    )


def are_numbers(values: object) -> bool:
    """Whether it is a list of numbers, none of them nan, infinite or beyond any picture."""
    return isinstance(values, list) and all(
        type(v) in (int, float) and abs(v) <= LARGEST_NUMBER for v in values
    )


def not_finite(content: object, name: str = "") -> str | None:
    """The first number of a json's content that is NaN or infinite, such as
    ``annotations[3].score``; None for none.

    Args:
        content: of a json.
        name: what it is called.
    """
    if isinstance(content, dict):
        parts = ((f"{name}.{key}".lstrip("."), value) for key, value in content.items())
    elif isinstance(content, (list, tuple)):
        parts = ((f"{name}[{i}]", value) for i, value in enumerate(content))
    else:
        return name if isinstance(content, float) and not math.isfinite(content) else None
    found = (not_finite(value, own) for own, value in parts)
    return next((where for where in found if where is not None), None)


PARSERS: dict[str, dict[str, Callable]] = {
    "images": {
        "id": parse_id,
        "file_name": parse_file_name,
        "height": parse_side,
        "width": parse_side,
        "cosalient_category": parse_name,
        "clean": parse_flag,
        "weak_masks": parse_flag,
    },
    "annotations": {
        "id": parse_id,
        "image_id": parse_id,
        "category_id": parse_id,
        "bbox": parse_box,
        "segmentation": parse_segmentation,
        "area": parse_area,
        "iscrowd": parse_flag,
        "ignore": parse_ignore,
        "class_name": parse_class_name,
    },
    "categories": {"id": parse_id, "name": parse_name},
}
