"""COCO instance format: reading a json of it, and the one parser of its fields."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

# Category of salient objects that do not belong to the repeated group.
DISTRACTOR = "distractor"
# Fields that an entry of each list needs.
FIELDS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "bbox", "segmentation"),
    "categories": ("id", "name"),
}
LARGEST_ID = 2**63 - 1
LARGEST_SIDE = 10**6  # pixels
LARGEST_NUMBER = 1e15
SHOWN = 80  # characters of a value in a message
_INTEGER = re.compile(r"[+-]?\d+(\.0*)?", re.ASCII)
_FLAGS = {"0": False, "1": True, "false": False, "true": True}


@dataclass(frozen=True)
class FieldFault:
    """A field that is missing or not to be read, or an id that repeats.

    Attributes:
        part, position: the list and the place in it.
        field: its name; None where the entry is no json object.
        missing: whether there is nothing: no field, null, or a size of 0.
        repeats: whether it is an id of an earlier entry.
        message: what is wrong, with the value as ``repr`` gives it.
        fix: what to do.
    """

    part: str
    position: int
    field: str | None
    missing: bool
    repeats: bool
    message: str
    fix: str


def load_coco(json_file: str | os.PathLike) -> dict:
    """The content of a COCO instance json, with lists under `images`, `annotations` and
    `categories`.

    What can be read in more than one spelling is there in one: integral ids (1, 1.0, "1") as
    integers (any other text is an id too), numbers and texts of numbers as numbers, `iscrowd` and
    further flags (0, 1, false, true, also as texts) as 0 and 1, a flat polygon as a list of one. A
    field that cannot be read stays as it is, for :func:`field_faults` and :func:`check_fields` to
    name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not valid json, or lacks a list.
    """
    try:
        content = json.loads(Path(json_file).read_bytes())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{json_file}: no such file; give a COCO instance json") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{json_file} is not valid json: {error}; is it complete?") from error
    for part in FIELDS:
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise ValueError(
                f"{json_file}: the list `{part}` is missing; COCO instance format has `images`, "
                "`annotations` and `categories`"
            )
    for part, parsers in _PARSERS.items():
        for entry in content[part]:
            if isinstance(entry, dict):
                _normalise(entry, parsers)
    return content


def _normalise(entry: dict, parsers: dict[str, Callable]) -> None:
    for field, parse in parsers.items():
        value = entry.get(field)
        if value is not None:
            try:
                entry[field] = parse(value)
            except ValueError:
                continue


def field_faults(
    content: dict,
    optional: Collection[str] = (),
    unread: Collection[str] = (),
    may_repeat: Collection[str] = (),
) -> Iterator[FieldFault]:
    """Every field of :func:`load_coco`'s content that is missing or unreadable, and every id that
    an earlier entry has.

    Args:
        content: from :func:`load_coco`.
        optional: names of fields that may lack; a `height` or `width` of 0 is one that lacks.
        unread: names of fields that are not looked at.
        may_repeat: lists in which ids may repeat.
    """
    for part, parsers in _PARSERS.items():
        seen: dict[int | str, int] = {}
        for i, entry in enumerate(content[part]):
            if not isinstance(entry, dict):
                message, fix = f"{part}[{i}] is {shown(entry)}", "give a json object, or remove it"
                yield FieldFault(part, i, None, False, False, message, fix)
                continue
            for field, parse in parsers.items():
                if field in unread:
                    continue
                needed = field in FIELDS[part] and field not in optional
                fault = _field_fault(entry, field, parse, needed)
                if fault is not None:
                    missing, message, fix = fault
                    yield FieldFault(part, i, field, missing, False, f"{part}[{i}] {message}", fix)
            for field in entry.keys() - parsers.keys():
                if not _is_finite(entry[field]):
                    message = f"{part}[{i}] has the {field} {shown(entry[field])}"
                    fix = "json has no such number; give another, or null"
                    yield FieldFault(part, i, field, False, False, message, fix)
            number = entry.get("id")
            if is_id(number):
                first = seen.setdefault(number, i)
                if first != i and part not in may_repeat:
                    message = f"{part}[{i}] repeats the id {number!r} of {part}[{first}]"
                    yield FieldFault(part, i, "id", False, True, message, "give each its own")


def _field_fault(
    entry: dict, field: str, parse: Callable, needed: bool
) -> tuple[bool, str, str] | None:
    """Whether a field of an entry is missing, what is wrong with it, and the fix; None where
    nothing is."""
    value = entry.get(field)
    if value is None:
        if needed and (field not in entry or field != "segmentation"):  # null is an empty mask
            has = "has no" if field not in entry else "has the value null as its"
            return True, f"{has} `{field}`", "add it as in COCO instance format"
        return None
    try:
        parse(value)
    except ValueError as error:
        return False, f"has the {field} {shown(value)}", str(error)
    if value == 0 and needed and parse is parse_side:
        return True, f"has the {field} 0", "give the picture's pixels"
    return None


def check_fields(
    content: dict,
    json_file: str | os.PathLike,
    optional: Collection[str] = (),
    unread: Collection[str] = (),
    may_repeat: Collection[str] = (),
) -> None:
    """Make sure that every field can be read, that every entry has the ``FIELDS`` of its list, and
    an id of its own.

    Args:
        content, optional, unread, may_repeat: as :func:`field_faults` takes them.
        json_file: the content's file, for the message.

    Raises:
        ValueError: naming file, entry, field and value of the first that is not so.
    """
    fault = next(field_faults(content, optional, unread, may_repeat), None)
    if fault is not None:
        raise ValueError(f"{json_file}: {fault.message}; {fault.fix}")


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
        raise ValueError("mark a region of many objects with `iscrowd` 1, or remove the annotation")
    return 0


def parse_file_name(value: object) -> str:
    """A path inside the image folder."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("give the picture's path inside the image folder")
    return value


def parse_name(value: object) -> str:
    """A class: a text, or a number that is one."""
    if type(value) in (int, float) and math.isfinite(value):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ValueError("give the name of a class")
    return value


def parse_segmentation(value: object) -> list | dict:
    """RLE, or polygons [x0, y0, x1, y1, ...] of any length; a polygon may also be given without
    the list around it, or as pairs of x and y."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        raise ValueError("`segmentation` is unreadable; give polygons or RLE")
    if value and (not isinstance(value[0], list) or _is_pairs(value)):
        value = [value]
    return [_parse_polygon(polygon) for polygon in value]


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


def drawable(segmentation: list | dict | None) -> list | dict | None:
    """What of a segmentation, as :func:`load_coco` gives it, can be drawn: RLE, or its polygons of
    three points or more; None where that is nothing."""
    if isinstance(segmentation, list):
        segmentation = [p for p in segmentation if len(p) >= 6 and len(p) % 2 == 0]
    return segmentation or None


def _is_finite(value: object) -> bool:
    """Whether no number in a json value is nan or infinite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | dict):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return True


_PARSERS: dict[str, dict[str, Callable]] = {
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
    },
    "categories": {"id": parse_id, "name": parse_name},
}
